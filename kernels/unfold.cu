/* ReLU, unfold and L1 norm: a warp a row. Back: the rows' dot products, then a thread for every
 * element of the image, which gathers from the windows that hold it. */
#include "cuda.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP };

/* Where the window of a row begins in the image. */
static __device__ const float *window_of(const UnfoldShape &s, size_t row, const float *in)
{
    size_t positions = (size_t)s.out_width * (size_t)s.out_height;
    size_t image = row / positions, oy = row % positions / (size_t)s.out_width;
    size_t ox = row % (size_t)s.out_width;
    size_t y = image * (size_t)s.height + oy * (size_t)s.stride;
    return in + (y * (size_t)s.width + ox * (size_t)s.stride) * (size_t)s.channels;
}

/* A NaN stays one, and is seen in the loss; fmaxf would drop it. */
static __device__ float relu(float value)
{
    return value < 0.0f ? 0.0f : value;
}

static __global__ void unfold_forward_kernel(UnfoldShape s, size_t rows, const float *in, float *x,
                                             float *scale)
{
    size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= rows)
        return;
    int lane = (int)threadIdx.x % WARP, run = s.kernel * s.channels, features = s.kernel * run;
    int line = s.width * s.channels;
    const float *window = window_of(s, row, in);
    x += row * (size_t)features;
    float sum = 0.0f;
    for (int k = lane; k < features; k += WARP)
        sum += relu(window[k / run * line + k % run]);
    float factor = 1.0f / (warp_sum(sum) + 1e-19f);
    for (int k = lane; k < features; k += WARP)
        x[k] = relu(window[k / run * line + k % run]) * factor;
    if (lane == 0)
        scale[row] = factor;
}

void cuda_unfold_forward(Backend *backend, const UnfoldShape *s, const float *in, float *x,
                         float *scale)
{
    size_t rows = unfold_rows(s);
    RUN(backend, "unfold forward", unfold_forward_kernel, blocks_for(rows, WARPS), THREADS, 0, *s,
        rows, in, x, scale);
}

static __global__ void dot_kernel(size_t rows, int features, const float *x, const float *dx,
                                  float *dot)
{
    size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= rows)
        return;
    int lane = (int)threadIdx.x % WARP;
    float sum = 0.0f;
    for (int k = lane; k < features; k += WARP)
        sum += x[row * (size_t)features + (size_t)k] * dx[row * (size_t)features + (size_t)k];
    sum = warp_sum(sum);
    if (lane == 0)
        dot[row] = sum;
}

static __global__ void fold_kernel(UnfoldShape s, size_t elements, const float *in,
                                   const float *scale, const float *dot, const float *dx,
                                   float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    size_t pixel = i / (size_t)s.channels;
    int c = (int)(i % (size_t)s.channels), x = (int)(pixel % (size_t)s.width);
    int y = (int)(pixel / (size_t)s.width % (size_t)s.height);
    size_t image = pixel / (size_t)s.width / (size_t)s.height;
    size_t features = (size_t)(s.kernel * s.kernel * s.channels);
    float sum = 0.0f;
    /* Windows in the order in which the plain version adds them. */
    for (int ky = s.kernel - 1; ky >= 0; ky--) {
        int oy = (y - ky) / s.stride;
        if (y < ky || (y - ky) % s.stride || oy >= s.out_height)
            continue;
        for (int kx = s.kernel - 1; kx >= 0; kx--) {
            int ox = (x - kx) / s.stride;
            if (x < kx || (x - kx) % s.stride || ox >= s.out_width)
                continue;
            size_t row = (image * (size_t)s.out_height + (size_t)oy) * (size_t)s.out_width +
                         (size_t)ox;
            size_t feature = (size_t)((ky * s.kernel + kx) * s.channels + c);
            sum += (dx[row * features + feature] - dot[row]) * scale[row];
        }
    }
    din[i] = in[i] > 0.0f ? sum : 0.0f;
}

void cuda_unfold_backward(Backend *backend, const UnfoldShape *s, const float *in, const float *x,
                          const float *scale, const float *dx, float *din)
{
    size_t rows = unfold_rows(s);
    size_t elements = (size_t)s->batch * (size_t)s->height * (size_t)s->width *
                      (size_t)s->channels;
    float *dot = (float *)cuda_scratch(backend, rows * sizeof(float));
    if (!dot)
        return;
    RUN(backend, "unfold backward", dot_kernel, blocks_for(rows, WARPS), THREADS, 0, rows,
        (int)unfold_features(s), x, dx, dot);
    RUN(backend, "unfold backward", fold_kernel, blocks_for(elements, THREADS), THREADS, 0, *s,
        elements, in, scale, dot, dx, din);
}
