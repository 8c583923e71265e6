/*
 * All NNMF iterations in one kernel: a block keeps a tile of rows on chip from the first iteration
 * to the last. h lives in shared memory, r and s in registers, x / r passes from the first product
 * to the second through shared memory; only x and w are read, and h is written once.
 *
 * The features are worked through in blocks of FEATURES = OUTPUTS columns of w, so that the same
 * threads, each with a tile of 4 x 4, fit both products. Where shared memory holds all of w it is
 * read once; else its blocks are read again in every iteration, from the second-level cache.
 */
#include "cuda.cuh"

enum { SIDE = 4, PAD = 4 }; /* of a thread's tile; of a row in shared memory, against conflicts */

/* A block's work: ROWS rows, OUTPUTS outputs (the shape's, rounded up). */
template <int ROWS, int OUTPUTS> struct Tile {
    static constexpr int FEATURES = OUTPUTS, STRIDE = OUTPUTS + PAD;
    static constexpr int ACROSS = OUTPUTS / SIDE, THREADS = ROWS / SIDE * ACROSS;
    /* floats: h, t, partial row sums, one block of w */
    static constexpr int H = ROWS * STRIDE, SUMS = ROWS * ACROSS, W = OUTPUTS * STRIDE;

    static size_t shared_bytes(int features, bool resident)
    {
        size_t blocks = resident ? (size_t)blocks_for((size_t)features, FEATURES) : 1;
        return (2 * (size_t)H + SUMS + blocks * W) * sizeof(float);
    }
};

static __device__ __forceinline__ float part(const float4 &v, int i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

static __device__ __forceinline__ float4 four(const float *from)
{
    return *(const float4 *)from;
}

/* One block of w into shared memory; zeros beyond its outputs and features. */
template <int ROWS, int OUTPUTS>
static __device__ void load_weights(const NnmfShape &s, const float *w, int first, float *to)
{
    typedef Tile<ROWS, OUTPUTS> T;
    for (int i = (int)threadIdx.x; i < OUTPUTS * T::FEATURES; i += T::THREADS) {
        int n = i / T::FEATURES, k = i % T::FEATURES;
        bool inside = n < s.outputs && first + k < s.features;
        to[n * T::STRIDE + k] =
            inside ? w[(size_t)n * (size_t)s.features + (size_t)(first + k)] : 0.0f;
    }
}

/* r = h w for the thread's SIDE rows and SIDE neighbouring features. */
template <int ROWS, int OUTPUTS>
static __device__ __forceinline__ void first_product(const float *h, const float *w, int row,
                                                     int k, float r[SIDE][SIDE])
{
    typedef Tile<ROWS, OUTPUTS> T;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            r[i][j] = 0.0f;
#pragma unroll 4
    for (int n = 0; n < OUTPUTS; n += SIDE) {
        float4 a[SIDE], b[SIDE];
#pragma unroll
        for (int i = 0; i < SIDE; i++) {
            a[i] = four(h + (row + i) * T::STRIDE + n);
            b[i] = four(w + (n + i) * T::STRIDE + k);
        }
#pragma unroll
        for (int d = 0; d < SIDE; d++)
#pragma unroll
            for (int i = 0; i < SIDE; i++)
#pragma unroll
                for (int j = 0; j < SIDE; j++)
                    r[i][j] += part(a[i], d) * part(b[d], j);
    }
}

/* s += t w^T for the thread's SIDE rows and the outputs n, n + ACROSS, ... */
template <int ROWS, int OUTPUTS>
static __device__ __forceinline__ void second_product(const float *t, const float *w, int row,
                                                      int n, float s[SIDE][SIDE])
{
    typedef Tile<ROWS, OUTPUTS> T;
#pragma unroll 4
    for (int k = 0; k < T::FEATURES; k += SIDE) {
        float4 a[SIDE], b[SIDE];
#pragma unroll
        for (int i = 0; i < SIDE; i++) {
            a[i] = four(t + (row + i) * T::STRIDE + k);
            b[i] = four(w + (n + i * T::ACROSS) * T::STRIDE + k);
        }
#pragma unroll
        for (int d = 0; d < SIDE; d++)
#pragma unroll
            for (int i = 0; i < SIDE; i++)
#pragma unroll
                for (int j = 0; j < SIDE; j++)
                    s[i][j] += part(a[i], d) * part(b[j], d);
    }
}

/* The thread's part of t = x / (r + tiny); zeros beyond the rows and features of the shape. */
template <int ROWS, int OUTPUTS>
static __device__ __forceinline__ void store_ratio(const NnmfShape &shape, const float *x,
                                                   size_t first_row, int row, int first, int k,
                                                   const float r[SIDE][SIDE], float *t)
{
    typedef Tile<ROWS, OUTPUTS> T;
#pragma unroll
    for (int i = 0; i < SIDE; i++)
#pragma unroll
        for (int j = 0; j < SIDE; j++) {
            size_t at = first_row + (size_t)(row + i);
            bool inside = at < shape.rows && first + k + j < shape.features;
            float value =
                inside ? x[at * (size_t)shape.features + (size_t)(first + k + j)] : 0.0f;
            t[(row + i) * T::STRIDE + k + j] = value / (r[i][j] + 1e-20f);
        }
}

/* h = h s or h (1 + epsilon s), divided by the sum of its row. */
template <int ROWS, int OUTPUTS>
static __device__ __forceinline__ void update(const NnmfShape &shape, int row, int across,
                                              const float s[SIDE][SIDE], float *h, float *sums)
{
    typedef Tile<ROWS, OUTPUTS> T;
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < SIDE; j++) {
            float *at = h + (row + i) * T::STRIDE + across + j * T::ACROSS;
            float value = *at * (shape.epsilon != 0.0f ? 1.0f + shape.epsilon * s[i][j] : s[i][j]);
            *at = value;
            sum += value;
        }
        sums[(row + i) * T::ACROSS + across] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
        float sum = 0.0f;
        for (int a = 0; a < T::ACROSS; a++)
            sum += sums[(row + i) * T::ACROSS + a];
        float scale = 1.0f / (sum + 1e-19f);
#pragma unroll
        for (int j = 0; j < SIDE; j++)
            h[(row + i) * T::STRIDE + across + j * T::ACROSS] *= scale;
    }
    __syncthreads();
}

template <int ROWS, int OUTPUTS>
static __global__ void __launch_bounds__(ROWS / SIDE * (OUTPUTS / SIDE))
    fused_kernel(NnmfShape shape, bool resident, const float *x, const float *w, float *h_out)
{
    typedef Tile<ROWS, OUTPUTS> T;
    DYNAMIC_SHARED(float, shared);
    float *h = shared, *t = h + T::H, *sums = t + T::H, *weights = sums + T::SUMS;
    int across = (int)threadIdx.x % T::ACROSS, row = (int)threadIdx.x / T::ACROSS * SIDE;
    size_t first_row = (size_t)blockIdx.x * ROWS;

    for (int i = (int)threadIdx.x; i < ROWS * OUTPUTS; i += T::THREADS) {
        int n = i % OUTPUTS;
        h[i / OUTPUTS * T::STRIDE + n] = n < shape.outputs ? 1.0f / (float)shape.outputs : 0.0f;
    }
    for (int first = 0; resident && first < shape.features; first += T::FEATURES)
        load_weights<ROWS, OUTPUTS>(shape, w, first, weights + first / T::FEATURES * T::W);
    __syncthreads();

    for (int iteration = 0; iteration < shape.iterations; iteration++) {
        float s[SIDE][SIDE] = {};
        for (int first = 0; first < shape.features; first += T::FEATURES) {
            float *block = weights + (resident ? first / T::FEATURES * T::W : 0);
            if (!resident) {
                load_weights<ROWS, OUTPUTS>(shape, w, first, block);
                __syncthreads();
            }
            float r[SIDE][SIDE];
            first_product<ROWS, OUTPUTS>(h, block, row, across * SIDE, r);
            store_ratio<ROWS, OUTPUTS>(shape, x, first_row, row, first, across * SIDE, r, t);
            __syncthreads();
            second_product<ROWS, OUTPUTS>(t, block, row, across, s);
            __syncthreads();
        }
        update<ROWS, OUTPUTS>(shape, row, across, s, h, sums);
    }
    for (int i = (int)threadIdx.x; i < ROWS * shape.outputs; i += T::THREADS) {
        size_t at = first_row + (size_t)(i / shape.outputs);
        if (at < shape.rows)
            h_out[at * (size_t)shape.outputs + (size_t)(i % shape.outputs)] =
                h[i / shape.outputs * T::STRIDE + i % shape.outputs];
    }
}

template <int ROWS, int OUTPUTS>
static bool run(Backend *backend, const NnmfShape *s, const float *x, const float *w, float *h)
{
    typedef Tile<ROWS, OUTPUTS> T;
    bool resident = T::shared_bytes(s->features, true) <= backend->shared_limit;
    size_t shared = T::shared_bytes(s->features, resident);
    if (shared > backend->shared_limit)
        return false;
    void (*kernel)(NnmfShape, bool, const float *, const float *, float *) =
        fused_kernel<ROWS, OUTPUTS>;
    if (!TRY(backend, "NNMF forward",
             cudaFuncSetAttribute((const void *)kernel,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared)))
        return true; /* and the failure is kept */
    RUN(backend, "NNMF forward", kernel, blocks_for(s->rows, ROWS), T::THREADS, shared, *s,
        resident, x, w, h);
    return true;
}

bool cuda_nnmf_fused(Backend *backend, const NnmfShape *s, const float *x, const float *w,
                     float *h)
{
    if (s->outputs <= 16)
        return run<32, 16>(backend, s, x, w, h);
    if (s->outputs <= 32)
        return run<64, 32>(backend, s, x, w, h);
    if (s->outputs <= 64)
        return run<32, 64>(backend, s, x, w, h);
    if (s->outputs <= 96)
        return run<16, 96>(backend, s, x, w, h);
    return false;
}
