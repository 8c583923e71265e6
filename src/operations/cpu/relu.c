/* ReLU, element by element. The comparisons keep a NaN, so that it shows in the loss. */
#include "operations/cpu/cpu.h"

static void relu_forward(Backend *backend, size_t elements, const float *in, float *out)
{
#pragma omp parallel for simd schedule(static) num_threads(backend->threads)
    for (size_t i = 0; i < elements; i++)
        out[i] = in[i] < 0.0f ? 0.0f : in[i];
}

static void relu_backward(Backend *backend, size_t elements, const float *in, const float *dout,
                          float *din)
{
#pragma omp parallel for simd schedule(static) num_threads(backend->threads)
    for (size_t i = 0; i < elements; i++)
        din[i] = in[i] > 0.0f ? dout[i] : 0.0f;
}

void CPU_NAME(cpu_relu_table)(Operations *table)
{
    table->relu_forward = relu_forward;
    table->relu_backward = relu_backward;
}
