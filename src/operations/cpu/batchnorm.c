/* Batch norm, row by row, with a running sum in double for every channel. */
#include "operations/cpu/cpu.h"

#include <math.h>
#include <string.h>

enum { CHUNK_ROWS = 64 };

/* Returns (chunks, 2, channels) zeros for the chunks' sums of two values per channel, and in *row
 * (channels) more floats unless `row` is NULL. */
static double *sums_scratch(Backend *backend, int chunks, size_t width, float **row)
{
    Scratch scratch;
    size_t doubles = (size_t)chunks * 2 * width;
    if (!cpu_scratch(backend, doubles * (sizeof(double) / sizeof(float)), row ? width : 0,
                     &scratch))
        return NULL;
    if (row)
        *row = scratch.threads;
    memset(scratch.shared, 0, doubles * sizeof(double));
    return (double *)scratch.shared;
}

/* Returns the sum over chunks of value 0 or 1 of channel c. */
static double total(const double *sums, int chunks, size_t width, size_t value, size_t c)
{
    double sum = 0.0;
    for (size_t chunk = 0; chunk < (size_t)chunks; chunk++)
        sum += sums[(chunk * 2 + value) * width + c];
    return sum;
}

static void forward_batch(Backend *backend, size_t rows, size_t width, const float *in,
                          const float *weight, const float *bias, float *out, float *mean,
                          float *rstd)
{
    int chunks = cpu_chunks(rows, CHUNK_ROWS);
    double *sums = sums_scratch(backend, chunks, width, NULL);
    if (!sums)
        return;
        /* Moments about the first row: it is near the mean, so little cancels in double. */
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (int chunk = 0; chunk < chunks; chunk++) {
        double *sum = sums + (size_t)chunk * 2 * width, *squares = sum + width;
        size_t end = cpu_chunk_begin(rows, chunks, chunk + 1);
        for (size_t row = cpu_chunk_begin(rows, chunks, chunk); row < end; row++)
            for (size_t c = 0; c < width; c++) {
                double from_first = (double)in[row * width + c] - in[c];
                sum[c] += from_first;
                squares[c] += from_first * from_first;
            }
    }
    for (size_t c = 0; c < width; c++) {
        double from_first = total(sums, chunks, width, 0, c) / (double)rows;
        double variance = total(sums, chunks, width, 1, c) / (double)rows - from_first * from_first;
        mean[c] = (float)(in[c] + from_first);
        rstd[c] = (float)(1.0 / sqrt(variance + EPSILON_VARIANCE));
    }

#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < width; c++)
            out[row * width + c] = (in[row * width + c] - mean[c]) * rstd[c] * weight[c] + bias[c];
}

static void batchnorm_forward(Backend *backend, size_t rows, int channels, int batches,
                              const float *in, const float *weight, const float *bias, float *out,
                              float *mean, float *rstd)
{
    size_t width = (size_t)channels, batch_rows = rows / (size_t)batches;
    for (size_t b = 0; b < (size_t)batches; b++)
        forward_batch(backend, batch_rows, width, in + b * batch_rows * width, weight, bias,
                      out + b * batch_rows * width, mean + b * width, rstd + b * width);
}

/* Sums dout into dbias, and dout times the normalised input into dweight. `sums` must be zero. */
static void parameter_gradients(const Backend *backend, double *sums, size_t rows, size_t width,
                                const float *in, const float *mean, const float *rstd,
                                const float *dout, float *dweight, float *dbias)
{
    int chunks = cpu_chunks(rows, CHUNK_ROWS);
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (int chunk = 0; chunk < chunks; chunk++) {
        double *sum = sums + (size_t)chunk * 2 * width, *dot = sum + width;
        size_t end = cpu_chunk_begin(rows, chunks, chunk + 1);
        for (size_t row = cpu_chunk_begin(rows, chunks, chunk); row < end; row++)
            for (size_t c = 0; c < width; c++) {
                size_t i = row * width + c;
                float normalised = (in[i] - mean[c]) * rstd[c];
                sum[c] += dout[i];
                dot[c] += (double)dout[i] * normalised;
            }
    }
    for (size_t c = 0; c < width; c++) {
        dbias[c] = (float)total(sums, chunks, width, 0, c);
        dweight[c] = (float)total(sums, chunks, width, 1, c);
    }
}

static void batchnorm_backward(Backend *backend, size_t rows, int channels, const float *in,
                               const float *weight, const float *mean, const float *rstd,
                               const float *dout, float *din, float *dweight, float *dbias)
{
    size_t width = (size_t)channels;
    double *sums = sums_scratch(backend, cpu_chunks(rows, CHUNK_ROWS), width, NULL);
    if (!sums)
        return;
    parameter_gradients(backend, sums, rows, width, in, mean, rstd, dout, dweight, dbias);
    /* dweight and dbias are rounded to float; here that does not matter. */
    float share = (float)(1.0 / (double)rows);
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < width; c++) {
            size_t i = row * width + c;
            float normalised = (in[i] - mean[c]) * rstd[c];
            float centred = dout[i] - (dbias[c] + normalised * dweight[c]) * share;
            din[i] = centred * weight[c] * rstd[c];
        }
}

static void accumulate_batch(Backend *backend, size_t rows, size_t width, const float *in,
                             double *sums)
{
    int chunks = cpu_chunks(rows, CHUNK_ROWS);
    double *parts = sums_scratch(backend, chunks, width, NULL);
    if (!parts)
        return;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (int chunk = 0; chunk < chunks; chunk++) {
        double *sum = parts + (size_t)chunk * 2 * width, *squares = sum + width;
        size_t end = cpu_chunk_begin(rows, chunks, chunk + 1);
        for (size_t row = cpu_chunk_begin(rows, chunks, chunk); row < end; row++)
            for (size_t c = 0; c < width; c++) {
                double value = in[row * width + c];
                sum[c] += value;
                squares[c] += value * value;
            }
    }
    for (size_t c = 0; c < width; c++) {
        sums[c] += total(parts, chunks, width, 0, c);
        sums[width + c] += total(parts, chunks, width, 1, c);
    }
}

static void batchnorm_accumulate(Backend *backend, size_t rows, int channels, int batches,
                                 const float *in, double *sums)
{
    size_t width = (size_t)channels, batch_rows = rows / (size_t)batches;
    for (size_t b = 0; b < (size_t)batches; b++)
        accumulate_batch(backend, batch_rows, width, in + b * batch_rows * width, sums);
}

static void rstd_of(const float *variance, size_t width, float *rstd)
{
    for (size_t c = 0; c < width; c++)
        rstd[c] = (float)(1.0 / sqrt(variance[c] + EPSILON_VARIANCE));
}

static void batchnorm_frozen_forward(Backend *backend, size_t rows, int channels, const float *in,
                                     const float *weight, const float *bias, const float *mean,
                                     const float *variance, float *out)
{
    size_t width = (size_t)channels;
    Scratch scratch;
    if (!cpu_scratch(backend, width, 0, &scratch))
        return;
    const float *rstd = scratch.shared;
    rstd_of(variance, width, scratch.shared);
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < width; c++)
            out[row * width + c] = (in[row * width + c] - mean[c]) * rstd[c] * weight[c] + bias[c];
}

static void batchnorm_frozen_backward(Backend *backend, size_t rows, int channels, const float *in,
                                      const float *weight, const float *mean, const float *variance,
                                      const float *dout, float *din, float *dweight, float *dbias)
{
    size_t width = (size_t)channels;
    float *rstd;
    double *sums = sums_scratch(backend, cpu_chunks(rows, CHUNK_ROWS), width, &rstd);
    if (!sums)
        return;
    rstd_of(variance, width, rstd);
    parameter_gradients(backend, sums, rows, width, in, mean, rstd, dout, dweight, dbias);
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < width; c++)
            din[row * width + c] = dout[row * width + c] * weight[c] * rstd[c];
}

void CPU_NAME(cpu_batchnorm_table)(Operations *table)
{
    table->batchnorm_forward = batchnorm_forward;
    table->batchnorm_backward = batchnorm_backward;
    table->batchnorm_accumulate = batchnorm_accumulate;
    table->batchnorm_frozen_forward = batchnorm_frozen_forward;
    table->batchnorm_frozen_backward = batchnorm_frozen_backward;
}
