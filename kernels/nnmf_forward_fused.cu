/*
 * All NNMF iterations in one kernel: a block keeps a tile of rows on chip through all iterations. h
 * is in shared memory, r and s are in registers, and x / r passes from the first product to the
 * second through shared memory; only x and w are read, and h is written once.
 *
 * The features are processed in blocks of FEATURES = OUTPUTS columns of w, so that the same
 * threads, each with a tile of 4 x 4, fit both products. If there are too few rows to keep the GPU
 * busy, several groups of threads share them, and each takes every GROUPS-th block of features. If
 * there are also few thread blocks and the GPU has clusters, the thread blocks of a cluster divide
 * the features in the same way. If shared memory holds the part of w that a thread block needs, w
 * is read once; otherwise its blocks are read from the L2 cache in every iteration.
 */
#include "cluster.cuh"
#include "quotient.cuh"
#include "variants.cuh"

#include <limits.h>

enum { SIDE = 4, PAD = 4 }; /* side of a thread's tile; padding of rows against bank conflicts */

/* The work of a block: ROWS rows and OUTPUTS outputs (those of the shape, rounded up). The GROUPS
 * groups of each of the CLUSTER blocks share the features. */
template <int ROWS_, int OUTPUTS_, int GROUPS_, int CLUSTER_ = 1> struct Tile {
    static constexpr int ROWS = ROWS_, OUTPUTS = OUTPUTS_, GROUPS = GROUPS_, CLUSTER = CLUSTER_;
    static constexpr int FEATURES = OUTPUTS, STRIDE = OUTPUTS + PAD;
    static constexpr int ACROSS = OUTPUTS / SIDE, GROUP = ROWS / SIDE * ACROSS; /* threads */
    static constexpr int THREADS = GROUPS * GROUP;
    static_assert(THREADS % WARP == 0, "whole warps");
    /* Floats of h, and of t of a group; of one block of w. */
    static constexpr int H = ROWS * STRIDE, W = OUTPUTS * STRIDE;
    /* In a cluster also the block's own s, of this iteration and of the last one, which others may
     * still read. */
    static constexpr int OWN = CLUSTER > 1 ? 2 * H : 0;

    static size_t shared_bytes(int features, bool resident)
    {
        size_t blocks = blocks_for(blocks_for((size_t)features, FEATURES), CLUSTER);
        return ((1 + GROUPS) * (size_t)H + OWN + (resident ? blocks : GROUPS) * W) * sizeof(float);
    }
    static SharedMemory shared(int features, size_t limit)
    {
        bool resident = shared_bytes(features, true) <= limit;
        return {shared_bytes(features, resident), resident};
    }
};

/* Loads one block of w into shared memory, by `threads` threads, of which this is number `thread`;
 * zeros beyond its outputs and features. */
template <class T>
static __device__ __forceinline__ void load_weights(const NnmfParams &s, const float *w, int first,
                                                    int thread, int threads, float *to)
{
#pragma unroll 8
    for (int i = thread; i < T::OUTPUTS * T::FEATURES; i += threads) {
        int n = i / T::FEATURES, k = i % T::FEATURES;
        bool inside = n < s.outputs && first + k < s.features;
        to[n * T::STRIDE + k] =
            inside ? w[(size_t)n * (size_t)s.features + (size_t)(first + k)] : 0.0f;
    }
}

/* r = h w for the thread's SIDE rows and SIDE neighbouring features. */
template <class T>
static __device__ __forceinline__ void first_product(const float *h, const float *w, int row, int k,
                                                     float r[SIDE][SIDE])
{
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++)
            r[i][j] = 0.0f;
#pragma unroll 4
    for (int n = 0; n < T::OUTPUTS; n += SIDE) {
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
template <class T>
static __device__ __forceinline__ void second_product(const float *t, const float *w, int row,
                                                      int n, float s[SIDE][SIDE])
{
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

/* Loads the thread's part of x, from feature `k` of row `row`; zeros beyond the rows and features.
 * `x` points to row 0 of `rows`. */
static __device__ __forceinline__ void load_x(const NnmfParams &params, bool aligned,
                                              const float *x, int rows, int row, int k,
                                              float4 values[SIDE])
{
    const float *from = x + (size_t)row * (size_t)params.features + k;
#pragma unroll
    for (int i = 0; i < SIDE; i++)
        values[i] = load_four(from + i * params.features, row + i < rows ? params.features - k : 0,
                              aligned);
}

/* Stores the thread's part of t = x / (r + EPSILON_R); 0 where x is 0. */
template <class T>
static __device__ __forceinline__ void store_ratio(const float4 x[SIDE], const float r[SIDE][SIDE],
                                                   float *t)
{
#pragma unroll
    for (int i = 0; i < SIDE; i++) {
        float4 ratio;
        ratio.x = quotient(x[i].x, r[i][0] + (float)EPSILON_R);
        ratio.y = quotient(x[i].y, r[i][1] + (float)EPSILON_R);
        ratio.z = quotient(x[i].z, r[i][2] + (float)EPSILON_R);
        ratio.w = quotient(x[i].w, r[i][3] + (float)EPSILON_R);
        *(float4 *)(t + i * T::STRIDE) = ratio;
    }
}

/* In a cluster: sums s over the groups of all its blocks, in their order, into the first part. */
template <class T> static __device__ __forceinline__ void add_blocks(float *own, float *parts)
{
    for (int i = (int)threadIdx.x; i < T::ROWS * T::OUTPUTS; i += T::THREADS) {
        int at = i / T::OUTPUTS * T::STRIDE + i % T::OUTPUTS;
        float sum = 0.0f;
#pragma unroll
        for (int group = 0; group < T::GROUPS; group++)
            sum += parts[group * T::H + at];
        own[at] = sum;
    }
    cluster_barrier();
    for (int i = (int)threadIdx.x; i < T::ROWS * T::OUTPUTS; i += T::THREADS) {
        int at = i / T::OUTPUTS * T::STRIDE + i % T::OUTPUTS;
        float sum = 0.0f;
#pragma unroll
        for (unsigned rank = 0; rank < T::CLUSTER; rank++)
            sum += of_block(own, rank)[at];
        parts[at] = sum;
    }
    __syncthreads();
}

/* Updates h = h s, or h (1 + epsilon s), divided by the sum of its row, one warp per row. s is the
 * sum of PARTS parts, stored where the groups' t was. */
template <class T, int PARTS>
static __device__ __forceinline__ void update(const NnmfParams &params, const float *parts,
                                              float *h)
{
    enum { EACH = (T::OUTPUTS + WARP - 1) / WARP };
    int lane = (int)threadIdx.x % WARP;
    for (int row = (int)threadIdx.x / WARP; row < T::ROWS; row += T::THREADS / WARP) {
        float value[EACH], sum = 0.0f;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int n = lane + i * WARP, at = row * T::STRIDE + n;
            value[i] = 0.0f;
            if (n >= T::OUTPUTS)
                continue;
            float s = 0.0f;
#pragma unroll
            for (int part = 0; part < PARTS; part++)
                s += parts[part * T::H + at];
            value[i] = h[at] * (params.epsilon != 0.0f ? 1.0f + params.epsilon * s : s);
            sum += value[i];
        }
        float scale = quotient(1.0f, warp_sum(sum) + (float)EPSILON_SUM);
#pragma unroll
        for (int i = 0; i < EACH; i++)
            if (lane + i * WARP < T::OUTPUTS)
                h[row * T::STRIDE + lane + i * WARP] = value[i] * scale;
    }
}

template <class T>
static __global__ void __launch_bounds__(T::THREADS)
    fused_kernel(NnmfParams params, float start, bool resident, bool aligned, const float *x,
                 const float *w, float *h_out)
{
    DYNAMIC_SHARED(float, shared);
    int group = (int)threadIdx.x / T::GROUP, thread = (int)threadIdx.x % T::GROUP;
    float *h = shared, *parts = h + T::H, *own = parts + T::GROUPS * T::H;
    float *weights = own + T::OWN, *t = parts + group * T::H;
    int across = thread % T::ACROSS, row = thread / T::ACROSS * SIDE;
    size_t first_row = (size_t)(blockIdx.x / T::CLUSTER) * T::ROWS;
    int rows = (int)min(params.rows - first_row, (size_t)T::ROWS);
    int rank = T::CLUSTER > 1 ? (int)cluster_rank() : 0;
    x += first_row * (size_t)params.features;
    int blocks = (params.features + T::FEATURES - 1) / T::FEATURES;
    int mine_begin = blocks * rank / T::CLUSTER * T::FEATURES;
    int mine_end = blocks * (rank + 1) / T::CLUSTER * T::FEATURES; /* may exceed the features */

    for (int i = (int)threadIdx.x; i < T::ROWS * T::OUTPUTS; i += T::THREADS) {
        int n = i % T::OUTPUTS;
        h[i / T::OUTPUTS * T::STRIDE + n] = n < params.outputs ? start : 0.0f;
    }
    for (int first = mine_begin; resident && first < mine_end; first += T::FEATURES)
        load_weights<T>(params, w, first, (int)threadIdx.x, T::THREADS,
                        weights + (first - mine_begin) / T::FEATURES * T::W);
    __syncthreads();

    for (int iteration = 0; iteration < params.iterations; iteration++) {
        float s[SIDE][SIDE] = {};
        for (int begin = mine_begin; begin < mine_end; begin += T::GROUPS * T::FEATURES) {
            int first = begin + group * T::FEATURES;
            bool mine = first < mine_end; /* all groups must reach the barriers */
            float *block = weights + (resident ? (first - mine_begin) / T::FEATURES : group) * T::W;
            if (!resident) {
                if (mine)
                    load_weights<T>(params, w, first, thread, T::GROUP, block);
                __syncthreads();
            }
            if (mine) {
                float4 u[SIDE]; /* loaded before the product, used after it */
                float r[SIDE][SIDE];
                load_x(params, aligned, x, rows, row, first + across * SIDE, u);
                first_product<T>(h, block, row, across * SIDE, r);
                store_ratio<T>(u, r, t + row * T::STRIDE + across * SIDE);
            }
            __syncthreads();
            if (mine)
                second_product<T>(t, block, row, across, s);
            __syncthreads();
        }
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
            for (int j = 0; j < SIDE; j++)
                t[(row + i) * T::STRIDE + across + j * T::ACROSS] = s[i][j];
        __syncthreads();
        if (T::CLUSTER > 1)
            add_blocks<T>(own + iteration % 2 * T::H, parts);
        update<T, T::CLUSTER == 1 ? T::GROUPS : 1>(params, parts, h);
        __syncthreads();
    }
    if (T::CLUSTER > 1)
        cluster_barrier(); /* others may still read this block's s */
    for (int i = (int)threadIdx.x; rank == 0 && i < T::ROWS * params.outputs; i += T::THREADS) {
        size_t at = first_row + (size_t)(i / params.outputs);
        if (at < params.rows)
            h_out[at * (size_t)params.outputs + (size_t)(i % params.outputs)] =
                h[i / params.outputs * T::STRIDE + i % params.outputs];
    }
}

template <class T>
static void run(Backend *backend, const NnmfParams &s, const SharedMemory &shared, const float *x,
                const float *w, float *h)
{
    const char *name = "NNMF forward";
    unsigned tiles = blocks_for(s.rows, T::ROWS);
    float start = 1.0f / (float)s.outputs;
    bool aligned = s.features % SIDE == 0 && is_aligned(x);
    if (T::CLUSTER > 1)
        RUN_CLUSTER(backend, name, fused_kernel<T>, T::CLUSTER, tiles * T::CLUSTER, T::THREADS,
                    shared.bytes, s, start, shared.resident, aligned, x, w, h);
    else
        RUN(backend, name, fused_kernel<T>, tiles, T::THREADS, shared.bytes, s, start,
            shared.resident, aligned, x, w, h);
}

template <class T> static ForwardVariant variant(WhichRows which_rows = ANY_ROWS)
{
    return {{"fused fp32", (const void *)fused_kernel<T>, T::OUTPUTS, INT_MAX, T::ROWS, T::THREADS,
             T::CLUSTER, which_rows, true, T::shared},
            run<T>};
}

VariantTable<ForwardVariant> cuda_nnmf_forward_fused()
{
    static const ForwardVariant variants[] = {
        variant<Tile<32, 16, 8>>(),           variant<Tile<64, 32, 1>>(MANY_ROWS),
        variant<Tile<64, 32, 4>>(),           variant<Tile<32, 64, 1>>(MANY_ROWS),
        variant<Tile<32, 64, 1, 4>>(),        variant<Tile<32, 64, 4>>(),
        variant<Tile<32, 64, 2>>(),           variant<Tile<16, 96, 2, 8>>(),
        variant<Tile<16, 96, 4>>(),           variant<Tile<16, 96, 2>>(),
        variant<Tile<32, 128, 1>>(MANY_ROWS), variant<Tile<16, 128, 1, 8>>(),
        variant<Tile<16, 128, 2>>(),          variant<Tile<16, 128, 1>>(),
    };
    return table_of(variants);
}
