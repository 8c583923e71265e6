/* ReLU, unfold and L1 norm: a warp a row, or a block where a row is more than a warp's registers
 * hold. Back likewise where every pixel is in one window; elsewhere the rows' dot products, then a
 * thread for every element of the image, which gathers from the windows that hold it. */
#include "cuda.cuh"

enum { THREADS = 128, WARPS = THREADS / WARP };
enum { EACH = 8 }; /* features of a row that a thread holds in registers */

/* How far behind the first image's first element the window of a row begins. */
static __device__ size_t window_of(const UnfoldShape &s, size_t row)
{
    unsigned positions = (unsigned)(s.out_width * s.out_height);
    size_t image = row / positions;
    unsigned position = (unsigned)(row - image * positions);
    unsigned oy = position / (unsigned)s.out_width, ox = position % (unsigned)s.out_width;
    size_t y = image * (size_t)s.height + oy * (size_t)s.stride;
    return (y * (size_t)s.width + ox * (size_t)s.stride) * (size_t)s.channels;
}

/* A NaN stays one, and is seen in the loss; fmaxf would drop it. */
static __device__ float relu(float value)
{
    return value < 0.0f ? 0.0f : value;
}

/* ---- a row and its team, the TEAM threads of a warp or of a block ---- */

template <int TEAM> static __device__ __forceinline__ size_t row_of_team()
{
    return (size_t)blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM;
}

/* The sum over a team, in each of its threads; once a kernel. */
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

/* A team's thread takes every TEAM-th feature of a row, from its own on. */
template <int TEAM> static __device__ __forceinline__ int first_feature()
{
    return (int)threadIdx.x % TEAM;
}

/* Where these lie in the image, found without a division for each. */
struct Walk {
    int at, column;    /* from the window's begin; from the begin of the window's row */
    int step, columns; /* what a step adds to them */
    int run, gap;      /* floats of a window's row, and from its end to where the next begins */
};

template <int TEAM> static __device__ __forceinline__ Walk walk_of(const UnfoldShape &s)
{
    int run = s.kernel * s.channels, line = s.width * s.channels;
    Walk walk;
    walk.column = first_feature<TEAM>() % run;
    walk.at = first_feature<TEAM>() / run * line + walk.column;
    walk.columns = TEAM % run;
    walk.step = TEAM / run * line + walk.columns;
    walk.run = run;
    walk.gap = line - run;
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

/* A thread's next EACH elements of a window, 0 behind its end; `left` features are left from the
 * first of these on. */
template <int TEAM>
static __device__ __forceinline__ void read_window(const float *window, int left, Walk &walk,
                                                   float *values)
{
#pragma unroll
    for (int i = 0; i < EACH; i++, take_step(walk))
        values[i] = i * TEAM < left ? window[walk.at] : 0.0f;
}

/* ---- forward ---- */

/* Reads the window again only where it is more than the team's registers hold. */
template <int TEAM>
static __global__ void unfold_forward_kernel(UnfoldShape s, size_t rows, const float *in, float *x,
                                             float *scale)
{
    size_t row = row_of_team<TEAM>();
    if (row >= rows)
        return;
    const int features = s.kernel * s.kernel * s.channels, held = TEAM * EACH;
    const int first = first_feature<TEAM>();
    in += window_of(s, row);
    x += row * (size_t)features;
    float u[EACH] = {}, sum = 0.0f;
    Walk walk = walk_of<TEAM>(s);
    for (int k = first; k < features; k += held) {
        read_window<TEAM>(in, features - k, walk, u);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            sum += relu(u[i]);
    }
    float factor = 1.0f / (team_sum<TEAM>(sum) + (float)EPSILON_SUM);
    walk = walk_of<TEAM>(s);
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

static void unfold_forward(Backend *backend, const UnfoldShape *s, const float *in, float *x,
                           float *scale)
{
    size_t rows = unfold_rows(s);
    if (unfold_features(s) <= (size_t)WARP * EACH)
        RUN(backend, "unfold forward", unfold_forward_kernel<WARP>, blocks_for(rows, WARPS),
            THREADS, 0, *s, rows, in, x, scale);
    else
        RUN(backend, "unfold forward", unfold_forward_kernel<THREADS>, blocks_for(rows, 1), THREADS,
            0, *s, rows, in, x, scale);
}

/* ---- back, where every pixel is in one window and a block holds a row ---- */

/* Is every pixel in exactly one window, in one direction? */
static bool is_tiled(int size, int windows, const UnfoldShape *s)
{
    return (windows == 1 || s->stride == s->kernel) && windows * s->kernel == size;
}

template <int TEAM>
static __global__ void tile_backward_kernel(UnfoldShape s, size_t rows, const float *in,
                                            const float *x, const float *scale, const float *dx,
                                            float *din)
{
    size_t row = row_of_team<TEAM>();
    if (row >= rows)
        return;
    const int features = s.kernel * s.kernel * s.channels;
    const int left = features - first_feature<TEAM>();
    const size_t window = window_of(s, row);
    const size_t begin = row * (size_t)features + (size_t)first_feature<TEAM>();
    const float factor = scale[row];
    float u[EACH], v[EACH], d[EACH], sum = 0.0f;
    Walk walk = walk_of<TEAM>(s);
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
    walk = walk_of<TEAM>(s);
#pragma unroll
    for (int i = 0; i < EACH; i++, take_step(walk))
        if (i * TEAM < left)
            din[window + walk.at] = u[i] > 0.0f ? (d[i] - dot) * factor : 0.0f;
}

/* False where the shape does not fit, having queued nothing. */
static bool backward_of_tiles(Backend *backend, const UnfoldShape *s, const float *in,
                              const float *x, const float *scale, const float *dx, float *din)
{
    size_t rows = unfold_rows(s), features = unfold_features(s);
    if (!is_tiled(s->height, s->out_height, s) || !is_tiled(s->width, s->out_width, s) ||
        features > (size_t)THREADS * EACH)
        return false;
    if (features <= (size_t)WARP * EACH)
        RUN(backend, "unfold backward", tile_backward_kernel<WARP>, blocks_for(rows, WARPS),
            THREADS, 0, *s, rows, in, x, scale, dx, din);
    else
        RUN(backend, "unfold backward", tile_backward_kernel<THREADS>, blocks_for(rows, 1), THREADS,
            0, *s, rows, in, x, scale, dx, din);
    return true;
}

/* ---- back, elsewhere ---- */

/* What all elements of a row share; aligned so that it is read at once. */
struct alignas(8) RowTerms {
    float dot, scale;
};

static __global__ void dot_kernel(size_t rows, int features, const float *x, const float *scale,
                                  const float *dx, RowTerms *terms)
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
        terms[row] = {sum, scale[row]};
}

/* The windows that hold a pixel, in one direction; none where `last` comes before `first`. */
struct Span {
    int first, last;
};

static __device__ Span windows_with(int pixel, int windows, const UnfoldShape &s)
{
    int first = pixel < s.kernel ? 0 : (pixel - s.kernel) / s.stride + 1;
    int last = pixel / s.stride;
    return {first, last < windows ? last : windows - 1};
}

static __global__ void fold_kernel(UnfoldShape s, size_t elements, const float *in,
                                   const RowTerms *terms, const float *dx, float *din)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    int line = s.width * s.channels;
    size_t image = i / (unsigned)(s.height * line);
    int rest = (int)(i - image * (unsigned)(s.height * line));
    int y = rest / line, x = rest % line / s.channels, c = rest % s.channels;
    Span down = windows_with(y, s.out_height, s), across = windows_with(x, s.out_width, s);
    size_t features = (size_t)(s.kernel * s.kernel * s.channels);
    float sum = 0.0f;
    /* Windows in the order in which the plain version adds them. */
    for (int oy = down.first; oy <= down.last; oy++)
        for (int ox = across.first; ox <= across.last; ox++) {
            size_t row =
                (image * (size_t)s.out_height + (size_t)oy) * (size_t)s.out_width + (size_t)ox;
            int ky = y - oy * s.stride, kx = x - ox * s.stride;
            size_t feature = (size_t)((ky * s.kernel + kx) * s.channels + c);
            RowTerms of_row = terms[row];
            sum += (dx[row * features + feature] - of_row.dot) * of_row.scale;
        }
    din[i] = in[i] > 0.0f ? sum : 0.0f;
}

static void unfold_backward(Backend *backend, const UnfoldShape *s, const float *in, const float *x,
                            const float *scale, const float *dx, float *din)
{
    if (backward_of_tiles(backend, s, in, x, scale, dx, din))
        return;
    size_t rows = unfold_rows(s);
    size_t elements = (size_t)s->batch * (size_t)s->height * (size_t)s->width * (size_t)s->channels;
    RowTerms *terms = (RowTerms *)cuda_scratch(backend, rows * sizeof(RowTerms));
    if (!terms)
        return;
    RUN(backend, "unfold backward", dot_kernel, blocks_for(rows, WARPS), THREADS, 0, rows,
        (int)unfold_features(s), x, scale, dx, terms);
    RUN(backend, "unfold backward", fold_kernel, blocks_for(elements, THREADS), THREADS, 0, *s,
        elements, in, terms, dx, din);
}

void cuda_unfold_table(Operations *table)
{
    table->unfold_forward = unfold_forward;
    table->unfold_backward = unfold_backward;
}
