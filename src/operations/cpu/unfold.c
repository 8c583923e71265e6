/* Unfold: a row of a window is contiguous, in the image and in the features. */
#include "operations/cpu/cpu.h"

#include <string.h>

/* Sets values = max(values, 0) and returns their sum, in parts so that the rounding error does not
 * grow with the length of a row. */
static double rectify(size_t count, float *values)
{
    enum { PART = 128 };
    double sum = 0.0;
    for (size_t begin = 0; begin < count; begin += PART) {
        size_t end = begin + PART < count ? begin + PART : count;
        float part = 0.0f;
#pragma omp simd reduction(+ : part)
        for (size_t k = begin; k < end; k++) {
            /* Keeps a NaN, so that it shows in the loss. */
            values[k] = values[k] < 0.0f ? 0.0f : values[k];
            part += values[k];
        }
        sum += part;
    }
    return sum;
}

static void unfold_forward(Backend *backend, const UnfoldShape *s, const float *in, float *x,
                           float *scale)
{
    size_t features = unfold_features(s), rows = unfold_rows(s);
    size_t run = (size_t)s->kernel * (size_t)s->channels;
    size_t line = (size_t)s->width * (size_t)s->channels;
    size_t out_width = (size_t)s->out_width, out_height = (size_t)s->out_height;
    size_t stride = (size_t)s->stride;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t row = 0; row < rows; row++) {
        size_t image = row / (out_width * out_height);
        size_t oy = row / out_width % out_height, ox = row % out_width;
        const float *window = in + (image * (size_t)s->height + oy * stride) * line +
                              ox * stride * (size_t)s->channels;
        float *to = x + row * features;
        /* A run may be too short for vectors, so the loops below cover all features. */
        for (size_t ky = 0; ky < (size_t)s->kernel; ky++)
            memcpy(to + ky * run, window + ky * line, run * sizeof *to);
        float factor = (float)(1.0 / (rectify(features, to) + EPSILON_SUM));
        for (size_t k = 0; k < features; k++)
            to[k] *= factor;
        scale[row] = factor;
    }
}

static void unfold_backward(Backend *backend, const UnfoldShape *s, const float *in, const float *x,
                            const float *scale, const float *dx, float *din)
{
    size_t features = unfold_features(s), positions = (size_t)s->out_height * (size_t)s->out_width;
    size_t run = (size_t)s->kernel * (size_t)s->channels;
    size_t line = (size_t)s->width * (size_t)s->channels, image = (size_t)s->height * line;
    size_t out_width = (size_t)s->out_width, stride = (size_t)s->stride;
/* Windows overlap, so one thread adds all windows of an image, in order. */
#pragma omp parallel for schedule(dynamic) num_threads(backend->threads)
    for (size_t b = 0; b < (size_t)s->batch; b++) {
        float *to = din + b * image;
        const float *from = in + b * image;
        memset(to, 0, image * sizeof *to);
        for (size_t position = 0; position < positions; position++) {
            size_t row = b * positions + position;
            const float *dx_row = dx + row * features, *x_row = x + row * features;
            float dot = 0.0f, factor = scale[row];
#pragma omp simd reduction(+ : dot)
            for (size_t k = 0; k < features; k++)
                dot += dx_row[k] * x_row[k];
            float *window = to + position / out_width * stride * line +
                            position % out_width * stride * (size_t)s->channels;
            for (int ky = 0; ky < s->kernel; ky++, window += line, dx_row += run)
                for (size_t i = 0; i < run; i++)
                    window[i] += (dx_row[i] - dot) * factor;
        }
        for (size_t i = 0; i < image; i++)
            to[i] = from[i] > 0.0f ? to[i] : 0.0f;
    }
}

void CPU_NAME(cpu_unfold_table)(Operations *table)
{
    table->unfold_forward = unfold_forward;
    table->unfold_backward = unfold_backward;
}
