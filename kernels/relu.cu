/* ReLU, one thread per element. The comparisons keep a NaN, so that it shows in the loss. */
#include "cuda.cuh"

enum { THREADS = 256 };

static __global__ void relu_forward_kernel(size_t elements, const float *in, float *out)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < elements)
        out[i] = in[i] < 0.0f ? 0.0f : in[i];
}

static void relu_forward(Backend *backend, size_t elements, const float *in, float *out)
{
    RUN(backend, "ReLU forward", relu_forward_kernel, blocks_for(elements, THREADS), THREADS, 0,
        elements, in, out);
}

static __global__ void relu_backward_kernel(size_t elements, const float *in, const float *dout,
                                            float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < elements)
        din[i] = in[i] > 0.0f ? dout[i] : 0.0f;
}

static void relu_backward(Backend *backend, size_t elements, const float *in, const float *dout,
                          float *din)
{
    RUN(backend, "ReLU backward", relu_backward_kernel, blocks_for(elements, THREADS), THREADS, 0,
        elements, in, dout, din);
}

void cuda_relu_table(Operations *table)
{
    table->relu_forward = relu_forward;
    table->relu_backward = relu_backward;
}
