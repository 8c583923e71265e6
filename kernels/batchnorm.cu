/*
 * Batch norm: first the sums over chunks of rows, then every element. If the GPU can hold all
 * blocks at once, one kernel does both, with a barrier of the whole grid between them (a
 * cooperative launch); otherwise there are two kernels.
 */
#include "columns.cuh"

enum { THREADS = 256 };

/* Single-kernel path. NARROW: columns per block. Few columns mean few chunks, and every block reads
 * the sums of all chunks; but a block should read at least one memory sector. KEPT: elements that a
 * thread keeps in registers. */
enum { NARROW = 8, KEPT = 16 };

/* ---- formulas ---- */

struct Moments {
    float mean, rstd;
};

/* Adds an element and its square. */
static __device__ __forceinline__ void add_moments(float element, ThreadSums &sums)
{
    add_to(sums.first, element);
    add_product_to(sums.second, element, element);
}

static __device__ __forceinline__ Moments moments_of(const ColumnSums &sums, size_t rows)
{
    double centre = sums.first / (double)rows;
    double variance = sums.second / (double)rows - centre * centre;
    if (variance < 0.0) /* false for a NaN, which is kept */
        variance = 0.0;
    return {(float)centre, (float)(1.0 / sqrt(variance + EPSILON_VARIANCE))};
}

static __device__ __forceinline__ float normalised(float element, const Moments &of)
{
    return (element - of.mean) * of.rstd;
}

/* An element of the input and the derivative of its output. */
struct Slope {
    float in, dout;
};

/* Adds to the sums for dbias (of dout) and dweight (of dout times the normalised input). */
static __device__ __forceinline__ void add_slope(const Slope &slope, const Moments &of,
                                                 ThreadSums &sums)
{
    add_to(sums.first, slope.dout);
    add_product_to(sums.second, slope.dout, normalised(slope.in, of));
}

/* share: 1 / rows. */
static __device__ __forceinline__ float input_gradient(const Slope &slope, const Moments &of,
                                                       float weight, float dweight, float dbias,
                                                       float share)
{
    float centred = slope.dout - (dbias + normalised(slope.in, of) * dweight) * share;
    return centred * weight * of.rstd;
}

/* ---- two kernels; rows: of one batch; blockIdx.z: the batch ---- */

static __global__ void moments_kernel(size_t rows, int channels, const float *in, ColumnWork work,
                                      float *mean, float *rstd)
{
    ColumnSums sums;
    in = of_batch(in, rows * (size_t)channels);
    work = of_batch(work, channels);
    auto add = [=](size_t row, int c, ThreadSums &to) {
        add_moments(in[row * (size_t)channels + (size_t)c], to);
    };
    if (!sum_columns(rows, channels, work, add, sums))
        return;
    int c = column_of_thread();
    Moments moments = moments_of(sums, rows);
    of_batch(mean, (size_t)channels)[c] = moments.mean;
    of_batch(rstd, (size_t)channels)[c] = moments.rstd;
}

/* elements: of one batch. */
static __global__ void normalise_kernel(size_t elements, int channels, const float *in,
                                        const float *mean, const float *rstd, const float *weight,
                                        const float *bias, float *out)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int c = (int)(i % (size_t)channels);
    Moments moments = {of_batch(mean, (size_t)channels)[c], of_batch(rstd, (size_t)channels)[c]};
    of_batch(out, elements)[i] =
        normalised(of_batch(in, elements)[i], moments) * weight[c] + bias[c];
}

/* Processes as many batches as there are block counts for, at least one; returns their number. */
static unsigned forward_two_kernels(Backend *backend, const char *name, size_t rows, int channels,
                                    unsigned batches, const float *in, const float *weight,
                                    const float *bias, float *out, float *mean, float *rstd)
{
    size_t elements = rows * (size_t)channels;
    dim3 grid = column_grid(rows, channels);
    ColumnWork work;
    if (grid.y * batches > BLOCK_COUNTS)
        batches = grid.y < BLOCK_COUNTS ? BLOCK_COUNTS / grid.y : 1;
    grid.z = batches;
    if (has_counts(backend, grid, channels) && column_work(backend, grid, channels, 0, &work)) {
        RUN(backend, name, moments_kernel, grid, COLUMN_THREADS, COLUMN_SHARED, rows, channels, in,
            work, mean, rstd);
        RUN(backend, name, normalise_kernel, dim3(blocks_for(elements, THREADS), 1, batches),
            THREADS, 0, elements, channels, in, mean, rstd, weight, bias, out);
    }
    return batches;
}

static __global__ void gradients_kernel(size_t rows, int channels, const float *in,
                                        const float *mean, const float *rstd, const float *dout,
                                        ColumnWork work, float *dweight, float *dbias)
{
    ColumnSums sums;
    auto add = [=](size_t row, int c, ThreadSums &to) {
        size_t i = row * (size_t)channels + (size_t)c;
        add_slope({in[i], dout[i]}, {mean[c], rstd[c]}, to);
    };
    if (!sum_columns(rows, channels, work, add, sums))
        return;
    int c = column_of_thread();
    dbias[c] = (float)sums.first;
    dweight[c] = (float)sums.second;
}

static __global__ void input_gradient_kernel(size_t elements, int channels, float share,
                                             const float *in, const float *weight,
                                             const float *mean, const float *rstd,
                                             const float *dweight, const float *dbias,
                                             const float *dout, float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int c = (int)(i % (size_t)channels);
    din[i] = input_gradient({in[i], dout[i]}, {mean[c], rstd[c]}, weight[c], dweight[c], dbias[c],
                            share);
}

static void parameter_gradients(Backend *backend, const char *name, size_t rows, int channels,
                                const float *in, const float *mean, const float *rstd,
                                const float *dout, const ColumnWork &work, float *dweight,
                                float *dbias)
{
    RUN(backend, name, gradients_kernel, column_grid(rows, channels), COLUMN_THREADS, COLUMN_SHARED,
        rows, channels, in, mean, rstd, dout, work, dweight, dbias);
}

static float share_of_row(size_t rows)
{
    return (float)(1.0 / (double)rows);
}

static void backward_two_kernels(Backend *backend, const char *name, size_t rows, int channels,
                                 const float *in, const float *weight, const float *mean,
                                 const float *rstd, const float *dout, float *din, float *dweight,
                                 float *dbias)
{
    size_t elements = rows * (size_t)channels;
    ColumnWork work;
    if (!column_work(backend, rows, channels, 0, &work))
        return;
    parameter_gradients(backend, name, rows, channels, in, mean, rstd, dout, work, dweight, dbias);
    RUN(backend, name, input_gradient_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        channels, share_of_row(rows), in, weight, mean, rstd, dweight, dbias, dout, din);
}

/* ---- one kernel ---- */

/* Keeps load(i) of a thread's first KEPT elements; i is the index among all elements. */
template <class Element, class Load>
static __device__ __forceinline__ void keep(Element (&kept)[KEPT], const ThreadRows<NARROW> &mine,
                                            int channels, Load load)
{
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        size_t row = mine.first + (size_t)(k * mine.STEP);
        if (mine.column < channels && row < mine.end)
            kept[k] = load(row * (size_t)channels + (size_t)mine.column);
    }
}

/* Calls use(i, element) for all elements of a thread: the kept ones, then those loaded again. */
template <class Element, class Load, class Use>
static __device__ __forceinline__ void for_elements(const Element (&kept)[KEPT],
                                                    const ThreadRows<NARROW> &mine, int channels,
                                                    Load load, Use use)
{
    if (mine.column >= channels)
        return;
    size_t row = mine.first, width = (size_t)channels, column = (size_t)mine.column;
#pragma unroll
    for (int k = 0; k < KEPT; k++, row += mine.STEP)
        if (row < mine.end)
            use(row * width + column, kept[k]);
    for (; row < mine.end; row += mine.STEP)
        use(row * width + column, load(row * width + column));
}

/* Passes a value per column from the first NARROW threads to all threads of the block. */
template <class Value>
static __device__ __forceinline__ Value from_first(Value *shared, const Value &value)
{
    if (threadIdx.x < NARROW)
        shared[threadIdx.x] = value;
    __syncthreads();
    return shared[threadIdx.x % NARROW];
}

/* Returns whether this thread, one of the whole grid, writes the column's results. */
static __device__ __forceinline__ bool writes(int column, int channels)
{
    return blockIdx.x == 0 && threadIdx.x < NARROW && column < channels;
}

static __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_kernel(size_t rows, int channels, const float *in, ColumnWork work, unsigned *grid_count,
                const float *weight, const float *bias, float *out, float *mean, float *rstd)
{
    SHARED(Moments[NARROW], shared);
    in = of_batch(in, rows * (size_t)channels);
    out = of_batch(out, rows * (size_t)channels);
    work = of_batch(work, channels);
    ThreadRows<NARROW> mine = rows_of_thread<NARROW>(rows);
    int c = mine.column;
    float scale = c < channels ? weight[c] : 0.0f, shift = c < channels ? bias[c] : 0.0f;
    float kept[KEPT];
    ThreadSums own = {};
    auto load = [=](size_t i) { return in[i]; };
    keep(kept, mine, channels, load);
    for_elements(kept, mine, channels, load,
                 [&](size_t, float element) { add_moments(element, own); });
    ColumnSums sums = in_double(own);
    sum_over_grid<NARROW>(c, channels, work, grid_count, sums);
    Moments moments = from_first(shared, threadIdx.x < NARROW ? moments_of(sums, rows) : Moments{});
    if (writes(c, channels)) {
        of_batch(mean, (size_t)channels)[c] = moments.mean;
        of_batch(rstd, (size_t)channels)[c] = moments.rstd;
    }
    for_elements(kept, mine, channels, load, [=](size_t i, float element) {
        out[i] = normalised(element, moments) * scale + shift;
    });
}

static __global__ void __launch_bounds__(COLUMN_THREADS)
    norm_gradient_kernel(size_t rows, int channels, float share, const float *in, ColumnWork work,
                         unsigned *grid_count, const float *weight, const float *mean,
                         const float *rstd, const float *dout, float *din, float *dweight,
                         float *dbias)
{
    struct Gradients {
        float bias, weight;
    };
    SHARED(Gradients[NARROW], shared);
    ThreadRows<NARROW> mine = rows_of_thread<NARROW>(rows);
    int c = mine.column;
    Moments moments = c < channels ? Moments{mean[c], rstd[c]} : Moments{};
    float scale = c < channels ? weight[c] : 0.0f;
    Slope kept[KEPT];
    ThreadSums own = {};
    auto load = [=](size_t i) { return Slope{in[i], dout[i]}; };
    keep(kept, mine, channels, load);
    for_elements(kept, mine, channels, load,
                 [&](size_t, const Slope &slope) { add_slope(slope, moments, own); });
    ColumnSums sums = in_double(own);
    sum_over_grid<NARROW>(c, channels, work, grid_count, sums);
    Gradients all = from_first(shared, Gradients{(float)sums.first, (float)sums.second});
    if (writes(c, channels)) {
        dbias[c] = all.bias;
        dweight[c] = all.weight;
    }
    for_elements(kept, mine, channels, load, [=](size_t i, const Slope &slope) {
        din[i] = input_gradient(slope, moments, scale, all.weight, all.bias, share);
    });
}

void cuda_open_batchnorm(Backend *backend)
{
    const char *name = "opening the GPU";
    int cooperative = 0, forward = 0, backward = 0;
    if (!TRY(backend, name,
             cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, backend->device)) ||
        !TRY(backend, name,
             cudaOccupancyMaxActiveBlocksPerMultiprocessor(&forward, norm_kernel, COLUMN_THREADS,
                                                           COLUMN_SHARED)) ||
        !TRY(backend, name,
             cudaOccupancyMaxActiveBlocksPerMultiprocessor(&backward, norm_gradient_kernel,
                                                           COLUMN_THREADS, COLUMN_SHARED)))
        return;
    int blocks = forward < backward ? forward : backward;
    backend->norm_blocks = cooperative ? (unsigned)(blocks * backend->multiprocessors) : 0;
}

/* Returns false if the GPU refused a cooperative launch because it holds fewer blocks than it
 * reported, for example when other programs have a part of it (MPS). Launches then have one batch
 * each; if one batch was refused, the two kernels are used. */
static bool was_launched(Backend *backend, const char *name, dim3 grid, cudaError_t status)
{
    if (status == cudaErrorCooperativeLaunchTooLarge) {
        if (grid.z > 1)
            backend->norm_alone = true;
        else
            backend->norm_blocks = 0;
        return false;
    }
    cuda_try(backend, name, "cooperative launch", status);
    return true;
}

/* Computes the grid of the single kernel; false if the two kernels have to be used. */
static bool grid_at_once(const Backend *backend, size_t rows, int channels, dim3 *grid)
{
    const unsigned max_chunks = 64, chunk_rows = 128;
    unsigned room = backend->norm_blocks / blocks_for((size_t)channels, NARROW);
    *grid = column_grid(rows, channels, NARROW, chunk_rows, room < max_chunks ? room : max_chunks);
    return room > 0;
}

/* Processes as many batches as the GPU holds at once with the single kernel and returns their
 * number; 0 if the two kernels have to be used. Each batch is divided into the chunks that it has
 * alone. */
static unsigned forward_cooperative(Backend *backend, const char *name, size_t rows, int channels,
                                    unsigned batches, const float *in, const float *weight,
                                    const float *bias, float *out, float *mean, float *rstd)
{
    ColumnWork work;
    dim3 grid;
    if (!grid_at_once(backend, rows, channels, &grid))
        return 0;
    unsigned room = backend->norm_alone ? 1 : backend->norm_blocks / (grid.x * grid.y);
    grid.z = batches < room ? batches : room;
    if (!column_work(backend, grid, channels, 0, &work))
        return grid.z;
    LAUNCH_COOPERATIVE(norm_kernel, grid, COLUMN_THREADS, COLUMN_SHARED, backend->stream, rows,
                       channels, in, work, backend->grid_count, weight, bias, out, mean, rstd);
    if (was_launched(backend, name, grid, cudaGetLastError()))
        return grid.z;
    return forward_cooperative(backend, name, rows, channels, 1, in, weight, bias, out, mean, rstd);
}

static void batchnorm_forward(Backend *backend, size_t rows, int channels, int batches,
                              const float *in, const float *weight, const float *bias, float *out,
                              float *mean, float *rstd)
{
    const char *name = "batch norm forward";
    size_t width = (size_t)channels, elements = rows / (size_t)batches * width;
    for (unsigned left = (unsigned)batches, done; left > 0; left -= done) {
        done = forward_cooperative(backend, name, elements / width, channels, left, in, weight,
                                   bias, out, mean, rstd);
        if (done == 0)
            done = forward_two_kernels(backend, name, elements / width, channels, left, in, weight,
                                       bias, out, mean, rstd);
        in += done * elements, out += done * elements;
        mean += done * width, rstd += done * width;
    }
}

static void batchnorm_backward(Backend *backend, size_t rows, int channels, const float *in,
                               const float *weight, const float *mean, const float *rstd,
                               const float *dout, float *din, float *dweight, float *dbias)
{
    const char *name = "batch norm backward";
    ColumnWork work;
    dim3 grid;
    if (grid_at_once(backend, rows, channels, &grid)) {
        if (!column_work(backend, grid, channels, 0, &work))
            return;
        LAUNCH_COOPERATIVE(norm_gradient_kernel, grid, COLUMN_THREADS, COLUMN_SHARED,
                           backend->stream, rows, channels, share_of_row(rows), in, work,
                           backend->grid_count, weight, mean, rstd, dout, din, dweight, dbias);
        if (was_launched(backend, name, grid, cudaGetLastError()))
            return;
    }
    backward_two_kernels(backend, name, rows, channels, in, weight, mean, rstd, dout, din, dweight,
                         dbias);
}

/* ---- sums over several batches ---- */

static __global__ void accumulate_kernel(size_t rows, int channels, const float *in,
                                         ColumnWork work, double *all)
{
    ColumnSums sums;
    auto add = [=](size_t row, int c, ThreadSums &to) {
        add_moments(in[row * (size_t)channels + (size_t)c], to);
    };
    if (!sum_columns(rows, channels, work, add, sums))
        return;
    all[column_of_thread()] += sums.first;
    all[channels + column_of_thread()] += sums.second;
}

static void batchnorm_accumulate(Backend *backend, size_t rows, int channels, int batches,
                                 const float *in, double *sums)
{
    size_t batch_rows = rows / (size_t)batches;
    ColumnWork work;
    if (!column_work(backend, batch_rows, channels, 0, &work))
        return;
    for (size_t b = 0; b < (size_t)batches; b++)
        RUN(backend, "batch norm statistics", accumulate_kernel, column_grid(batch_rows, channels),
            COLUMN_THREADS, COLUMN_SHARED, batch_rows, channels,
            in + b * batch_rows * (size_t)channels, work, sums);
}

/* ---- frozen statistics ---- */

static __global__ void rstd_kernel(int channels, const float *variance, float *rstd)
{
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (c < channels)
        rstd[c] = (float)(1.0 / sqrt((double)variance[c] + EPSILON_VARIANCE));
}

static void batchnorm_frozen_forward(Backend *backend, size_t rows, int channels, const float *in,
                                     const float *weight, const float *bias, const float *mean,
                                     const float *variance, float *out)
{
    const char *name = "batch norm with frozen statistics";
    size_t elements = rows * (size_t)channels;
    float *rstd = (float *)cuda_scratch(backend, (size_t)channels * sizeof(float));
    if (!rstd)
        return;
    RUN(backend, name, rstd_kernel, blocks_for((size_t)channels, WARP), WARP, 0, channels, variance,
        rstd);
    RUN(backend, name, normalise_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        channels, in, mean, rstd, weight, bias, out);
}

static __global__ void scale_kernel(size_t elements, int channels, const float *weight,
                                    const float *rstd, const float *dout, float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int c = (int)(i % (size_t)channels);
    din[i] = dout[i] * weight[c] * rstd[c];
}

static void batchnorm_frozen_backward(Backend *backend, size_t rows, int channels, const float *in,
                                      const float *weight, const float *mean, const float *variance,
                                      const float *dout, float *din, float *dweight, float *dbias)
{
    const char *name = "batch norm backward with frozen statistics";
    size_t elements = rows * (size_t)channels, width = (size_t)channels;
    ColumnWork work;
    if (!column_work(backend, rows, channels, width * sizeof(float), &work))
        return;
    float *rstd = (float *)(work.parts + column_grid(rows, channels).x * 2 * width);
    RUN(backend, name, rstd_kernel, blocks_for(width, WARP), WARP, 0, channels, variance, rstd);
    parameter_gradients(backend, name, rows, channels, in, mean, rstd, dout, work, dweight, dbias);
    RUN(backend, name, scale_kernel, blocks_for(elements, THREADS), THREADS, 0, elements, channels,
        weight, rstd, dout, din);
}

void cuda_batchnorm_table(Operations *table)
{
    table->batchnorm_forward = batchnorm_forward;
    table->batchnorm_backward = batchnorm_backward;
    table->batchnorm_accumulate = batchnorm_accumulate;
    table->batchnorm_frozen_forward = batchnorm_frozen_forward;
    table->batchnorm_frozen_backward = batchnorm_frozen_backward;
}
