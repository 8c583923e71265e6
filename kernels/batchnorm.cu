/* Batch norm: sums of chunks of rows in double, a block a chunk and 32 channels; then all chunks;
 * then every element. */
#include "cuda.cuh"

enum { THREADS = 256, ROWS = THREADS / WARP };

/* Adds two values per thread over the block's ROWS rows; the first row of threads has the sums. */
static __device__ void add_block(double *shared, double &first, double &second)
{
    int lane = (int)threadIdx.x % WARP, row = (int)threadIdx.x / WARP;
    shared[row * 2 * WARP + lane] = first;
    shared[row * 2 * WARP + WARP + lane] = second;
    __syncthreads();
    if (row)
        return;
    for (int r = 1; r < ROWS; r++) {
        first += shared[r * 2 * WARP + lane];
        second += shared[r * 2 * WARP + WARP + lane];
    }
}

/* The rows of a chunk. */
static __device__ void chunk_of(size_t rows, size_t &begin, size_t &end)
{
    begin = rows * blockIdx.x / gridDim.x;
    end = rows * (blockIdx.x + 1) / gridDim.x;
}

/* parts (chunks, 2, channels): sums of in and of its square. */
static __global__ void statistics_kernel(size_t rows, int channels, const float *in,
                                         double *parts)
{
    DYNAMIC_SHARED(double, shared);
    int c = (int)(blockIdx.y * WARP + threadIdx.x % WARP);
    double sum = 0.0, squares = 0.0;
    size_t row, end;
    chunk_of(rows, row, end);
    for (row += threadIdx.x / WARP; c < channels && row < end; row += ROWS) {
        double value = in[row * (size_t)channels + (size_t)c];
        sum += value;
        squares += value * value;
    }
    add_block(shared, sum, squares);
    if (threadIdx.x >= WARP || c >= channels)
        return;
    parts += (size_t)blockIdx.x * 2 * (size_t)channels;
    parts[c] = sum;
    parts[channels + c] = squares;
}

static __global__ void moments_kernel(size_t rows, int channels, const double *sums, float *mean,
                                      float *deviation)
{
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels)
        return;
    double centre = sums[c] / (double)rows;
    double variance = fmax(sums[channels + c] / (double)rows - centre * centre, 0.0);
    mean[c] = (float)centre;
    deviation[c] = (float)(1.0 / sqrt(variance + 1e-5));
}

static __global__ void normalise_kernel(size_t elements, int channels, const float *in,
                                        const float *mean, const float *deviation,
                                        const float *weight, const float *bias, float *out)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int c = (int)(i % (size_t)channels);
    out[i] = (in[i] - mean[c]) * deviation[c] * weight[c] + bias[c];
}

/* Scratch: 2 sums per channel, those of the chunks, and `extra` doubles at the very end. */
static double *sums_scratch(Backend *backend, size_t rows, int channels, size_t extra)
{
    size_t sums = (column_chunks(rows) + 1) * 2 * (size_t)channels;
    return (double *)cuda_scratch(backend, (sums + extra) * sizeof(double));
}

/* sums: of in and of its square; room for those of the chunks is behind them. */
static void input_sums(Backend *backend, const char *name, size_t rows, int channels,
                       const float *in, double *sums)
{
    unsigned chunks = column_chunks(rows);
    double *parts = sums + 2 * channels;
    RUN(backend, name, statistics_kernel, dim3(chunks, blocks_for((size_t)channels, WARP)),
        THREADS, THREADS * 2 * sizeof(double), rows, channels, in, parts);
    cuda_add_chunks(backend, name, parts, chunks, channels, sums);
}

void cuda_batchnorm_forward(Backend *backend, size_t rows, int channels, const float *in,
                            const float *weight, const float *bias, float *out, float *mean,
                            float *deviation)
{
    const char *name = "batch norm forward";
    size_t elements = rows * (size_t)channels;
    double *sums = sums_scratch(backend, rows, channels, 0);
    if (!sums)
        return;
    input_sums(backend, name, rows, channels, in, sums);
    RUN(backend, name, moments_kernel, blocks_for((size_t)channels, WARP), WARP, 0, rows, channels,
        sums, mean, deviation);
    RUN(backend, name, normalise_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        channels, in, mean, deviation, weight, bias, out);
}

/* parts (chunks, 2, channels): sums of dout and of dout times the normalised input. */
static __global__ void gradients_kernel(size_t rows, int channels, const float *in,
                                        const float *mean, const float *deviation,
                                        const float *dout, double *parts)
{
    DYNAMIC_SHARED(double, shared);
    int c = (int)(blockIdx.y * WARP + threadIdx.x % WARP);
    double sum = 0.0, dot = 0.0;
    size_t row, end;
    chunk_of(rows, row, end);
    for (row += threadIdx.x / WARP; c < channels && row < end; row += ROWS) {
        size_t i = row * (size_t)channels + (size_t)c;
        float normalised = (in[i] - mean[c]) * deviation[c];
        sum += dout[i];
        dot += (double)dout[i] * normalised;
    }
    add_block(shared, sum, dot);
    if (threadIdx.x >= WARP || c >= channels)
        return;
    parts += (size_t)blockIdx.x * 2 * (size_t)channels;
    parts[c] = sum;
    parts[channels + c] = dot;
}

static __global__ void store_gradients_kernel(int channels, const double *sums, float *dweight,
                                              float *dbias)
{
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= channels)
        return;
    dbias[c] = (float)sums[c];
    dweight[c] = (float)sums[channels + c];
}

static __global__ void input_gradient_kernel(size_t elements, size_t rows, int channels,
                                             const float *in, const float *weight,
                                             const float *mean, const float *deviation,
                                             const double *sums, const float *dout, float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int c = (int)(i % (size_t)channels);
    float normalised = (in[i] - mean[c]) * deviation[c], share = (float)(1.0 / (double)rows);
    float sum = (float)sums[c], dot = (float)sums[channels + c];
    din[i] = (dout[i] - (sum + normalised * dot) * share) * weight[c] * deviation[c];
}

/* sums: 2 channels, and room for those of the chunks behind them. */
static void parameter_gradients(Backend *backend, const char *name, size_t rows, int channels,
                                const float *in, const float *mean, const float *deviation,
                                const float *dout, double *sums, float *dweight, float *dbias)
{
    unsigned chunks = column_chunks(rows);
    double *parts = sums + 2 * channels;
    RUN(backend, name, gradients_kernel, dim3(chunks, blocks_for((size_t)channels, WARP)), THREADS,
        THREADS * 2 * sizeof(double), rows, channels, in, mean, deviation, dout, parts);
    cuda_add_chunks(backend, name, parts, chunks, channels, sums);
    RUN(backend, name, store_gradients_kernel, blocks_for((size_t)channels, WARP), WARP, 0,
        channels, sums, dweight, dbias);
}

void cuda_batchnorm_backward(Backend *backend, size_t rows, int channels, const float *in,
                             const float *weight, const float *mean, const float *deviation,
                             const float *dout, float *din, float *dweight, float *dbias)
{
    const char *name = "batch norm backward";
    size_t elements = rows * (size_t)channels;
    double *sums = sums_scratch(backend, rows, channels, 0);
    if (!sums)
        return;
    parameter_gradients(backend, name, rows, channels, in, mean, deviation, dout, sums, dweight,
                        dbias);
    RUN(backend, name, input_gradient_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        rows, channels, in, weight, mean, deviation, sums, dout, din);
}

static __global__ void add_sums_kernel(int values, const double *some, double *sums)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < values)
        sums[i] += some[i];
}

void cuda_batchnorm_accumulate(Backend *backend, size_t rows, int channels, const float *in,
                               double *sums)
{
    const char *name = "batch norm statistics";
    double *some = sums_scratch(backend, rows, channels, 0);
    if (!some)
        return;
    input_sums(backend, name, rows, channels, in, some);
    RUN(backend, name, add_sums_kernel, blocks_for((size_t)channels * 2, WARP), WARP, 0,
        channels * 2, some, sums);
}

/* ---- given statistics ---- */

static __global__ void deviations_kernel(int channels, const float *variance, float *deviation)
{
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (c < channels)
        deviation[c] = (float)(1.0 / sqrt((double)variance[c] + 1e-5));
}

void cuda_batchnorm_given_forward(Backend *backend, size_t rows, int channels, const float *in,
                                  const float *weight, const float *bias, const float *mean,
                                  const float *variance, float *out)
{
    const char *name = "batch norm with given statistics";
    size_t elements = rows * (size_t)channels;
    float *deviation = (float *)cuda_scratch(backend, (size_t)channels * sizeof(float));
    if (!deviation)
        return;
    RUN(backend, name, deviations_kernel, blocks_for((size_t)channels, WARP), WARP, 0, channels,
        variance, deviation);
    RUN(backend, name, normalise_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        channels, in, mean, deviation, weight, bias, out);
}

static __global__ void scale_kernel(size_t elements, int channels, const float *weight,
                                    const float *deviation, const float *dout, float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int c = (int)(i % (size_t)channels);
    din[i] = dout[i] * weight[c] * deviation[c];
}

void cuda_batchnorm_given_backward(Backend *backend, size_t rows, int channels, const float *in,
                                   const float *weight, const float *mean, const float *variance,
                                   const float *dout, float *din, float *dweight, float *dbias)
{
    const char *name = "batch norm backward with given statistics";
    size_t elements = rows * (size_t)channels, width = (size_t)channels;
    double *sums = sums_scratch(backend, rows, channels, width);
    if (!sums)
        return;
    float *deviation = (float *)(sums + (column_chunks(rows) + 1) * 2 * width);
    RUN(backend, name, deviations_kernel, blocks_for(width, WARP), WARP, 0, channels, variance,
        deviation);
    parameter_gradients(backend, name, rows, channels, in, mean, deviation, dout, sums, dweight,
                        dbias);
    RUN(backend, name, scale_kernel, blocks_for(elements, THREADS), THREADS, 0, elements, channels,
        weight, deviation, dout, din);
}
