#include "operations/plain/plain.h"

static void convolution_forward(Backend *backend, const ConvolutionShape *s, const float *in,
                                const float *weight, const float *bias, float *out)
{
    (void)backend;
    size_t width = (size_t)s->in;
    for (size_t row = 0; row < s->rows; row++)
        for (size_t o = 0; o < (size_t)s->out; o++) {
            double sum = bias ? bias[o] : 0.0;
            for (size_t i = 0; i < width; i++)
                sum += (double)in[row * width + i] * weight[o * width + i];
            out[row * (size_t)s->out + o] = (float)sum;
        }
}

static void convolution_backward(Backend *backend, const ConvolutionShape *s, const float *in,
                                 const float *weight, const float *dout, float *din, float *dweight,
                                 float *dbias)
{
    (void)backend;
    size_t width = (size_t)s->in, outputs = (size_t)s->out;
    for (size_t row = 0; din && row < s->rows; row++)
        for (size_t i = 0; i < width; i++) {
            double sum = 0.0;
            for (size_t o = 0; o < outputs; o++)
                sum += (double)dout[row * outputs + o] * weight[o * width + i];
            din[row * width + i] = (float)sum;
        }
    for (size_t o = 0; o < outputs; o++) {
        double bias_sum = 0.0;
        for (size_t row = 0; row < s->rows; row++)
            bias_sum += dout[row * outputs + o];
        if (dbias)
            dbias[o] = (float)bias_sum;
        for (size_t i = 0; i < width; i++) {
            double sum = 0.0;
            for (size_t row = 0; row < s->rows; row++)
                sum += (double)dout[row * outputs + o] * in[row * width + i];
            dweight[o * width + i] = (float)sum;
        }
    }
}

void plain_convolution_table(Operations *table)
{
    table->convolution_forward = convolution_forward;
    table->convolution_backward = convolution_backward;
}
