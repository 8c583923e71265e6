/* ReLU, unfold and L1 norm: one warp per row, or one block if a row does not fit into the registers
 * of a warp. The backward operation does the same if every pixel is in exactly one window;
 * otherwise it first computes the dot products of the rows, then one thread per element of the
 * image gathers from the windows that contain it. */
#include "cuda.cuh"
#include "division.cuh"

enum { THREADS = 128, WARPS = THREADS / WARP };
enum { EACH = 8 }; /* features of a row that a thread holds in registers */

/* The shape, and the divisors of the kernels. */
struct Windows {
    UnfoldShape shape;
    unsigned rows; /* below 2^31, like the elements of the images */
    int features;
    Divisor positions, out_width; /* windows of an image, and of a row of windows */
    Divisor run;                  /* floats in a row of a window */
    Divisor pixels, line;         /* floats in an image, and in a line of it */
    Divisor channels, stride;
};

/* Returns the offset of the window that belongs to a row, from the first element of all images. */
static __device__ __forceinline__ size_t window_of(const Windows &w, unsigned row)
{
    const UnfoldShape &s = w.shape;
    QuotientAndRemainder image = divide(row, w.positions);
    QuotientAndRemainder at = divide(image.remainder, w.out_width);
    size_t y = (size_t)image.quotient * (size_t)s.height + at.quotient * (unsigned)s.stride;
    return (y * (size_t)s.width + at.remainder * (unsigned)s.stride) * (size_t)s.channels;
}

/* Keeps a NaN, so that it shows in the loss; fmaxf would drop it. */
static __device__ float relu(float value)
{
    return value < 0.0f ? 0.0f : value;
}

/* ---- a row and its team: the TEAM threads of a warp or of a block ---- */

template <int TEAM> static __device__ __forceinline__ unsigned row_of_team()
{
    return blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM;
}

/* Returns the sum over a team to each of its threads. May be called once in a kernel. */
template <int TEAM> static __device__ __forceinline__ float team_sum(float value)
{
    value = warp_sum(value);
    if constexpr (TEAM > WARP) {
        SHARED(float[WARPS], parts);
        if (threadIdx.x % WARP == 0)
            parts[threadIdx.x / WARP] = value;
        __syncthreads();
        value = parts[0];
        for (int warp = 1; warp < WARPS; warp++)
            value += parts[warp];
    }
    return value;
}

/* A thread processes every TEAM-th feature of a row, from this one. */
template <int TEAM> static __device__ __forceinline__ int first_feature()
{
    return (int)threadIdx.x % TEAM;
}

/* Iterates over the offsets of these features in the image, without a division for each. */
struct Walk {
    int at, column;    /* offset in the window; offset in the row of the window */
    int step, columns; /* their increments */
    int run, gap;      /* floats in a row of the window; floats between its end and the next row */
};

template <int TEAM> static __device__ __forceinline__ Walk walk_of(const Windows &w)
{
    int line = w.shape.width * w.shape.channels;
    QuotientAndRemainder first = divide((unsigned)first_feature<TEAM>(), w.run);
    QuotientAndRemainder step = divide(TEAM, w.run);
    Walk walk;
    walk.column = (int)first.remainder;
    walk.at = (int)first.quotient * line + walk.column;
    walk.columns = (int)step.remainder;
    walk.step = (int)step.quotient * line + walk.columns;
    walk.run = (int)w.run.by;
    walk.gap = line - walk.run;
    return walk;
}

static __device__ __forceinline__ void take_step(Walk &walk)
{
    walk.at += walk.step;
    walk.column += walk.columns;
    if (walk.column >= walk.run) {
        walk.column -= walk.run;
        walk.at += walk.gap;
    }
}

/* Reads a thread's next EACH elements of a window, 0 past its end; `left`: features from the first
 * of these to the end. */
template <int TEAM>
static __device__ __forceinline__ void read_window(const float *window, int left, Walk &walk,
                                                   float *values)
{
#pragma unroll
    for (int i = 0; i < EACH; i++, take_step(walk))
        values[i] = i * TEAM < left ? window[walk.at] : 0.0f;
}

/* ---- forward ---- */

/* Reads the window a second time only if it does not fit into the team's registers. */
template <int TEAM>
static __global__ void unfold_forward_kernel(Windows w, const float *in, float *x, float *scale)
{
    unsigned row = row_of_team<TEAM>();
    if (row >= w.rows)
        return;
    const int features = w.features, held = TEAM * EACH;
    const int first = first_feature<TEAM>();
    in += window_of(w, row);
    x += (size_t)row * (size_t)features;
    float u[EACH] = {}, sum = 0.0f;
    Walk walk = walk_of<TEAM>(w);
    for (int k = first; k < features; k += held) {
        read_window<TEAM>(in, features - k, walk, u);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            sum += relu(u[i]);
    }
    float factor = 1.0f / (team_sum<TEAM>(sum) + (float)EPSILON_SUM);
    walk = walk_of<TEAM>(w);
    for (int k = first; k < features; k += held) {
        if (features > held)
            read_window<TEAM>(in, features - k, walk, u);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (k + i * TEAM < features)
                x[k + i * TEAM] = relu(u[i]) * factor;
    }
    if (first == 0)
        scale[row] = factor;
}

/* Returns false after keeping the failure. */
static bool windows_of(Backend *backend, const UnfoldShape *s, Windows *windows)
{
    size_t rows = unfold_rows(s), line = (size_t)s->width * (size_t)s->channels;
    size_t pixels = (size_t)s->height * line, limit = (size_t)1 << 31;
    if (rows >= limit || (size_t)s->batch * pixels >= limit) {
        if (backend->error.status == STATUS_OK)
            fail(&backend->error,
                 "batch too large: %d images of %zu values, %zu windows: fewer than %zu of each "
                 "were expected",
                 s->batch, pixels, rows, limit);
        return false;
    }
    *windows = {*s,
                (unsigned)rows,
                (int)unfold_features(s),
                divisor((unsigned)(s->out_width * s->out_height)),
                divisor((unsigned)s->out_width),
                divisor((unsigned)(s->kernel * s->channels)),
                divisor((unsigned)pixels),
                divisor((unsigned)line),
                divisor((unsigned)s->channels),
                divisor((unsigned)s->stride)};
    return true;
}

static void unfold_forward(Backend *backend, const UnfoldShape *s, const float *in, float *x,
                           float *scale)
{
    Windows w;
    if (!windows_of(backend, s, &w))
        return;
    if (w.features <= WARP * EACH)
        RUN(backend, "unfold forward", unfold_forward_kernel<WARP>, blocks_for(w.rows, WARPS),
            THREADS, 0, w, in, x, scale);
    else
        RUN(backend, "unfold forward", unfold_forward_kernel<THREADS>, w.rows, THREADS, 0, w, in, x,
            scale);
}

/* ---- backward, if every pixel is in exactly one window and a block holds a row ---- */

/* Returns whether every pixel is in exactly one window, in one direction. */
static bool is_tiled(int size, int windows, const UnfoldShape *s)
{
    return (windows == 1 || s->stride == s->kernel) && windows * s->kernel == size;
}

template <int TEAM>
static __global__ void tile_backward_kernel(Windows w, const float *in, const float *x,
                                            const float *scale, const float *dx, float *din)
{
    unsigned row = row_of_team<TEAM>();
    if (row >= w.rows)
        return;
    const int left = w.features - first_feature<TEAM>();
    const size_t window = window_of(w, row);
    const size_t begin = (size_t)row * (size_t)w.features + (size_t)first_feature<TEAM>();
    const float factor = scale[row];
    float u[EACH], v[EACH], d[EACH], sum = 0.0f;
    Walk walk = walk_of<TEAM>(w);
    read_window<TEAM>(in + window, left, walk, u);
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        v[i] = i * TEAM < left ? x[begin + i * TEAM] : 0.0f;
        d[i] = i * TEAM < left ? dx[begin + i * TEAM] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
        sum += v[i] * d[i];
    float dot = team_sum<TEAM>(sum);
    walk = walk_of<TEAM>(w);
#pragma unroll
    for (int i = 0; i < EACH; i++, take_step(walk))
        if (i * TEAM < left)
            din[window + walk.at] = u[i] > 0.0f ? (d[i] - dot) * factor : 0.0f;
}

/* Returns false, without queueing anything, if the shape does not fit. */
static bool backward_of_tiles(Backend *backend, const Windows &w, const float *in, const float *x,
                              const float *scale, const float *dx, float *din)
{
    const UnfoldShape *s = &w.shape;
    if (!is_tiled(s->height, s->out_height, s) || !is_tiled(s->width, s->out_width, s) ||
        w.features > THREADS * EACH)
        return false;
    if (w.features <= WARP * EACH)
        RUN(backend, "unfold backward", tile_backward_kernel<WARP>, blocks_for(w.rows, WARPS),
            THREADS, 0, w, in, x, scale, dx, din);
    else
        RUN(backend, "unfold backward", tile_backward_kernel<THREADS>, w.rows, THREADS, 0, w, in, x,
            scale, dx, din);
    return true;
}

/* ---- backward, other shapes ---- */

/* Shared by all elements of a row; aligned to be read by one load. */
struct alignas(8) RowTerms {
    float dot, scale;
};

static __global__ void dot_kernel(unsigned rows, int features, const float *x, const float *scale,
                                  const float *dx, RowTerms *terms)
{
    unsigned row = row_of_team<WARP>();
    if (row >= rows)
        return;
    x += (size_t)row * (size_t)features;
    dx += (size_t)row * (size_t)features;
    int lane = (int)threadIdx.x % WARP;
    float sum = 0.0f;
    for (int k = lane; k < features; k += WARP)
        sum += x[k] * dx[k];
    sum = warp_sum(sum);
    if (lane == 0)
        terms[row] = {sum, scale[row]};
}

/* The windows that contain a pixel, in one direction; none if last < first. */
struct Span {
    int first, last;
};

static __device__ __forceinline__ Span windows_with(int pixel, int windows, const Windows &w)
{
    int before = pixel - w.shape.kernel; /* the last pixel of the window that ends before it */
    int first = before < 0 ? 0 : (int)quotient_of((unsigned)before, w.stride) + 1;
    int last = (int)quotient_of((unsigned)pixel, w.stride);
    return {first, last < windows ? last : windows - 1};
}

static __global__ void fold_kernel(Windows w, unsigned elements, const float *in,
                                   const RowTerms *terms, const float *dx, float *din)
{
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    const UnfoldShape &s = w.shape;
    QuotientAndRemainder image = divide(i, w.pixels), of_line = divide(image.remainder, w.line);
    QuotientAndRemainder of_pixel = divide(of_line.remainder, w.channels);
    int y = (int)of_line.quotient, x = (int)of_pixel.quotient, c = (int)of_pixel.remainder;
    Span down = windows_with(y, s.out_height, w), across = windows_with(x, s.out_width, w);
    float sum = 0.0f;
    /* Adds the windows in the same order as the plain version. */
    for (int oy = down.first; oy <= down.last; oy++)
        for (int ox = across.first; ox <= across.last; ox++) {
            unsigned row = image.quotient * w.positions.by + (unsigned)(oy * s.out_width + ox);
            int ky = y - oy * s.stride, kx = x - ox * s.stride;
            int feature = (ky * s.kernel + kx) * s.channels + c;
            RowTerms of_row = terms[row];
            float d = dx[(size_t)row * (size_t)w.features + (size_t)feature];
            sum += (d - of_row.dot) * of_row.scale;
        }
    din[i] = in[i] > 0.0f ? sum : 0.0f;
}

static void unfold_backward(Backend *backend, const UnfoldShape *s, const float *in, const float *x,
                            const float *scale, const float *dx, float *din)
{
    Windows w;
    if (!windows_of(backend, s, &w) || backward_of_tiles(backend, w, in, x, scale, dx, din))
        return;
    unsigned elements = (unsigned)s->batch * w.pixels.by;
    RowTerms *terms = (RowTerms *)cuda_scratch(backend, w.rows * sizeof(RowTerms));
    if (!terms)
        return;
    RUN(backend, "unfold backward", dot_kernel, blocks_for(w.rows, WARPS), THREADS, 0, w.rows,
        w.features, x, scale, dx, terms);
    RUN(backend, "unfold backward", fold_kernel, blocks_for(elements, THREADS), THREADS, 0, w,
        elements, in, terms, dx, din);
}

void cuda_unfold_table(Operations *table)
{
    table->unfold_forward = unfold_forward;
    table->unfold_backward = unfold_backward;
}
