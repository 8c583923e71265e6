#include "operations/plain/plain.h"

#include <math.h>

/* Returns r = h w at feature k for one row, without EPSILON_R. */
static double reconstruct(const NnmfParams *s, const float *h, const float *w, size_t k)
{
    double r = 0.0;
    for (size_t n = 0; n < (size_t)s->outputs; n++)
        r += (double)h[n] * w[n * (size_t)s->features + k];
    return r;
}

/* h is float between iterations, because the network's arithmetic is float32. */
static void iterate(const NnmfParams *s, const float *x, const float *w, float *h)
{
    double update[s->outputs], sum = 0.0;
    for (int n = 0; n < s->outputs; n++)
        update[n] = 0.0;
    for (int k = 0; k < s->features; k++) {
        double t = x[k] / (reconstruct(s, h, w, (size_t)k) + EPSILON_R);
        for (size_t n = 0; n < (size_t)s->outputs; n++)
            update[n] += t * w[n * (size_t)s->features + (size_t)k];
    }
    for (int n = 0; n < s->outputs; n++) {
        double factor = s->epsilon != 0.0f ? 1.0 + s->epsilon * update[n] : update[n];
        update[n] = h[n] * factor;
        sum += update[n];
    }
    for (int n = 0; n < s->outputs; n++)
        h[n] = (float)(update[n] / (sum + EPSILON_SUM));
}

static void nnmf_forward(Backend *backend, const NnmfParams *s, const float *x, const float *w,
                         float *h)
{
    (void)backend;
    for (size_t row = 0; row < s->rows; row++) {
        const float *x_row = x + row * (size_t)s->features;
        float *h_row = h + row * (size_t)s->outputs;
        for (int n = 0; n < s->outputs; n++)
            h_row[n] = (float)(1.0 / s->outputs);
        for (int i = 0; i < s->iterations; i++)
            iterate(s, x_row, w, h_row);
    }
}

static void nnmf_backward(Backend *backend, const NnmfParams *s, const float *x, const float *w,
                          const float *h, const float *dh, float *dx, float *dw)
{
    (void)backend;
    size_t features = (size_t)s->features, outputs = (size_t)s->outputs;
    for (size_t k = 0; k < features; k++) {
        double sum[s->outputs];
        for (size_t n = 0; n < outputs; n++)
            sum[n] = 0.0;
        for (size_t row = 0; row < s->rows; row++) {
            const float *h_row = h + row * outputs, *dh_row = dh + row * outputs;
            double value = x[row * features + k], back = 0.0;
            for (size_t n = 0; n < outputs; n++)
                back += (double)h_row[n] * dh_row[n] * w[n * features + k];
            double r = reconstruct(s, h_row, w, k), q = 1.0 / (r + EPSILON_R);
            double d = back * q;
            if (dx)
                dx[row * features + k] = (float)d;
            for (size_t n = 0; n < outputs; n++) {
                switch (s->local_learning) {
                case LOCAL_NONE:
                    sum[n] += (double)h_row[n] * dh_row[n] * value * q - h_row[n] * value * q * d;
                    break;
                case LOCAL_KL: sum[n] -= h_row[n] * value * q; break;
                case LOCAL_MSE: sum[n] -= h_row[n] * 2.0 * (value - r); break;
                }
            }
        }
        for (size_t n = 0; n < outputs; n++)
            dw[n * features + k] = (float)sum[n];
    }
}

void plain_nnmf_table(Operations *table)
{
    table->nnmf_forward = nnmf_forward;
    table->nnmf_backward = nnmf_backward;
}
