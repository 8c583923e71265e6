/* The weights of an NNMF layer: positive function and row normalisation, a block a row. */
#include "cuda.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP };

static const double EXP_LIMIT = 80.0; /* exp(80) is still a float32 */

/* The sum over the block, in every thread; `sums` holds one value a warp. */
static __device__ double block_sum(double value, double *sums)
{
    value = warp_sum(value);
    __syncthreads(); /* the last call's sums may still be read */
    if (threadIdx.x % WARP == 0)
        sums[threadIdx.x / WARP] = value;
    __syncthreads();
    double all = 0.0;
    for (int i = 0; i < WARPS; i++)
        all += sums[i];
    return all;
}

/* The largest magnitude of W and the first element that has it. */
struct Largest {
    double magnitude;
    unsigned long long where;
};

static __global__ void largest_kernel(const float *W, size_t count, Largest *largest)
{
    DYNAMIC_SHARED(Largest, found);
    Largest mine = {0.0, 0};
    for (size_t i = threadIdx.x; i < count; i += THREADS)
        if (fabs((double)W[i]) > mine.magnitude) {
            mine.magnitude = fabs((double)W[i]);
            mine.where = i;
        }
    found[threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.x)
        return;
    for (int t = 1; t < THREADS; t++)
        if (found[t].magnitude > mine.magnitude ||
            (found[t].magnitude == mine.magnitude && found[t].where < mine.where))
            mine = found[t];
    *largest = mine;
}

/* What POSITIVE_EXP scales W by; `largest` is NULL for the other functions. */
static __device__ double shrink_of(const Largest *largest)
{
    return largest && largest->magnitude > EXP_LIMIT ? EXP_LIMIT / largest->magnitude : 1.0;
}

static __device__ double positive(PositiveFunction function, double W, double beta, double shrink)
{
    switch (function) {
    case POSITIVE_ABS: return fabs(W);
    case POSITIVE_EXP: return exp((tanh(beta) + 1.0) * 0.5 * (shrink * W));
    case POSITIVE_TANH: return (tanh(beta * W) + 1.0) * 0.5;
    case POSITIVE_IDENTITY: break;
    }
    return W;
}

static __global__ void weight_forward_kernel(WeightShape s, const Largest *largest, const float *W,
                                             const float *beta, float *w, float *scale)
{
    DYNAMIC_SHARED(double, sums);
    int features = s.channels * s.window;
    double shrink = shrink_of(largest), b = beta ? *beta : 0.0, sum = 0.0;
    W += (size_t)blockIdx.x * (size_t)features;
    w += (size_t)blockIdx.x * (size_t)features;
    for (int i = (int)threadIdx.x; i < features; i += THREADS)
        sum += positive(s.function, W[i], b, shrink);
    double factor = 1.0 / (block_sum(sum, sums) + 1e-19);
    for (int k = (int)threadIdx.x; k < features; k += THREADS) {
        int c = k % s.channels, p = k / s.channels;
        w[k] = (float)(positive(s.function, W[c * s.window + p], b, shrink) * factor);
    }
    if (threadIdx.x == 0)
        scale[blockIdx.x] = (float)factor;
}

/* A row's share of the sums that go beyond rows. */
struct RowSums {
    double beta, shrink;
};

static __global__ void weight_backward_kernel(WeightShape s, const Largest *largest,
                                              const float *W, const float *beta, const float *w,
                                              const float *scale, const float *dw, float *dW,
                                              RowSums *rows)
{
    DYNAMIC_SHARED(double, sums);
    int features = s.channels * s.window;
    size_t row = (size_t)blockIdx.x * (size_t)features;
    double shrink = shrink_of(largest), b = beta ? *beta : 0.0;
    double slope = (tanh(b) + 1.0) * 0.5, slope_db = 0.5 * (1.0 - tanh(b) * tanh(b));
    double dot = 0.0, db = 0.0, dshrink = 0.0;
    for (int k = (int)threadIdx.x; k < features; k += THREADS)
        dot += (double)dw[row + (size_t)k] * w[row + (size_t)k];
    dot = block_sum(dot, sums);
    for (int i = (int)threadIdx.x; i < features; i += THREADS) {
        int c = i / s.window, p = i % s.window;
        double df = (dw[row + (size_t)(p * s.channels + c)] - dot) * scale[blockIdx.x];
        double value = W[row + (size_t)i], d = df;
        double f = positive(s.function, value, b, shrink);
        switch (s.function) {
        case POSITIVE_ABS: d = value > 0.0 ? df : value < 0.0 ? -df : 0.0; break;
        case POSITIVE_EXP:
            d = df * f * slope * shrink;
            db += df * f * slope_db * shrink * value;
            dshrink += df * f * slope * value;
            break;
        case POSITIVE_TANH:
            d = df * 2.0 * f * (1.0 - f) * b;
            db += df * 2.0 * f * (1.0 - f) * value;
            break;
        case POSITIVE_IDENTITY: break;
        }
        dW[row + (size_t)i] = (float)d;
    }
    if (!rows)
        return;
    db = block_sum(db, sums);
    dshrink = block_sum(dshrink, sums);
    if (threadIdx.x == 0) {
        rows[blockIdx.x].beta = db;
        rows[blockIdx.x].shrink = dshrink;
    }
}

/* dbeta, and what the largest weight gets for setting the scale: shrink = EXP_LIMIT / |W|. */
static __global__ void add_rows_kernel(WeightShape s, const Largest *largest, const RowSums *rows,
                                       const float *W, float *dW, float *dbeta)
{
    double db = 0.0, dshrink = 0.0, shrink = shrink_of(largest);
    for (int n = 0; n < s.outputs; n++) {
        db += rows[n].beta;
        dshrink += rows[n].shrink;
    }
    if (dbeta)
        *dbeta = (float)db;
    if (shrink < 1.0)
        dW[largest->where] -= (float)(dshrink * shrink / W[largest->where]);
}

static size_t elements(const WeightShape *s)
{
    return (size_t)s->outputs * (size_t)s->channels * (size_t)s->window;
}

/* Finds the largest weight where the positive function needs it; NULL elsewhere. */
static const Largest *find_largest(Backend *backend, const char *operation, const WeightShape *s,
                                   const float *W, Largest *largest)
{
    if (s->function != POSITIVE_EXP)
        return NULL;
    RUN(backend, operation, largest_kernel, 1, THREADS, THREADS * sizeof(Largest), W, elements(s),
        largest);
    return largest;
}

void cuda_weight_forward(Backend *backend, const WeightShape *s, const float *W, const float *beta,
                         float *w, float *scale)
{
    Largest *scratch = (Largest *)cuda_scratch(backend, sizeof(Largest));
    if (!scratch)
        return;
    const Largest *largest = find_largest(backend, "weights forward", s, W, scratch);
    RUN(backend, "weights forward", weight_forward_kernel, (unsigned)s->outputs, THREADS,
        WARPS * sizeof(double), *s, largest, W, beta, w, scale);
}

void cuda_weight_backward(Backend *backend, const WeightShape *s, const float *W,
                          const float *beta, const float *w, const float *scale, const float *dw,
                          float *dW, float *dbeta)
{
    size_t bytes = sizeof(Largest) + (size_t)s->outputs * sizeof(RowSums);
    Largest *scratch = (Largest *)cuda_scratch(backend, bytes);
    if (!scratch)
        return;
    const Largest *largest = find_largest(backend, "weights backward", s, W, scratch);
    bool has_beta = s->function == POSITIVE_EXP || s->function == POSITIVE_TANH;
    RowSums *rows = has_beta ? (RowSums *)(scratch + 1) : NULL;
    RUN(backend, "weights backward", weight_backward_kernel, (unsigned)s->outputs, THREADS,
        WARPS * sizeof(double), *s, largest, W, beta, w, scale, dw, dW, rows);
    if (rows)
        RUN(backend, "weights backward", add_rows_kernel, 1, 1, 0, *s, largest, rows, W, dW,
            dbeta);
}

/* ---- the order of weights ---- */

static __global__ void transpose_kernel(size_t elements, size_t rows, size_t columns,
                                        const float *in, float *out)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    size_t matrix = i / (rows * columns), column = i / rows % columns, row = i % rows;
    out[i] = in[(matrix * rows + row) * columns + column];
}

void cuda_transpose(Backend *backend, int count, int rows, int columns, const float *in,
                    float *out)
{
    size_t elements = (size_t)count * (size_t)rows * (size_t)columns;
    RUN(backend, "transpose", transpose_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        (size_t)rows, (size_t)columns, in, out);
}
