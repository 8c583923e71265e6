/*
 * Two sums over rows for every column, in double and in a fixed order, by one kernel: a block adds
 * a chunk of rows for WARP columns, and whichever block of these columns comes last adds the
 * chunks.
 */
#ifndef NNMF_COLUMNS_CUH
#define NNMF_COLUMNS_CUH

#include "cuda.cuh"
#include "last_block.cuh"

enum { COLUMN_THREADS = 256, COLUMN_ROWS = COLUMN_THREADS / WARP };

struct ColumnSums {
    double first, second;
};

/* Where the chunks' sums wait: parts (chunks, 2, columns), and a count for every WARP columns of
 * the blocks that are done, 0 before and after. */
struct ColumnWork {
    double *parts;
    unsigned *done;
};

static const size_t COLUMN_SHARED = COLUMN_THREADS * sizeof(ColumnSums);

/* A block for every chunk and WARP columns. */
static inline dim3 column_grid(size_t rows, int columns)
{
    const unsigned most = 128, least_rows = 64;
    unsigned chunks = blocks_for(rows, least_rows);
    return dim3(chunks < most ? chunks : most, blocks_for((size_t)columns, WARP));
}

/* In scratch memory, before `extra` bytes of the caller's; false after keeping the failure. */
static inline bool column_work(Backend *backend, size_t rows, int columns, size_t extra,
                               ColumnWork *work)
{
    dim3 grid = column_grid(rows, columns);
    if (grid.y > BLOCK_COUNTS) {
        if (backend->error.status == STATUS_OK)
            fail(&backend->error, "too many columns: %d: at most %d were expected", columns,
                 BLOCK_COUNTS * WARP);
        return false;
    }
    size_t parts = (size_t)grid.x * 2 * (size_t)columns;
    work->parts = (double *)cuda_scratch(backend, parts * sizeof(double) + extra);
    work->done = backend->block_counts;
    return work->parts != NULL;
}

/* Adds the sums of the block's COLUMN_ROWS rows of threads, in order, into those of the first. */
static __device__ __forceinline__ void add_rows_of_block(ColumnSums *shared, ColumnSums &sums)
{
    shared[threadIdx.x] = sums;
    __syncthreads();
    for (int row = 1; threadIdx.x < WARP && row < COLUMN_ROWS; row++) {
        sums.first += shared[row * WARP + (int)threadIdx.x].first;
        sums.second += shared[row * WARP + (int)threadIdx.x].second;
    }
}

static __device__ __forceinline__ int column_of_thread()
{
    return (int)(blockIdx.y * WARP + threadIdx.x % WARP);
}

/* add(row, column, sums) adds what a row has. True in the threads that end up with a column's sums;
 * that column is column_of_thread(). Needs COLUMN_SHARED bytes. */
template <class Add>
static __device__ __forceinline__ bool sum_columns(size_t rows, int columns, const ColumnWork &work,
                                                   Add add, ColumnSums &sums)
{
    DYNAMIC_SHARED(ColumnSums, shared);
    int column = column_of_thread();
    size_t row = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + 1) / gridDim.x;
    sums = {0.0, 0.0};
    for (row += threadIdx.x / WARP; column < columns && row < end; row += COLUMN_ROWS)
        add(row, column, sums);
    add_rows_of_block(shared, sums);
    double *parts = work.parts + column;
    if (threadIdx.x < WARP && column < columns) {
        parts[2 * blockIdx.x * (unsigned)columns] = sums.first;
        parts[(2 * blockIdx.x + 1) * (unsigned)columns] = sums.second;
    }
    if (!is_last_block(work.done + blockIdx.y))
        return false;
    sums = {0.0, 0.0};
    for (unsigned chunk = threadIdx.x / WARP; column < columns && chunk < gridDim.x;
         chunk += COLUMN_ROWS) {
        sums.first += __ldcg(parts + 2 * chunk * (unsigned)columns);
        sums.second += __ldcg(parts + (2 * chunk + 1) * (unsigned)columns);
    }
    add_rows_of_block(shared, sums);
    return threadIdx.x < WARP && column < columns;
}

#endif
