#include "network/reconstruct.h"

#include <math.h>
#include <string.h>

/* Adds one window, r times its norm. Features are (window row, window column, channel). */
static void add_window(const UnfoldShape *s, int outputs, const float *h, const float *w,
                       double norm, float *corner)
{
    size_t features = unfold_features(s), line = (size_t)(s->kernel * s->channels);
    for (size_t f = 0; f < features; f++) {
        double r = 0;
        for (int o = 0; o < outputs; o++)
            r += (double)h[o] * (double)w[(size_t)o * features + f];
        size_t pixel = f / line * (size_t)s->width * (size_t)s->channels + f % line;
        corner[pixel] += (float)(r * norm);
    }
}

/* Returns the number of windows of one axis that contain position `at`. */
static int windows_at(int at, int kernel, int stride, int windows)
{
    int count = 0;
    for (int i = 0; i < windows; i++)
        count += at >= i * stride && at < i * stride + kernel;
    return count;
}

void reconstruct_image(const UnfoldShape *s, int outputs, const float *h, const float *w,
                       const float *scale, float *image)
{
    size_t width = (size_t)s->width, channels = (size_t)s->channels;
    memset(image, 0, (size_t)s->height * width * channels * sizeof *image);
    for (int y = 0; y < s->out_height; y++)
        for (int x = 0; x < s->out_width; x++) {
            size_t row = (size_t)y * (size_t)s->out_width + (size_t)x;
            size_t corner = ((size_t)(y * s->stride) * width + (size_t)(x * s->stride)) * channels;
            add_window(s, outputs, h + row * (size_t)outputs, w, 1.0 / (double)scale[row],
                       image + corner);
        }
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            int count = windows_at(y, s->kernel, s->stride, s->out_height) *
                        windows_at(x, s->kernel, s->stride, s->out_width);
            for (size_t c = 0; c < channels && count > 1; c++)
                image[((size_t)y * width + (size_t)x) * channels + c] /= (float)count;
        }
}

double root_mean_square(const float *one, const float *other, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = (double)one[i] - (double)other[i];
        sum += difference * difference;
    }
    return count ? sqrt(sum / (double)count) : 0.0;
}
