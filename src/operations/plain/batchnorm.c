#include "operations/plain/plain.h"

#include <math.h>

static void forward_batch(size_t rows, size_t width, const float *in, const float *weight,
                          const float *bias, float *out, float *mean, float *rstd)
{
    for (size_t c = 0; c < width; c++) {
        double sum = 0.0, squares = 0.0;
        for (size_t row = 0; row < rows; row++)
            sum += in[row * width + c];
        double centre = sum / (double)rows;
        for (size_t row = 0; row < rows; row++)
            squares += (in[row * width + c] - centre) * (in[row * width + c] - centre);
        double inverse = 1.0 / sqrt(squares / (double)rows + EPSILON_VARIANCE);
        for (size_t row = 0; row < rows; row++)
            out[row * width + c] =
                (float)((in[row * width + c] - centre) * inverse * weight[c] + bias[c]);
        mean[c] = (float)centre;
        rstd[c] = (float)inverse;
    }
}

static void batchnorm_forward(Backend *backend, size_t rows, int channels, int batches,
                              const float *in, const float *weight, const float *bias, float *out,
                              float *mean, float *rstd)
{
    (void)backend;
    size_t width = (size_t)channels, batch_rows = rows / (size_t)batches;
    for (size_t b = 0; b < (size_t)batches; b++)
        forward_batch(batch_rows, width, in + b * batch_rows * width, weight, bias,
                      out + b * batch_rows * width, mean + b * width, rstd + b * width);
}

static void batchnorm_backward(Backend *backend, size_t rows, int channels, const float *in,
                               const float *weight, const float *mean, const float *rstd,
                               const float *dout, float *din, float *dweight, float *dbias)
{
    (void)backend;
    size_t width = (size_t)channels;
    for (size_t c = 0; c < width; c++) {
        double sum = 0.0, dot = 0.0;
        for (size_t row = 0; row < rows; row++) {
            double normalised = ((double)in[row * width + c] - mean[c]) * rstd[c];
            sum += dout[row * width + c];
            dot += dout[row * width + c] * normalised;
        }
        for (size_t row = 0; row < rows; row++) {
            double normalised = ((double)in[row * width + c] - mean[c]) * rstd[c];
            double centred = dout[row * width + c] - (sum + normalised * dot) / (double)rows;
            din[row * width + c] = (float)(centred * weight[c] * rstd[c]);
        }
        dweight[c] = (float)dot;
        dbias[c] = (float)sum;
    }
}

/* Adds row by row, so the result does not depend on the division into batches. */
static void batchnorm_accumulate(Backend *backend, size_t rows, int channels, int batches,
                                 const float *in, double *sums)
{
    (void)backend;
    (void)batches;
    size_t width = (size_t)channels;
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < width; c++) {
            double value = in[row * width + c];
            sums[c] += value;
            sums[width + c] += value * value;
        }
}

static void batchnorm_frozen_forward(Backend *backend, size_t rows, int channels, const float *in,
                                     const float *weight, const float *bias, const float *mean,
                                     const float *variance, float *out)
{
    (void)backend;
    size_t width = (size_t)channels;
    for (size_t c = 0; c < width; c++) {
        double factor = weight[c] / sqrt(variance[c] + EPSILON_VARIANCE);
        for (size_t row = 0; row < rows; row++)
            out[row * width + c] =
                (float)(((double)in[row * width + c] - mean[c]) * factor + bias[c]);
    }
}

static void batchnorm_frozen_backward(Backend *backend, size_t rows, int channels, const float *in,
                                      const float *weight, const float *mean, const float *variance,
                                      const float *dout, float *din, float *dweight, float *dbias)
{
    (void)backend;
    size_t width = (size_t)channels;
    for (size_t c = 0; c < width; c++) {
        double inverse = 1.0 / sqrt(variance[c] + EPSILON_VARIANCE), sum = 0.0, dot = 0.0;
        for (size_t row = 0; row < rows; row++) {
            double gradient = dout[row * width + c];
            sum += gradient;
            dot += gradient * ((double)in[row * width + c] - mean[c]) * inverse;
            din[row * width + c] = (float)(gradient * weight[c] * inverse);
        }
        dweight[c] = (float)dot;
        dbias[c] = (float)sum;
    }
}

void plain_batchnorm_table(Operations *table)
{
    table->batchnorm_forward = batchnorm_forward;
    table->batchnorm_backward = batchnorm_backward;
    table->batchnorm_accumulate = batchnorm_accumulate;
    table->batchnorm_frozen_forward = batchnorm_frozen_forward;
    table->batchnorm_frozen_backward = batchnorm_frozen_backward;
}
