/* 1x1 convolutions: cuBLAS products; a bias before, its gradient as sums over rows. */
#include "cuda.cuh"

enum { THREADS = 256, ROWS = THREADS / WARP };

static __global__ void fill_bias_kernel(size_t elements, int outputs, const float *bias,
                                        float *out)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < elements)
        out[i] = bias[i % (size_t)outputs];
}

void cuda_convolution_forward(Backend *backend, const ConvolutionShape *s, const float *in,
                              const float *weight, const float *bias, float *out)
{
    size_t elements = s->rows * (size_t)s->out;
    if (bias)
        RUN(backend, "convolution forward", fill_bias_kernel, blocks_for(elements, THREADS),
            THREADS, 0, elements, s->out, bias, out);
    cuda_product(backend, "convolution forward", false, true, s->rows, (size_t)s->out,
                 (size_t)s->in, in, weight, bias ? 1.0f : 0.0f, out);
}

/* parts (chunks, 2, outputs): sums of dout; the second value is unused and 0. */
static __global__ void bias_kernel(size_t rows, int outputs, const float *dout, double *parts)
{
    DYNAMIC_SHARED(double, shared);
    int lane = (int)threadIdx.x % WARP, o = (int)blockIdx.y * WARP + lane;
    size_t row = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + 1) / gridDim.x;
    double sum = 0.0;
    for (row += threadIdx.x / WARP; o < outputs && row < end; row += ROWS)
        sum += dout[row * (size_t)outputs + (size_t)o];
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x >= WARP || o >= outputs)
        return;
    for (int r = 1; r < ROWS; r++)
        sum += shared[r * WARP + lane];
    parts += (size_t)blockIdx.x * 2 * (size_t)outputs;
    parts[o] = sum;
    parts[outputs + o] = 0.0;
}

static __global__ void store_bias_kernel(int outputs, const double *sums, float *dbias)
{
    int o = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (o < outputs)
        dbias[o] = (float)sums[o];
}

static void bias_gradient(Backend *backend, const char *name, size_t rows, int outputs,
                          const float *dout, float *dbias)
{
    unsigned chunks = column_chunks(rows);
    double *sums = (double *)cuda_scratch(
        backend, (chunks + 1) * 2 * (size_t)outputs * sizeof(double));
    if (!sums)
        return;
    double *parts = sums + 2 * outputs;
    RUN(backend, name, bias_kernel, dim3(chunks, blocks_for((size_t)outputs, WARP)), THREADS,
        THREADS * sizeof(double), rows, outputs, dout, parts);
    cuda_add_chunks(backend, name, parts, chunks, outputs, sums);
    RUN(backend, name, store_bias_kernel, blocks_for((size_t)outputs, WARP), WARP, 0, outputs, sums,
        dbias);
}

void cuda_convolution_backward(Backend *backend, const ConvolutionShape *s, const float *in,
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
