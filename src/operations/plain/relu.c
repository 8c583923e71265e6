#include "operations/plain/plain.h"

static void relu_forward(Backend *backend, size_t elements, const float *in, float *out)
{
    (void)backend;
    for (size_t i = 0; i < elements; i++)
        out[i] = in[i] < 0.0f ? 0.0f : in[i]; /* keeps a NaN: it shows in the loss */
}

static void relu_backward(Backend *backend, size_t elements, const float *in, const float *dout,
                          float *din)
{
    (void)backend;
    for (size_t i = 0; i < elements; i++)
        din[i] = in[i] > 0.0f ? dout[i] : 0.0f;
}

void plain_relu_table(Operations *table)
{
    table->relu_forward = relu_forward;
    table->relu_backward = relu_backward;
}
