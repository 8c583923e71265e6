/* Batch norm: sums of chunks of rows in double, then every element. */
#include "columns.cuh"

enum { THREADS = 256 };

/* Adds an element and its square. */
static __device__ __forceinline__ void add_moments(float element, ColumnSums &sums)
{
    double value = element;
    sums.first += value;
    sums.second += value * value;
}

static __global__ void moments_kernel(size_t rows, int channels, const float *in, ColumnWork work,
                                      float *mean, float *deviation)
{
    ColumnSums sums;
    auto add = [=](size_t row, int c, ColumnSums &to) {
        add_moments(in[row * (size_t)channels + (size_t)c], to);
    };
    if (!sum_columns(rows, channels, work, add, sums))
        return;
    int c = column_of_thread();
    double centre = sums.first / (double)rows;
    double variance = fmax(sums.second / (double)rows - centre * centre, 0.0);
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

void cuda_batchnorm_forward(Backend *backend, size_t rows, int channels, const float *in,
                            const float *weight, const float *bias, float *out, float *mean,
                            float *deviation)
{
    const char *name = "batch norm forward";
    size_t elements = rows * (size_t)channels;
    ColumnWork work;
    if (!column_work(backend, rows, channels, 0, &work))
        return;
    RUN(backend, name, moments_kernel, column_grid(rows, channels), COLUMN_THREADS, COLUMN_SHARED,
        rows, channels, in, work, mean, deviation);
    RUN(backend, name, normalise_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        channels, in, mean, deviation, weight, bias, out);
}

/* dbias: the sums of dout; dweight: of dout times the normalised input. */
static __global__ void gradients_kernel(size_t rows, int channels, const float *in,
                                        const float *mean, const float *deviation,
                                        const float *dout, ColumnWork work, float *dweight,
                                        float *dbias)
{
    ColumnSums sums;
    auto add = [=](size_t row, int c, ColumnSums &to) {
        size_t i = row * (size_t)channels + (size_t)c;
        float normalised = (in[i] - mean[c]) * deviation[c];
        to.first += dout[i];
        to.second += (double)dout[i] * normalised;
    };
    if (!sum_columns(rows, channels, work, add, sums))
        return;
    int c = column_of_thread();
    dbias[c] = (float)sums.first;
    dweight[c] = (float)sums.second;
}

static __global__ void input_gradient_kernel(size_t elements, size_t rows, int channels,
                                             const float *in, const float *weight,
                                             const float *mean, const float *deviation,
                                             const float *dweight, const float *dbias,
                                             const float *dout, float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int c = (int)(i % (size_t)channels);
    float normalised = (in[i] - mean[c]) * deviation[c], share = (float)(1.0 / (double)rows);
    float centred = dout[i] - (dbias[c] + normalised * dweight[c]) * share;
    din[i] = centred * weight[c] * deviation[c];
}

static void parameter_gradients(Backend *backend, const char *name, size_t rows, int channels,
                                const float *in, const float *mean, const float *deviation,
                                const float *dout, const ColumnWork &work, float *dweight,
                                float *dbias)
{
    RUN(backend, name, gradients_kernel, column_grid(rows, channels), COLUMN_THREADS, COLUMN_SHARED,
        rows, channels, in, mean, deviation, dout, work, dweight, dbias);
}

void cuda_batchnorm_backward(Backend *backend, size_t rows, int channels, const float *in,
                             const float *weight, const float *mean, const float *deviation,
                             const float *dout, float *din, float *dweight, float *dbias)
{
    const char *name = "batch norm backward";
    size_t elements = rows * (size_t)channels;
    ColumnWork work;
    if (!column_work(backend, rows, channels, 0, &work))
        return;
    parameter_gradients(backend, name, rows, channels, in, mean, deviation, dout, work, dweight,
                        dbias);
    RUN(backend, name, input_gradient_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        rows, channels, in, weight, mean, deviation, dweight, dbias, dout, din);
}

static __global__ void accumulate_kernel(size_t rows, int channels, const float *in,
                                         ColumnWork work, double *all)
{
    ColumnSums sums;
    auto add = [=](size_t row, int c, ColumnSums &to) {
        add_moments(in[row * (size_t)channels + (size_t)c], to);
    };
    if (!sum_columns(rows, channels, work, add, sums))
        return;
    all[column_of_thread()] += sums.first;
    all[channels + column_of_thread()] += sums.second;
}

void cuda_batchnorm_accumulate(Backend *backend, size_t rows, int channels, const float *in,
                               double *sums)
{
    ColumnWork work;
    if (!column_work(backend, rows, channels, 0, &work))
        return;
    RUN(backend, "batch norm statistics", accumulate_kernel, column_grid(rows, channels),
        COLUMN_THREADS, COLUMN_SHARED, rows, channels, in, work, sums);
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
    ColumnWork work;
    if (!column_work(backend, rows, channels, width * sizeof(float), &work))
        return;
    float *deviation = (float *)(work.parts + column_grid(rows, channels).x * 2 * width);
    RUN(backend, name, deviations_kernel, blocks_for(width, WARP), WARP, 0, channels, variance,
        deviation);
    parameter_gradients(backend, name, rows, channels, in, mean, deviation, dout, work, dweight,
                        dbias);
    RUN(backend, name, scale_kernel, blocks_for(elements, THREADS), THREADS, 0, elements, channels,
        weight, deviation, dout, din);
}
