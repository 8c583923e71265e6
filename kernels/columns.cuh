/*
 * Two sums over rows for every column in one kernel, as exact as in double and in a fixed order. A
 * block sums a chunk of rows for some columns; the chunks are summed by the block of these columns
 * that finishes last, or by all of them after a barrier of the grid.
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

/* A thread's sum over its rows: a float and its accumulated rounding error, since most GPUs add
 * floats 64 times as fast as doubles. (Knuth's two-sum; Ogita, Rump, Oishi, "Accurate Sum and Dot
 * Product", 2005.) */
struct CompensatedSum {
    float high, low;
};

struct ThreadSums {
    CompensatedSum first, second;
};

struct ColumnWork {
    double *parts;  /* (batches, chunks, 2, columns): the sums of the chunks */
    unsigned *done; /* finished blocks, for every batch and WARP columns; 0 before and after */
};

static const size_t COLUMN_SHARED = COLUMN_THREADS * sizeof(ColumnSums);

/* One block for every chunk and `wide` columns; blockIdx.z is the batch if there are several. */
static inline dim3 column_grid(size_t rows, int columns, size_t wide, unsigned chunk_rows,
                               unsigned max_chunks)
{
    unsigned chunks = blocks_for(rows, chunk_rows);
    return dim3(chunks < max_chunks ? chunks : max_chunks, blocks_for((size_t)columns, wide));
}

/* The grid of sum_columns. */
static inline dim3 column_grid(size_t rows, int columns)
{
    return column_grid(rows, columns, WARP, 64, 128);
}

/* Allocates scratch memory, with `extra` bytes for the caller behind it; false after keeping the
 * failure. */
static inline bool column_work(Backend *backend, dim3 grid, int columns, size_t extra,
                               ColumnWork *work)
{
    size_t parts = (size_t)grid.x * grid.z * 2 * (size_t)columns;
    work->parts = (double *)cuda_scratch(backend, parts * sizeof(double) + extra);
    work->done = backend->block_counts;
    return work->parts != NULL;
}

/* Checks that there are counts for the blocks of the columns; false after keeping the failure. */
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

/* Adds a b, which is exact as the sum of two floats. */
static __device__ __forceinline__ void add_product_to(CompensatedSum &sum, float a, float b)
{
    float product = __fmul_rn(a, b); /* prevents contraction with the sum */
    add_to(sum, product);
    sum.low += __fmaf_rn(a, b, -product);
}

static __device__ __forceinline__ ColumnSums in_double(const ThreadSums &sums)
{
    return {(double)sums.first.high + (double)sums.first.low,
            (double)sums.second.high + (double)sums.second.low};
}

/* ---- WIDE columns per block, a power of two up to WARP ---- */

/* A thread's column and its rows: every STEP-th row of the block's chunk, from `first`. */
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

/* Sums over the block's threads of a column, in a fixed order, into the column's first thread. */
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

/* Stores the block's sums, held by its first threads, in device memory. */
template <int WIDE>
static __device__ __forceinline__ void store_part(int column, int columns, const ColumnWork &work,
                                                  const ColumnSums &sums)
{
    if (threadIdx.x >= WIDE || column >= columns)
        return;
    double *part = work.parts + 2 * blockIdx.x * (unsigned)columns + column;
    part[0] = sums.first;
    part[columns] = sums.second;
}

/* Sums all chunks, into the column's first thread. */
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

/* Returns this batch's part of `all`; `elements`: of one batch. */
template <class T> static __device__ __forceinline__ T *of_batch(T *all, size_t elements)
{
    return all + blockIdx.z * elements;
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

/* Sums over all rows; add(row, column, sums) adds one element. Returns true to the threads that
 * receive a column's sums; that column is column_of_thread(). Needs COLUMN_SHARED bytes. */
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
    store_part<WARP>(mine.column, columns, work, sums);
    if (!is_last_block(work.done + blockIdx.y))
        return false;
    add_parts<WARP>(mine.column, columns, work, shared, sums);
    return threadIdx.x < WARP && mine.column < columns;
}

/* Replaces a thread's sums over its rows by those over all rows, in the first WIDE threads of every
 * block of a cooperative grid. Needs COLUMN_SHARED bytes. */
template <int WIDE>
static __device__ __forceinline__ void sum_over_grid(int column, int columns,
                                                     const ColumnWork &work, unsigned *grid_count,
                                                     ColumnSums &sums)
{
    DYNAMIC_SHARED(ColumnSums, shared);
    add_threads_of_block<WIDE>(shared, sums);
    if (gridDim.x == 1)
        return;
    store_part<WIDE>(column, columns, work, sums);
    grid_barrier(grid_count);
    add_parts<WIDE>(column, columns, work, shared, sums);
}

#endif
