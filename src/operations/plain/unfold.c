#include "operations/plain/plain.h"

#include <string.h>

static void unfold_forward(Backend *backend, const UnfoldShape *s, const float *in, float *x,
                           float *scale)
{
    (void)backend;
    size_t features = unfold_features(s);
    for (int b = 0; b < s->batch; b++)
        for (int oy = 0; oy < s->out_height; oy++)
            for (int ox = 0; ox < s->out_width; ox++) {
                float *to = x;
                double sum = 0.0;
                for (int ky = 0; ky < s->kernel; ky++)
                    for (int kx = 0; kx < s->kernel; kx++)
                        for (int c = 0; c < s->channels; c++) {
                            int y = oy * s->stride + ky, column = ox * s->stride + kx;
                            size_t pixel =
                                ((size_t)b * (size_t)s->height + (size_t)y) * (size_t)s->width +
                                (size_t)column;
                            float value = in[pixel * (size_t)s->channels + (size_t)c];
                            *to =
                                value < 0.0f ? 0.0f : value; /* keeps a NaN: it shows in the loss */
                            sum += *to++;
                        }
                double factor = 1.0 / (sum + EPSILON_SUM);
                for (size_t k = 0; k < features; k++)
                    x[k] = (float)(x[k] * factor);
                *scale++ = (float)factor;
                x += features;
            }
}

static void unfold_backward(Backend *backend, const UnfoldShape *s, const float *in, const float *x,
                            const float *scale, const float *dx, float *din)
{
    (void)backend;
    size_t features = unfold_features(s);
    size_t elements = (size_t)s->batch * (size_t)s->height * (size_t)s->width * (size_t)s->channels;
    memset(din, 0, elements * sizeof *din);
    for (int b = 0; b < s->batch; b++)
        for (int oy = 0; oy < s->out_height; oy++)
            for (int ox = 0; ox < s->out_width; ox++) {
                double dot = 0.0;
                for (size_t k = 0; k < features; k++)
                    dot += (double)dx[k] * x[k];
                const float *from = dx;
                for (int ky = 0; ky < s->kernel; ky++)
                    for (int kx = 0; kx < s->kernel; kx++)
                        for (int c = 0; c < s->channels; c++) {
                            int y = oy * s->stride + ky, column = ox * s->stride + kx;
                            size_t pixel =
                                ((size_t)b * (size_t)s->height + (size_t)y) * (size_t)s->width +
                                (size_t)column;
                            din[pixel * (size_t)s->channels + (size_t)c] +=
                                (float)((*from++ - dot) * *scale);
                        }
                scale++;
                x += features;
                dx += features;
            }
    for (size_t i = 0; i < elements; i++)
        if (!(in[i] > 0.0f))
            din[i] = 0.0f;
}

void plain_unfold_table(Operations *table)
{
    table->unfold_forward = unfold_forward;
    table->unfold_backward = unfold_backward;
}
