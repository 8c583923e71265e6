/* The published |W|, in one pass per row; the other positive functions are rare and left to the
 * plain version. */
#include "cpu.h"

#include "../plain/plain.h"

#include <math.h>

static const double TINY = 1e-19;

static void weight_forward(Backend *backend, const WeightShape *s, const float *W,
                           const float *beta, float *w, float *scale)
{
    if (s->function != POSITIVE_ABS) {
        Operations plain;
        plain_weight_table(&plain);
        plain.weight_forward(backend, s, W, beta, w, scale);
        return;
    }
    size_t channels = (size_t)s->channels, window = (size_t)s->window;
    size_t features = channels * window;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t n = 0; n < (size_t)s->outputs; n++) {
        const float *from = W + n * features;
        float *to = w + n * features;
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < features; i++)
            sum += fabsf(from[i]);
        float factor = (float)(1.0 / (sum + TINY));
        for (size_t p = 0; p < window; p++)
            for (size_t c = 0; c < channels; c++)
                to[p * channels + c] = fabsf(from[c * window + p]) * factor;
        scale[n] = factor;
    }
}

static void weight_backward(Backend *backend, const WeightShape *s, const float *W,
                            const float *beta, const float *w, const float *scale, const float *dw,
                            float *dW, float *dbeta)
{
    if (s->function != POSITIVE_ABS) {
        Operations plain;
        plain_weight_table(&plain);
        plain.weight_backward(backend, s, W, beta, w, scale, dw, dW, dbeta);
        return;
    }
    size_t channels = (size_t)s->channels, window = (size_t)s->window;
    size_t features = channels * window;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t n = 0; n < (size_t)s->outputs; n++) {
        const float *value = W + n * features, *w_row = w + n * features,
                    *dw_row = dw + n * features;
        float *to = dW + n * features;
        double dot = 0.0;
#pragma omp simd reduction(+ : dot)
        for (size_t k = 0; k < features; k++)
            dot += (double)dw_row[k] * w_row[k];
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < window; p++) {
                size_t i = c * window + p;
                float d = (float)(dw_row[p * channels + c] - dot) * scale[n];
                to[i] = value[i] > 0.0f ? d : value[i] < 0.0f ? -d : 0.0f;
            }
    }
}

void CPU_NAME(cpu_weight_table)(Operations *table)
{
    table->weight_forward = weight_forward;
    table->weight_backward = weight_backward;
}
