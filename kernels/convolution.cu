/* 1x1 convolutions by cuBLAS; the bias is written first, and its gradient is a sum over rows. */
#include "columns.cuh"

enum { THREADS = 256 };

static __global__ void fill_bias_kernel(size_t elements, int outputs, const float *bias, float *out)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < elements)
        out[i] = bias[i % (size_t)outputs];
}

static void convolution_forward(Backend *backend, const ConvolutionShape *s, const float *in,
                                const float *weight, const float *bias, float *out)
{
    size_t elements = s->rows * (size_t)s->out;
    if (bias)
        RUN(backend, "convolution forward", fill_bias_kernel, blocks_for(elements, THREADS),
            THREADS, 0, elements, s->out, bias, out);
    /* Batch by batch: cuBLAS may choose another kernel for another number of rows. */
    size_t batches = batch_count(s->batches), batch_rows = s->rows / batches;
    size_t inputs = (size_t)s->in, outputs = (size_t)s->out;
    for (size_t b = 0; b < batches; b++)
        cuda_product(backend, "convolution forward", false, true, batch_rows, outputs, inputs,
                     in + b * batch_rows * inputs, weight, bias ? 1.0f : 0.0f,
                     out + b * batch_rows * outputs);
}

static __global__ void bias_gradient_kernel(size_t rows, int outputs, const float *dout,
                                            ColumnWork work, float *dbias)
{
    ColumnSums sums;
    auto add = [=](size_t row, int o, ThreadSums &to) {
        add_to(to.first, dout[row * (size_t)outputs + (size_t)o]);
    };
    if (sum_columns(rows, outputs, work, add, sums))
        dbias[column_of_thread()] = (float)sums.first;
}

static void bias_gradient(Backend *backend, const char *name, size_t rows, int outputs,
                          const float *dout, float *dbias)
{
    ColumnWork work;
    if (column_work(backend, rows, outputs, 0, &work))
        RUN(backend, name, bias_gradient_kernel, column_grid(rows, outputs), COLUMN_THREADS,
            COLUMN_SHARED, rows, outputs, dout, work, dbias);
}

static void convolution_backward(Backend *backend, const ConvolutionShape *s, const float *in,
                                 const float *weight, const float *dout, float *din, float *dweight,
                                 float *dbias)
{
    const char *name = "convolution backward";
    size_t inputs = (size_t)s->in, outputs = (size_t)s->out;
    if (din)
        cuda_product(backend, name, false, false, s->rows, inputs, outputs, dout, weight, 0.0f,
                     din);
    cuda_product(backend, name, true, false, outputs, inputs, s->rows, dout, in, 0.0f, dweight);
    if (dbias)
        bias_gradient(backend, name, s->rows, s->out, dout, dbias);
}

void cuda_convolution_table(Operations *table)
{
    table->convolution_forward = convolution_forward;
    table->convolution_backward = convolution_backward;
}
