/*
 * Two sums over rows for every column, as exact as in double and in a fixed order, by one kernel: a
 * block adds a chunk of rows for some columns, and the chunks are added by whichever block of these
 * columns comes last, or by all of them after a barrier of the grid.
 */
#ifndef NNMF_COLUMNS_CUH
#define NNMF_COLUMNS_CUH

#include "cuda.cuh"
#include "grid.cuh"
#include "last_block.cuh"

enum { COLUMN_THREADS = 256 };

struct ColumnSums {
    double first, second;
};

/* A thread's own sum of its rows: a float and what its roundings have lost, since most GPUs add 64
 * times as many floats as doubles in a second. (Knuth's two-sum; Ogita, Rump, Oishi, "Accurate Sum
 * and Dot Product", 2005.) */
struct CompensatedSum {
    float high, low;
};

struct ThreadSums {
    CompensatedSum first, second;
};

/* Where the chunks' sums wait: parts (batches, chunks, 2, columns), and a count for every batch and
 * WARP columns of the blocks that are done, 0 before and after. */
struct ColumnWork {
    double *parts;
    unsigned *done;
};

static const size_t COLUMN_SHARED = COLUMN_THREADS * sizeof(ColumnSums);

/* A block for every chunk and `wide` columns; blockIdx.z is the batch, where there are several. */
static inline dim3 column_grid(size_t rows, int columns, size_t wide, unsigned least_rows,
                               unsigned most)
{
    unsigned chunks = blocks_for(rows, least_rows);
    return dim3(chunks < most ? chunks : most, blocks_for((size_t)columns, wide));
}

/* For sum_columns. */
static inline dim3 column_grid(size_t rows, int columns)
{
    return column_grid(rows, columns, WARP, 64, 128);
}

/* In scratch memory, before `extra` bytes of the caller's; false after keeping the failure. */
static inline bool column_work(Backend *backend, dim3 grid, int columns, size_t extra,
                               ColumnWork *work)
{
    size_t parts = (size_t)grid.x * grid.z * 2 * (size_t)columns;
    work->parts = (double *)cuda_scratch(backend, parts * sizeof(double) + extra);
    work->done = backend->block_counts;
    return work->parts != NULL;
}

/* Are there counts for the blocks of the columns? False after keeping the failure. */
static inline bool has_counts(Backend *backend, dim3 grid, int columns)
{
    if (grid.y <= BLOCK_COUNTS)
        return true;
    if (backend->error.status == STATUS_OK)
        fail(&backend->error, "too many columns: %d: at most %d were expected", columns,
             (int)BLOCK_COUNTS * WARP);
    return false;
}

static inline bool column_work(Backend *backend, size_t rows, int columns, size_t extra,
                               ColumnWork *work)
{
    dim3 grid = column_grid(rows, columns);
    return has_counts(backend, grid, columns) && column_work(backend, grid, columns, extra, work);
}

/* ---- in kernels ---- */

static __device__ __forceinline__ void add_to(CompensatedSum &sum, float value)
{
    float high = sum.high + value, added = high - sum.high;
    sum.low += (sum.high - (high - added)) + (value - added);
    sum.high = high;
}

/* a b, which two floats hold exactly. */
static __device__ __forceinline__ void add_product_to(CompensatedSum &sum, float a, float b)
{
    float product = __fmul_rn(a, b); /* and not one step with the sum */
    add_to(sum, product);
    sum.low += __fmaf_rn(a, b, -product);
}

static __device__ __forceinline__ ColumnSums in_double(const ThreadSums &sums)
{
    return {(double)sums.first.high + (double)sums.first.low,
            (double)sums.second.high + (double)sums.second.low};
}

/* ---- WIDE columns a block, a power of two up to WARP ---- */

/* A thread's column, the rows of its block's chunk from its first to the end, and their step. */
template <int WIDE> struct ThreadRows {
    enum { STEP = COLUMN_THREADS / WIDE };
    int column;
    size_t first, end;
};

template <int WIDE> static __device__ __forceinline__ ThreadRows<WIDE> rows_of_thread(size_t rows)
{
    return {(int)(blockIdx.y * WIDE + threadIdx.x % WIDE),
            rows * blockIdx.x / gridDim.x + threadIdx.x / WIDE,
            rows * (blockIdx.x + 1) / gridDim.x};
}

/* Adds the sums of the block's threads of a column, in a fixed order, into those of its first. */
template <int WIDE>
static __device__ __forceinline__ void add_threads_of_block(ColumnSums *shared, ColumnSums &sums)
{
    for (int lanes = WIDE; lanes < WARP; lanes *= 2) {
        sums.first += __shfl_xor_sync(0xffffffffu, sums.first, lanes);
        sums.second += __shfl_xor_sync(0xffffffffu, sums.second, lanes);
    }
    shared[threadIdx.x] = sums;
    __syncthreads();
    for (int at = WARP; threadIdx.x < WIDE && at < COLUMN_THREADS; at += WARP) {
        sums.first += shared[at + (int)threadIdx.x].first;
        sums.second += shared[at + (int)threadIdx.x].second;
    }
}

/* The block's sums, which its first threads have, to where all blocks find them. */
template <int WIDE>
static __device__ __forceinline__ void leave_part(int column, int columns, const ColumnWork &work,
                                                  const ColumnSums &sums)
{
    if (threadIdx.x >= WIDE || column >= columns)
        return;
    double *part = work.parts + 2 * blockIdx.x * (unsigned)columns + column;
    part[0] = sums.first;
    part[columns] = sums.second;
}

/* The sums of all chunks, in the column's first thread. */
template <int WIDE>
static __device__ __forceinline__ void add_parts(int column, int columns, const ColumnWork &work,
                                                 ColumnSums *shared, ColumnSums &sums)
{
    sums = {0.0, 0.0};
    for (unsigned chunk = threadIdx.x / WIDE; column < columns && chunk < gridDim.x;
         chunk += ThreadRows<WIDE>::STEP) {
        const double *part = work.parts + 2 * chunk * (unsigned)columns + column;
        sums.first += part[0];
        sums.second += part[columns];
    }
    add_threads_of_block<WIDE>(shared, sums);
}

/* A batch's part of what all have, `each` elements. */
template <class T> static __device__ __forceinline__ T *of_batch(T *all, size_t each)
{
    return all + blockIdx.z * each;
}

static __device__ __forceinline__ ColumnWork of_batch(const ColumnWork &work, int columns)
{
    return {of_batch(work.parts, (size_t)gridDim.x * 2 * (size_t)columns),
            of_batch(work.done, gridDim.y)};
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
    ThreadRows<WARP> mine = rows_of_thread<WARP>(rows);
    ThreadSums own = {};
    for (size_t row = mine.first; mine.column < columns && row < mine.end; row += mine.STEP)
        add(row, mine.column, own);
    sums = in_double(own);
    add_threads_of_block<WARP>(shared, sums);
    leave_part<WARP>(mine.column, columns, work, sums);
    if (!is_last_block(work.done + blockIdx.y))
        return false;
    add_parts<WARP>(mine.column, columns, work, shared, sums);
    return threadIdx.x < WARP && mine.column < columns;
}

/* `sums`, a thread's of its rows, become those of all rows in the first WIDE threads of every block
 * of a cooperative grid. Needs COLUMN_SHARED bytes. */
template <int WIDE>
static __device__ __forceinline__ void sum_over_grid(int column, int columns,
                                                     const ColumnWork &work, unsigned *grid_count,
                                                     ColumnSums &sums)
{
    DYNAMIC_SHARED(ColumnSums, shared);
    add_threads_of_block<WIDE>(shared, sums);
    if (gridDim.x == 1)
        return;
    leave_part<WIDE>(column, columns, work, sums);
    grid_barrier(grid_count);
    add_parts<WIDE>(column, columns, work, shared, sums);
}

#endif
