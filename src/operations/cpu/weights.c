/* The published positive function, |raw|, in one pass per row. The other functions are rare and use
 * the plain version. */
#include "operations/cpu/cpu.h"

#include "operations/plain/plain.h"

#include <math.h>

static void forward(const Backend *backend, const LayerWeights *l)
{
    const WeightShape *s = &l->shape;
    const float *raw = l->raw;
    float *w = l->w, *scale = l->scale;
    size_t channels = (size_t)s->channels, window = (size_t)s->window;
    size_t features = channels * window;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t n = 0; n < (size_t)s->outputs; n++) {
        const float *from = raw + n * features;
        float *to = w + n * features;
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < features; i++)
            sum += fabsf(from[i]);
        float factor = (float)(1.0 / (sum + EPSILON_SUM));
        for (size_t p = 0; p < window; p++)
            for (size_t c = 0; c < channels; c++)
                to[p * channels + c] = fabsf(from[c * window + p]) * factor;
        scale[n] = factor;
    }
}

static void weights_forward(Backend *backend, const LayerWeights *layers, int count)
{
    Operations plain;
    plain_weights_table(&plain);
    for (int i = 0; i < count; i++)
        if (layers[i].shape.function == POSITIVE_ABS)
            forward(backend, &layers[i]);
        else
            plain.weights_forward(backend, &layers[i], 1);
}

static void backward(const Backend *backend, const LayerWeights *l)
{
    const WeightShape *s = &l->shape;
    const float *raw = l->raw, *w = l->w, *scale = l->scale, *dw = l->dw;
    float *d_raw = l->d_raw;
    size_t channels = (size_t)s->channels, window = (size_t)s->window;
    size_t features = channels * window;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t n = 0; n < (size_t)s->outputs; n++) {
        const float *value = raw + n * features, *w_row = w + n * features,
                    *dw_row = dw + n * features;
        float *to = d_raw + n * features;
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

static void weights_backward(Backend *backend, const LayerWeights *layers, int count)
{
    Operations plain;
    plain_weights_table(&plain);
    for (int i = 0; i < count; i++)
        if (layers[i].shape.function == POSITIVE_ABS)
            backward(backend, &layers[i]);
        else
            plain.weights_backward(backend, &layers[i], 1);
}

void CPU_NAME(cpu_weights_table)(Operations *table)
{
    table->weights_forward = weights_forward;
    table->weights_backward = weights_backward;
}
