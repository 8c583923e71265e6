/*
 * All NNMF iterations in one kernel on the tensor cores. A warp has a tile of 16 rows. It keeps h
 * in registers through all iterations, and r, x / r and s of the current features too: lane by
 * lane, the accumulators of one product are the operand of the next, because the order of summation
 * in a product is free. Shared memory holds only w.
 *
 * If there are few rows, the warps of a block share the same rows, divide the features and sum
 * their s. If there are also few blocks and the GPU has clusters, the blocks of a cluster do the
 * same; each holds its part of w.
 *
 * TERMS 1 rounds the operands to TF32. TERMS 3 splits each operand into a TF32 number and a
 * remainder and omits the product of the remainders: the error is like that of float32 (3xTF32 in
 * CUTLASS).
 *
 * w is stored in blocks of 8 outputs by 8 features, 64 consecutive floats each; block (f, j) has
 * the number f * (outputs / 8) + j. Warps then read the fragments of both products without bank
 * conflicts. A thread block that keeps w, or its part of it, in shared memory reorders it while
 * loading; otherwise another kernel does so first.
 */
#include "cluster.cuh"
#include "mma.cuh"
#include "quotient.cuh"
#include "variants.cuh"

#include <limits.h>

enum { BLOCK = MMA_SIDE * MMA_SIDE, C = 4 /* elements of a lane in an accumulator */ };

/* ---- w in blocks ---- */

enum { PACK_THREADS = 256, FOURS = BLOCK / 4 /* groups of four floats in a block */ };

/* Returns four floats of w, group `i` of block `block`: one output, four features. `blocks`: number
 * of blocks side by side. Zeros beyond the outputs and features. ALIGNED: the features are a
 * multiple of four. Loads without a branch, so that several loads overlap. */
template <bool ALIGNED>
static __device__ __forceinline__ float4 four_of(const NnmfParams &params, int blocks, bool round,
                                                 const float *w, int block, int i)
{
    int n = block % blocks * MMA_SIDE + i / 2, k = block / blocks * MMA_SIDE + i % 2 * 4;
    const float *row = w + (size_t)min(n, params.outputs - 1) * (size_t)params.features;
    int last = params.features - 1;
    float v[4];
    if (ALIGNED) {
        float4 four = *(const float4 *)(row + min(k, last - 3));
        v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if (!ALIGNED)
            v[j] = row[min(k + j, last)];
        v[j] = n < params.outputs && k + j < params.features ? v[j] : 0.0f;
        v[j] = round ? to_tf32(v[j]) : v[j];
    }
    return make_float4(v[0], v[1], v[2], v[3]);
}

static __global__ void pack_kernel(NnmfParams params, int blocks, bool round, size_t fours,
                                   const float *w, float *packed)
{
    size_t at = (size_t)blockIdx.x * PACK_THREADS + threadIdx.x;
    if (at >= fours)
        return;
    int block = (int)(at / FOURS), i = (int)(at % FOURS);
    ((float4 *)packed)[at] = params.features % 4 == 0
                                 ? four_of<true>(params, blocks, round, w, block, i)
                                 : four_of<false>(params, blocks, round, w, block, i);
}

/* Stores `fours` groups of four floats of w, from block `first`, by all threads of a block. */
template <class P, bool ALIGNED>
static __device__ __forceinline__ void pack_on_chip(const NnmfParams &params, const float *w,
                                                    int first, int fours, float4 *to)
{
    constexpr int AT_ONCE = 4;
    for (int begin = (int)threadIdx.x; begin < fours; begin += AT_ONCE * P::THREADS) {
        float4 values[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            int i = min(begin + j * P::THREADS, fours - 1);
            values[j] =
                four_of<ALIGNED>(params, P::BLOCKS, P::TERMS == 1, w, first + i / FOURS, i % FOURS);
        }
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            if (begin + j * P::THREADS < fours)
                to[begin + j * P::THREADS] = values[j];
    }
}

/* ---- products ---- */

/* c += a b with TERMS products; a is split into (high, low), b is not split yet. */
template <int TERMS>
static __device__ __forceinline__ void multiply(float c[C], const float high[4], const float low[4],
                                                const float b[2])
{
    if (TERMS == 1) { /* b has been rounded */
        mma_tf32(c, high, b);
        return;
    }
    float b_high[2], b_low[2];
    split_tf32(b[0], b_high[0], b_low[0]);
    split_tf32(b[1], b_high[1], b_low[1]);
    mma_tf32(c, low, b_high);
    mma_tf32(c, high, b_low);
    mma_tf32(c, high, b_high);
}

/* With one term, `low` is not used in products; it only keeps NaN and infinities. */
template <int TERMS>
static __device__ __forceinline__ void split(float value, float &high, float &low)
{
    if (TERMS == 1) {
        high = to_tf32(value);
        low = value - high;
    } else {
        split_tf32(value, high, low);
    }
}

/* Hides the value from the optimiser, which would otherwise keep its parts in registers. */
static __device__ __forceinline__ float opaque(float value)
{
#ifdef __CUDACC__
    asm volatile("" : "+f"(value));
#endif
    return value;
}

/* Stores h as a lane keeps it between iterations: its two parts, or the value and 0. */
template <class P> static __device__ __forceinline__ void keep(float value, float &high, float &low)
{
    high = value;
    low = 0.0f;
    if (P::KEEPS_PARTS)
        split<P::TERMS>(value, high, low);
}

/* Returns the parts of h for a product. */
template <class P>
static __device__ __forceinline__ void parts_of(const float kept_high[4], const float kept_low[4],
                                                float high[4], float low[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        high[i] = kept_high[i];
        low[i] = kept_low[i];
        if (!P::KEEPS_PARTS)
            split<P::TERMS>(opaque(kept_high[i]), high[i], low[i]);
    }
}

/* ---- the kernel ---- */

/* SPLIT: the warps share their rows and divide the features. RESIDENT: w is in shared memory,
 * otherwise it is read from the L2 cache. CLUSTER: number of blocks that share their rows. */
template <int OUTPUTS_, int WARPS_, bool SPLIT_, bool RESIDENT_, int TERMS_, int CLUSTER_ = 1>
struct Plan {
    static constexpr int OUTPUTS = OUTPUTS_, WARPS = WARPS_, TERMS = TERMS_, CLUSTER = CLUSTER_;
    static constexpr bool SPLIT = SPLIT_, RESIDENT = RESIDENT_;
    static_assert(SPLIT || CLUSTER == 1, "blocks share rows only if warps do");
    static constexpr int PARTS = SPLIT ? WARPS * CLUSTER : 1; /* of the features */
    static constexpr int BLOCKS = OUTPUTS / MMA_SIDE, THREADS = WARPS * WARP;
    static constexpr int BLOCK_ROWS = SPLIT ? MMA_ROWS : WARPS * MMA_ROWS;
    /* Floats of s, in the order (block, lane, element). */
    static constexpr int SUMS = BLOCKS * WARP * C;
    /* Floats of s in shared memory: the sum and, in a cluster, the block's own s of this iteration
     * and of the last one, which others may still read. */
    static constexpr int ALL_SUMS = CLUSTER > 1 ? 3 * SUMS : SUMS;
    /* Blocks and floats that the warps sum at a time. */
    static constexpr int STAGE_BLOCKS = BLOCKS < 4 ? BLOCKS : 4;
    static constexpr int STAGE = STAGE_BLOCKS * WARP * C;
    static_assert(BLOCKS % STAGE_BLOCKS == 0, "whole stages");

    static size_t packed_elements(int features)
    {
        return (size_t)blocks_for((size_t)features, MMA_SIDE) * MMA_SIDE * OUTPUTS;
    }
    /* Split h once an iteration if there are enough registers for both parts, else at every use. */
    static constexpr bool KEEPS_PARTS = OUTPUTS <= 96;
    static constexpr int FLOATS = SPLIT ? ALL_SUMS + WARPS * STAGE : 0; /* besides w */
    static SharedMemory shared(int features, size_t)
    {
        size_t groups = blocks_for(blocks_for((size_t)features, MMA_SIDE), CLUSTER);
        return {(FLOATS + (RESIDENT ? groups * MMA_SIDE * OUTPUTS : 0)) * sizeof(float), RESIDENT};
    }
};

/* A lane's place in its warp's fragments. */
struct Lane {
    int group, member;
    int swapped; /* takes the second of its two neighbouring outputs first, for other banks */
};

/* Loads x for the lane's four elements of an accumulator, features 8 f .. 8 f + 7. `x` begins at
 * the warp's rows, of which there are `rows`. */
static __device__ __forceinline__ void load_x(const NnmfParams &params, const float *x, int rows,
                                              Lane lane, int f, float values[C])
{
    int k = f * MMA_SIDE + 2 * lane.member;
#pragma unroll
    for (int i = 0; i < C; i++) {
        int row = lane.group + i / 2 * 8;
        bool inside = row < rows && k + i % 2 < params.features;
        values[i] = inside ? x[row * params.features + k + i % 2] : 0.0f;
    }
}

/* s += (x / (h w)) w^T for features 8 f .. 8 f + 7; `w`: the blocks of these features. */
template <class P>
static __device__ __forceinline__ void
add_features(const float *w, Lane lane, const float x[C], const float high[P::BLOCKS][4],
             const float low[P::BLOCKS][4], float s[P::BLOCKS][C])
{
    /* Two sums, over even and odd blocks, so that a product need not wait for the previous one. */
    float r[2][C] = {};
    int first = 2 * lane.member + lane.swapped, second = 2 * lane.member + 1 - lane.swapped;
#pragma unroll
    for (int j = 0; j < P::BLOCKS; j++) {
        const float *block = w + j * BLOCK;
        float b[2] = {block[first * MMA_SIDE + lane.group], block[second * MMA_SIDE + lane.group]};
        float a_high[4], a_low[4];
        parts_of<P>(high[j], low[j], a_high, a_low);
        multiply<P::TERMS>(r[j % 2], a_high, a_low, b);
    }
    float t_high[4], t_low[4];
#pragma unroll
    for (int i = 0; i < C; i++) {
        int to = i / 2 + i % 2 * 2; /* from the order of c to that of a */
        split<P::TERMS>(approximate_quotient(x[i], r[0][i] + r[1][i] + (float)EPSILON_R),
                        t_high[to], t_low[to]);
    }
#pragma unroll
    for (int j = 0; j < P::BLOCKS; j++) {
        float2 pair = *(const float2 *)(w + j * BLOCK + lane.group * MMA_SIDE + 2 * lane.member);
        float b[2] = {pair.x, pair.y};
        multiply<P::TERMS>(s[j], t_high, t_low, b);
    }
}

/* Sums s over all warps, in their order, into `sums`. */
template <class P>
static __device__ __forceinline__ void add_warps(const float s[P::BLOCKS][C], float *sums,
                                                 float *stage)
{
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
#pragma unroll
    for (int first = 0; first < P::BLOCKS; first += P::STAGE_BLOCKS) {
#pragma unroll
        for (int j = 0; j < P::STAGE_BLOCKS; j++) {
            const float *v = s[first + j];
            *(float4 *)(stage + warp * P::STAGE + (j * WARP + lane) * C) =
                make_float4(v[0], v[1], v[2], v[3]);
        }
        __syncthreads();
        for (int i = (int)threadIdx.x; i < P::STAGE; i += P::THREADS) {
            float sum = 0.0f;
#pragma unroll
            for (int from = 0; from < P::WARPS; from++)
                sum += stage[from * P::STAGE + i];
            sums[first * WARP * C + i] = sum;
        }
        __syncthreads();
    }
}

/* Adds the sums of all blocks of a cluster, in their order; `own`: those of this block. */
template <class P> static __device__ __forceinline__ void add_blocks(float *own, float *sums)
{
    cluster_barrier();
    for (int i = (int)threadIdx.x; i < P::SUMS / 4; i += P::THREADS) {
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
        for (unsigned rank = 0; rank < P::CLUSTER; rank++) {
            float4 part = ((const float4 *)of_block(own, rank))[i];
            sum.x += part.x, sum.y += part.y, sum.z += part.z, sum.w += part.w;
        }
        ((float4 *)sums)[i] = sum;
    }
    __syncthreads();
}

/* Updates h = h s, or h (1 + epsilon s), divided by the sum of its row. h is kept as a high and a
 * low part in the order of the operand a: (group, first), (group + 8, first), (group, second), ...
 * s is in registers, or summed over the warps in `sums`. */
template <class P>
static __device__ __forceinline__ void update(const NnmfParams &params, Lane lane,
                                              const float *sums, const float s[P::BLOCKS][C],
                                              float high[P::BLOCKS][4], float low[P::BLOCKS][4])
{
    float sum[2] = {0.0f, 0.0f};
#pragma unroll
    for (int j = 0; j < P::BLOCKS; j++) {
        float v[C] = {s[j][0], s[j][1], s[j][2], s[j][3]};
        if (P::SPLIT) {
            float4 all = *(const float4 *)(sums + (j * WARP + (int)threadIdx.x % WARP) * C);
            v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = i % 2, second = i / 2;
            float factor = lane.swapped ? v[row * 2 + 1 - second] : v[row * 2 + second];
            if (params.epsilon != 0.0f)
                factor = 1.0f + params.epsilon * factor;
            high[j][i] = (high[j][i] + low[j][i]) * factor; /* all of h, to be split again below */
            sum[row] += high[j][i];
        }
    }
    float scale[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        sum[row] += __shfl_xor_sync(0xffffffffu, sum[row], 1);
        sum[row] += __shfl_xor_sync(0xffffffffu, sum[row], 2);
        scale[row] = approximate_quotient(1.0f, sum[row] + (float)EPSILON_SUM);
    }
#pragma unroll
    for (int j = 0; j < P::BLOCKS; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            keep<P>(high[j][i] * scale[i % 2], high[j][i], low[j][i]);
}

/* Returns the output that corresponds to element i of the operand a. */
static __device__ __forceinline__ int output_of(Lane lane, int j, int i)
{
    return j * MMA_SIDE + 2 * lane.member + (i / 2 ? 1 - lane.swapped : lane.swapped);
}

/* w is in its usual order if the plan is RESIDENT, otherwise in blocks. */
template <class P>
static __global__ void __launch_bounds__(P::THREADS)
    tensor_kernel(NnmfParams params, float start, const float *x, const float *w, float *h_out)
{
    DYNAMIC_SHARED(float, shared);
    float *sums = shared, *stage = sums + P::ALL_SUMS;
    float *resident = shared + (P::SPLIT ? P::ALL_SUMS + P::WARPS * P::STAGE : 0);
    int warp = (int)threadIdx.x / WARP, number = (int)threadIdx.x % WARP;
    Lane lane = {number / 4, number % 4, number % 4 / 2};
    int groups = (params.features + MMA_SIDE - 1) / MMA_SIDE;
    int rank = P::CLUSTER > 1 ? (int)cluster_rank() : 0;
    int part = P::SPLIT ? rank * P::WARPS + warp : 0;
    int first = groups * part / P::PARTS, end = groups * (part + 1) / P::PARTS;
    size_t first_row = (size_t)(blockIdx.x / P::CLUSTER) * P::BLOCK_ROWS +
                       (P::SPLIT ? 0 : (size_t)(warp * MMA_ROWS));
    size_t left = first_row < params.rows ? params.rows - first_row : 0;
    int rows = left < MMA_ROWS ? (int)left : MMA_ROWS;
    x += first_row * (size_t)params.features;

    int first_group = 0; /* of features, in `weights` */
    const float *weights = w;
    if (P::RESIDENT) { /* the block's part of w */
        first_group = groups * rank / P::CLUSTER;
        int fours = (groups * (rank + 1) / P::CLUSTER - first_group) * P::BLOCKS * FOURS;
        if (params.features % 4 == 0)
            pack_on_chip<P, true>(params, w, first_group * P::BLOCKS, fours, (float4 *)resident);
        else
            pack_on_chip<P, false>(params, w, first_group * P::BLOCKS, fours, (float4 *)resident);
        __syncthreads();
        weights = resident;
    }
    float high[P::BLOCKS][4], low[P::BLOCKS][4];
#pragma unroll
    for (int j = 0; j < P::BLOCKS; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            keep<P>(output_of(lane, j, i) < params.outputs ? start : 0.0f, high[j][i], low[j][i]);

    for (int iteration = 0; iteration < params.iterations; iteration++) {
        float s[P::BLOCKS][C] = {};
        const float *group = weights + (first - first_group) * P::BLOCKS * BLOCK;
        for (int f = first; f < end; f++, group += P::BLOCKS * BLOCK) {
            float u[C]; /* loaded before the first product, used after it */
            load_x(params, x, rows, lane, f, u);
            add_features<P>(group, lane, u, high, low, s);
        }
        float *own = sums + (P::CLUSTER > 1 ? (1 + iteration % 2) * P::SUMS : 0);
        if (P::SPLIT)
            add_warps<P>(s, own, stage);
        if (P::CLUSTER > 1)
            add_blocks<P>(own, sums);
        update<P>(params, lane, sums, s, high, low);
    }
    if (P::CLUSTER > 1)
        cluster_barrier(); /* others may still read this block's sums */
#pragma unroll
    for (int j = 0; j < P::BLOCKS; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = lane.group + i % 2 * 8, n = output_of(lane, j, i);
            bool mine = part == j % P::PARTS;
            if (mine && row < rows && n < params.outputs)
                h_out[(first_row + (size_t)row) * (size_t)params.outputs + (size_t)n] =
                    high[j][i] + low[j][i];
        }
}

/* ---- the variants ---- */

/* Reorders w into blocks, in scratch memory; NULL after keeping the failure. */
template <class P>
static const float *pack(Backend *backend, const char *name, const NnmfParams &s, const float *w)
{
    size_t elements = P::packed_elements(s.features), fours = elements / 4;
    float *packed = (float *)cuda_scratch(backend, elements * sizeof(float));
    if (packed)
        RUN(backend, name, pack_kernel, blocks_for(fours, PACK_THREADS), PACK_THREADS, 0, s,
            P::BLOCKS, P::TERMS == 1, fours, w, packed);
    return packed;
}

template <class P>
static void run(Backend *backend, const NnmfParams &s, const SharedMemory &shared, const float *x,
                const float *w, float *h)
{
    const char *name = "NNMF forward";
    unsigned tiles = blocks_for(s.rows, P::BLOCK_ROWS);
    float start = 1.0f / (float)s.outputs;
    if (!P::RESIDENT && !(w = pack<P>(backend, name, s, w)))
        return;
    if (P::CLUSTER > 1)
        RUN_CLUSTER(backend, name, tensor_kernel<P>, P::CLUSTER, tiles * P::CLUSTER, P::THREADS,
                    shared.bytes, s, start, x, w, h);
    else
        RUN(backend, name, tensor_kernel<P>, tiles, P::THREADS, shared.bytes, s, start, x, w, h);
}

template <class P> static ForwardVariant variant()
{
    constexpr bool large = P::RESIDENT || P::FLOATS * sizeof(float) > SHARED_DEFAULT;
    return {{P::TERMS == 1 ? "tensor cores tf32" : "tensor cores 3xtf32",
             (const void *)tensor_kernel<P>, P::OUTPUTS, INT_MAX, P::BLOCK_ROWS, P::THREADS,
             P::CLUSTER, ANY_ROWS, large, P::shared},
            run<P>};
}

/* One warp per tile keeps a GPU busy only with many rows; layers with many outputs have few. */
template <int TERMS> static VariantTable<ForwardVariant> variants()
{
    static const ForwardVariant all[] = {
        variant<Plan<16, 8, true, true, TERMS>>(),    variant<Plan<32, 4, false, true, TERMS>>(),
        variant<Plan<64, 8, true, true, TERMS, 2>>(), variant<Plan<64, 8, true, true, TERMS>>(),
        variant<Plan<64, 8, true, false, TERMS>>(),   variant<Plan<96, 8, true, true, TERMS, 8>>(),
        variant<Plan<96, 8, true, false, TERMS>>(),   variant<Plan<128, 8, true, true, TERMS, 8>>(),
        variant<Plan<128, 8, true, false, TERMS>>(),
    };
    return table_of(all);
}

VariantTable<ForwardVariant> cuda_nnmf_forward_tensor(Precision precision)
{
    return precision == PRECISION_TF32 ? variants<1>() : variants<3>();
}
