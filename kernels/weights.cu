/* The weights of all NNMF layers: positive function and row normalisation, one block per row. One
 * launch serves all layers, because each is too small for a launch of its own. */
#include "cuda.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP };

/* Passed by value, so that a recorded launch needs no host memory. */
struct Layers {
    LayerWeights of[MAX_WEIGHT_LAYERS];
};

static const double EXP_LIMIT = 80.0; /* exp(80) is finite in float32 */

/* Returns the sum over the block to every thread; `sums` has one element for each warp. */
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

/* The maximum magnitude of a layer's raw weights, and the first element that has it. */
struct Largest {
    double magnitude;
    unsigned long long where;
};

/* Fills in largest (layers), for positive functions that need it; blockIdx.x: the layer. */
static __global__ void largest_kernel(Layers layers, Largest *largest)
{
    DYNAMIC_SHARED(Largest, found);
    const LayerWeights &layer = layers.of[blockIdx.x];
    const WeightShape s = layer.shape;
    if (s.function != POSITIVE_EXP)
        return;
    const float *raw = layer.raw;
    size_t count = (size_t)s.outputs * (size_t)s.channels * (size_t)s.window;
    Largest mine = {0.0, 0};
    for (size_t i = threadIdx.x; i < count; i += THREADS)
        if (fabs((double)raw[i]) > mine.magnitude) {
            mine.magnitude = fabs((double)raw[i]);
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
    largest[blockIdx.x] = mine;
}

/* Returns the factor by which POSITIVE_EXP scales raw; other functions have no `largest`. */
static __device__ double shrink_of(PositiveFunction function, const Largest *largest)
{
    if (function != POSITIVE_EXP || largest->magnitude <= EXP_LIMIT)
        return 1.0;
    return EXP_LIMIT / largest->magnitude;
}

static __device__ double positive(PositiveFunction function, double raw, double beta, double shrink)
{
    switch (function) {
    case POSITIVE_ABS: return fabs(raw);
    case POSITIVE_EXP: return exp((tanh(beta) + 1.0) * 0.5 * (shrink * raw));
    case POSITIVE_TANH: return (tanh(beta * raw) + 1.0) * 0.5;
    case POSITIVE_IDENTITY: break;
    }
    return raw;
}

/* blockIdx.x: the row; blockIdx.y: the layer. Layers with fewer rows have idle blocks. */
static __global__ void weights_forward_kernel(Layers layers, const Largest *largest)
{
    DYNAMIC_SHARED(double, sums);
    const LayerWeights &layer = layers.of[blockIdx.y];
    const WeightShape s = layer.shape;
    if (blockIdx.x >= (unsigned)s.outputs)
        return;
    int features = s.channels * s.window;
    double shrink = shrink_of(s.function, largest + blockIdx.y);
    double b = layer.beta ? *layer.beta : 0.0, sum = 0.0;
    const float *raw = layer.raw + (size_t)blockIdx.x * (size_t)features;
    float *w = layer.w + (size_t)blockIdx.x * (size_t)features;
    for (int i = (int)threadIdx.x; i < features; i += THREADS)
        sum += positive(s.function, raw[i], b, shrink);
    double factor = 1.0 / (block_sum(sum, sums) + EPSILON_SUM);
    for (int k = (int)threadIdx.x; k < features; k += THREADS) {
        int c = k % s.channels, p = k / s.channels;
        w[k] = (float)(positive(s.function, raw[c * s.window + p], b, shrink) * factor);
    }
    if (threadIdx.x == 0)
        layer.scale[blockIdx.x] = (float)factor;
}

/* A row's contribution to the sums over all rows of a layer. */
struct RowSums {
    double beta, shrink;
};

/* Returns whether gradients depend on sums over all rows of a layer. */
static __host__ __device__ bool needs_row_sums(PositiveFunction function)
{
    return function == POSITIVE_EXP || function == POSITIVE_TANH;
}

/* Blocks as above; rows (layers, gridDim.x) is filled in for layers that need it. */
static __global__ void weights_backward_kernel(Layers layers, const Largest *largest, RowSums *rows)
{
    DYNAMIC_SHARED(double, sums);
    const LayerWeights &layer = layers.of[blockIdx.y];
    const WeightShape s = layer.shape;
    if (blockIdx.x >= (unsigned)s.outputs)
        return;
    const float *raw = layer.raw, *w = layer.w, *dw = layer.dw;
    float *d_raw = layer.d_raw, scale = layer.scale[blockIdx.x];
    int features = s.channels * s.window;
    size_t row = (size_t)blockIdx.x * (size_t)features;
    double shrink = shrink_of(s.function, largest + blockIdx.y);
    double b = layer.beta ? *layer.beta : 0.0;
    double slope = (tanh(b) + 1.0) * 0.5, slope_db = 0.5 * (1.0 - tanh(b) * tanh(b));
    double dot = 0.0, db = 0.0, dshrink = 0.0;
    for (int k = (int)threadIdx.x; k < features; k += THREADS)
        dot += (double)dw[row + (size_t)k] * w[row + (size_t)k];
    dot = block_sum(dot, sums);
    for (int i = (int)threadIdx.x; i < features; i += THREADS) {
        int c = i / s.window, p = i % s.window;
        double df = (dw[row + (size_t)(p * s.channels + c)] - dot) * scale;
        double value = raw[row + (size_t)i], d = df;
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
        d_raw[row + (size_t)i] = (float)d;
    }
    if (!needs_row_sums(s.function))
        return;
    db = block_sum(db, sums);
    dshrink = block_sum(dshrink, sums);
    if (threadIdx.x == 0)
        rows[(size_t)blockIdx.y * gridDim.x + blockIdx.x] = {db, dshrink};
}

/* Computes dbeta, and adds the gradient of the scale, shrink = EXP_LIMIT / |raw|, to the largest
 * weight. rows (layers, max_rows); blockIdx.x: the layer. */
static __global__ void add_rows_kernel(Layers layers, const Largest *largest, const RowSums *rows,
                                       unsigned max_rows)
{
    const LayerWeights &layer = layers.of[blockIdx.x];
    const WeightShape s = layer.shape;
    if (!needs_row_sums(s.function))
        return;
    largest += blockIdx.x;
    rows += (size_t)blockIdx.x * max_rows;
    double db = 0.0, dshrink = 0.0, shrink = shrink_of(s.function, largest);
    for (int n = 0; n < s.outputs; n++) {
        db += rows[n].beta;
        dshrink += rows[n].shrink;
    }
    if (layer.dbeta)
        *layer.dbeta = (float)db;
    if (shrink < 1.0)
        layer.d_raw[largest->where] -= (float)(dshrink * shrink / layer.raw[largest->where]);
}

enum { MAX_PARAMETER_BYTES = 4096 }; /* CUDA's limit on the parameters of a kernel */

static_assert(sizeof(Layers) + sizeof(Largest *) + sizeof(RowSums *) + sizeof(unsigned) <=
                  MAX_PARAMETER_BYTES,
              "all layers fit into a kernel's parameters");

/* ---- launching ---- */

static Layers as_argument(const LayerWeights *layers, int count)
{
    Layers all = {};
    for (int i = 0; i < count; i++)
        all.of[i] = layers[i];
    return all;
}

/* One block for every row of the layer with the most rows; blockIdx.y: the layer. */
static dim3 grid_of(const LayerWeights *layers, int count)
{
    int rows = 0;
    for (int i = 0; i < count; i++)
        rows = layers[i].shape.outputs > rows ? layers[i].shape.outputs : rows;
    return dim3((unsigned)rows, (unsigned)count);
}

/* Finds the largest weights if the positive function of a layer needs them. */
static void find_largest(Backend *backend, const char *operation, const Layers &all, int count,
                         Largest *largest)
{
    bool wanted = false;
    for (int i = 0; i < count; i++)
        wanted = wanted || all.of[i].shape.function == POSITIVE_EXP;
    if (wanted)
        RUN(backend, operation, largest_kernel, (unsigned)count, THREADS, THREADS * sizeof(Largest),
            all, largest);
}

static void weights_forward(Backend *backend, const LayerWeights *layers, int count)
{
    const char *name = "weights forward";
    Largest *largest = (Largest *)cuda_scratch(backend, (size_t)count * sizeof *largest);
    if (!largest)
        return;
    Layers all = as_argument(layers, count);
    find_largest(backend, name, all, count, largest);
    RUN(backend, name, weights_forward_kernel, grid_of(layers, count), THREADS,
        WARPS * sizeof(double), all, largest);
}

static void weights_backward(Backend *backend, const LayerWeights *layers, int count)
{
    const char *name = "weights backward";
    dim3 grid = grid_of(layers, count);
    size_t rows = (size_t)grid.x * grid.y;
    Largest *largest =
        (Largest *)cuda_scratch(backend, (size_t)count * sizeof *largest + rows * sizeof(RowSums));
    if (!largest)
        return;
    Layers all = as_argument(layers, count);
    RowSums *sums = (RowSums *)(largest + count);
    find_largest(backend, name, all, count, largest);
    RUN(backend, name, weights_backward_kernel, grid, THREADS, WARPS * sizeof(double), all, largest,
        sums);
    bool summed = false;
    for (int i = 0; i < count; i++)
        summed = summed || needs_row_sums(layers[i].shape.function);
    if (summed)
        RUN(backend, name, add_rows_kernel, (unsigned)count, 1, 0, all, largest, sums, grid.x);
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

static void transpose(Backend *backend, int count, int rows, int columns, const float *in,
                      float *out)
{
    size_t elements = (size_t)count * (size_t)rows * (size_t)columns;
    RUN(backend, "transpose", transpose_kernel, blocks_for(elements, THREADS), THREADS, 0, elements,
        (size_t)rows, (size_t)columns, in, out);
}

void cuda_weights_table(Operations *table)
{
    table->weights_forward = weights_forward;
    table->weights_backward = weights_backward;
    table->transpose = transpose;
}
