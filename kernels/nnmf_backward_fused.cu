/*
 * The backward rule of NNMF in one kernel. A block processes a panel of features for a chunk of the
 * rows, one tile of rows at a time. h and h dh of the tile and the panel's columns of w are in
 * shared memory; r = h w and u = (h dh) w are computed in registers, and from them dx, a and b; a
 * and b pass through shared memory to the sums of dw = h^T b + (h dh)^T a, which stay in registers
 * for the whole chunk. So x is read once and dx written once, h and dh are read once for every
 * panel, and w once for every chunk.
 *
 * The same threads compute both products: in the first they are spread over the tile's rows, in the
 * second over the outputs. If there are few outputs, several groups of threads share the tile's
 * rows in the second product and add their sums at the end.
 *
 * Every chunk stores its part of dw in scratch memory; the block of a panel that finishes last sums
 * the parts in the order of the chunks.
 */
#include "last_block.cuh"
#include "nnmf_terms.cuh"
#include "variants.cuh"

enum { SIDE = 4, PAD = 4 }; /* side of a thread's tile; padding of rows against bank conflicts */
enum { FEATURES = 32, STRIDE = FEATURES + PAD, ACROSS = FEATURES / SIDE }; /* of a panel */
enum { BUSY = 512 }; /* threads that keep a multiprocessor busy and have enough registers */

/* The work of a block: OUTPUTS outputs (those of the shape, rounded up), and tiles of ROWS rows,
 * which GROUPS groups of threads share in the second product. */
template <int OUTPUTS_, int ROWS_, int GROUPS_> struct Panel {
    static constexpr int OUTPUTS = OUTPUTS_, ROWS = ROWS_, GROUPS = GROUPS_;
    static constexpr int GROUP = OUTPUTS / SIDE * ACROSS, THREADS = GROUPS * GROUP;
    static constexpr int EACH = ROWS * ACROSS / THREADS; /* a thread's rows in the first product */
    static constexpr int FOURS = OUTPUTS * ACROSS;       /* groups of four features in a part */
    static_assert(EACH * THREADS == ROWS * ACROSS && ROWS % GROUPS == 0, "equal shares");
};

/* Shared memory of a block. At the end the groups' sums take its place. */
template <class P> struct Tile {
    float h[P::ROWS][P::OUTPUTS + PAD], h_dh[P::ROWS][P::OUTPUTS + PAD];
    float w[P::OUTPUTS][STRIDE];
    float a[P::ROWS][STRIDE], b[P::ROWS][STRIDE];
};

template <class P> static SharedMemory shared(int, size_t)
{
    static_assert((size_t)(P::GROUPS * P::FOURS) * sizeof(float4) <= sizeof(Tile<P>),
                  "the groups' sums fit into the tile");
    return {sizeof(Tile<P>), false};
}

/* The arguments of the operation, and how its work is divided. */
struct Backward {
    NnmfParams params;
    const float *x, *w, *h, *dh;
    float *dx, *dw;
    bool aligned;   /* four neighbouring features of x and dx have the alignment of a float4 */
    unsigned tiles; /* in a chunk */
    float4 *parts;  /* (panels, chunks, FOURS) */
    unsigned *done; /* (panels) */
};

/* ---- four neighbouring features ---- */

static __device__ __forceinline__ void store_four(float *row, int feature, int features,
                                                  bool aligned, const float4 &value)
{
    if (aligned && feature < features)
        *(float4 *)(row + feature) = value;
    else
        for (int j = 0; j < SIDE && feature + j < features; j++)
            row[feature + j] = part(value, j);
}

static __device__ __forceinline__ float4 four_of(const float values[SIDE])
{
    return make_float4(values[0], values[1], values[2], values[3]);
}

static __device__ __forceinline__ void add_four(float4 &sum, const float4 &more)
{
    sum.x += more.x;
    sum.y += more.y;
    sum.z += more.z;
    sum.w += more.w;
}

/* ---- loading ---- */

/* Loads the panel's columns of w; zeros beyond its outputs and features. */
template <class P>
static __device__ __forceinline__ void load_weights(const Backward &task, int first, Tile<P> *tile)
{
    for (int i = (int)threadIdx.x; i < P::OUTPUTS * FEATURES; i += P::THREADS) {
        int n = i / FEATURES, k = i % FEATURES;
        bool inside = n < task.params.outputs && first + k < task.params.features;
        size_t at = (size_t)n * (size_t)task.params.features + (size_t)(first + k);
        tile->w[n][k] = inside ? task.w[at] : 0.0f;
    }
}

/* Loads a tile of h and h dh; zeros beyond their rows and outputs. */
template <class P>
static __device__ __forceinline__ void load_rows(const Backward &task, size_t first_row,
                                                 Tile<P> *tile)
{
#pragma unroll 8
    for (int i = (int)threadIdx.x; i < P::ROWS * P::OUTPUTS; i += P::THREADS) {
        int row = i / P::OUTPUTS, n = i % P::OUTPUTS;
        bool inside = first_row + (size_t)row < task.params.rows && n < task.params.outputs;
        size_t at = (first_row + (size_t)row) * (size_t)task.params.outputs + (size_t)n;
        float h = inside ? task.h[at] : 0.0f, dh = inside ? task.dh[at] : 0.0f;
        tile->h[row][n] = h;
        tile->h_dh[row][n] = h * dh;
    }
}

/* ---- the first product, and dx, a and b ---- */

/* Adds r = h w and u = (h dh) w for the thread's EACH rows and SIDE neighbouring features. */
template <class P>
static __device__ __forceinline__ void first_product(const Tile<P> *tile, int row, int k,
                                                     float r[P::EACH][SIDE], float u[P::EACH][SIDE])
{
#pragma unroll 2
    for (int n = 0; n < P::OUTPUTS; n += SIDE) {
        float4 w[SIDE];
#pragma unroll
        for (int d = 0; d < SIDE; d++)
            w[d] = four(&tile->w[n + d][k]);
#pragma unroll
        for (int i = 0; i < P::EACH; i++) {
            float4 h = four(&tile->h[row + i][n]), h_dh = four(&tile->h_dh[row + i][n]);
#pragma unroll
            for (int d = 0; d < SIDE; d++)
#pragma unroll
                for (int j = 0; j < SIDE; j++) {
                    r[i][j] += part(h, d) * part(w[d], j);
                    u[i][j] += part(h_dh, d) * part(w[d], j);
                }
        }
    }
}

/* Stores dx for four features of a row, from `feature`, and their a and b in shared memory. Beyond
 * the rows and features x, h and w are 0, so a and b are too. */
template <class P>
static __device__ __forceinline__ void
store_terms(const Backward &task, size_t row, int feature, const float4 &x, const float r[SIDE],
            const float u[SIDE], float *a_four, float *b_four)
{
    float dx[SIDE], a[SIDE], b[SIDE];
#pragma unroll
    for (int j = 0; j < SIDE; j++) {
        BackwardTerms terms = backward_terms(task.params.local_learning, part(x, j), r[j], u[j]);
        dx[j] = terms.dx;
        a[j] = terms.a;
        b[j] = terms.b;
    }
    if (task.dx && row < task.params.rows)
        store_four(task.dx + row * (size_t)task.params.features, feature, task.params.features,
                   task.aligned, four_of(dx));
    *(float4 *)a_four = four_of(a);
    *(float4 *)b_four = four_of(b);
}

/* Loads x before the product, to use it after the product. */
template <class P>
static __device__ __forceinline__ void make_terms(const Backward &task, size_t first_row, int first,
                                                  Tile<P> *tile)
{
    int k = (int)threadIdx.x % ACROSS * SIDE, row = (int)threadIdx.x / ACROSS * P::EACH;
    float4 x[P::EACH];
    float r[P::EACH][SIDE] = {}, u[P::EACH][SIDE] = {};
#pragma unroll
    for (int i = 0; i < P::EACH; i++) {
        size_t at = first_row + (size_t)(row + i);
        x[i] =
            load_four(task.x + at * (size_t)task.params.features + (first + k),
                      at < task.params.rows ? task.params.features - (first + k) : 0, task.aligned);
    }
    first_product<P>(tile, row, k, r, u);
#pragma unroll
    for (int i = 0; i < P::EACH; i++)
        store_terms<P>(task, first_row + (size_t)(row + i), first + k, x[i], r[i], u[i],
                       &tile->a[row + i][k], &tile->b[row + i][k]);
}

/* ---- the second product, and its sums ---- */

/* sums += h^T b for the group's rows and the thread's SIDE outputs and SIDE features. */
template <class P>
static __device__ __forceinline__ void second_product(const float (*h)[P::OUTPUTS + PAD],
                                                      const float (*b)[STRIDE], int n, int k,
                                                      float sums[SIDE][SIDE])
{
#pragma unroll 4
    for (int row = 0; row < P::ROWS / P::GROUPS; row++) {
        float4 left = four(&h[row][n]), right = four(&b[row][k]);
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
            for (int j = 0; j < SIDE; j++)
                sums[i][j] += part(left, i) * part(right, j);
    }
}

/* Sums over the groups, in their order, and stores the block's part of dw. */
template <class P>
static __device__ __forceinline__ void store_part(const float sums[SIDE][SIDE], float4 *to)
{
    DYNAMIC_SHARED(float4, shared);
    int thread = (int)threadIdx.x % P::GROUP;
    float4 *own = shared + (int)threadIdx.x / P::GROUP * P::FOURS;
#pragma unroll
    for (int i = 0; i < SIDE; i++)
        own[(thread / ACROSS * SIDE + i) * ACROSS + thread % ACROSS] = four_of(sums[i]);
    __syncthreads();
    for (int i = (int)threadIdx.x; i < P::FOURS; i += P::THREADS) {
        float4 sum = shared[i];
#pragma unroll
        for (int group = 1; group < P::GROUPS; group++)
            add_four(sum, shared[group * P::FOURS + i]);
        to[i] = sum;
    }
}

/* Sums the parts of all chunks, in their order, and stores the panel of dw. */
template <class P>
static __device__ __forceinline__ void add_parts(const Backward &task, int first,
                                                 const float4 *parts)
{
    for (int i = (int)threadIdx.x; i < P::FOURS; i += P::THREADS) {
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
        for (unsigned chunk = 0; chunk < gridDim.x; chunk++)
            add_four(sum, parts[chunk * (unsigned)P::FOURS + i]);
        int n = i / ACROSS;
        if (n < task.params.outputs)
            store_four(task.dw + (size_t)n * (size_t)task.params.features,
                       first + i % ACROSS * SIDE, task.params.features, false, sum);
    }
}

/* ---- the kernel ---- */

/* blockIdx.x: the chunk, blockIdx.y: the panel. */
template <class P>
static __global__ void __launch_bounds__(P::THREADS, BUSY / P::THREADS) panel_kernel(Backward task)
{
    DYNAMIC_SHARED(Tile<P>, tile);
    int first = (int)blockIdx.y * FEATURES;
    int group = (int)threadIdx.x / P::GROUP, thread = (int)threadIdx.x % P::GROUP;
    int share = group * (P::ROWS / P::GROUPS);
    int n = thread / ACROSS * SIDE, k = thread % ACROSS * SIDE;
    size_t row = (size_t)blockIdx.x * task.tiles * P::ROWS;
    float sums[SIDE][SIDE] = {};
    load_weights<P>(task, first, tile);
    for (unsigned i = 0; i < task.tiles && row < task.params.rows; i++, row += P::ROWS) {
        load_rows<P>(task, row, tile);
        __syncthreads();
        make_terms<P>(task, row, first, tile);
        __syncthreads();
        second_product<P>(tile->h + share, tile->b + share, n, k, sums);
        if (task.params.local_learning == LOCAL_NONE)
            second_product<P>(tile->h_dh + share, tile->a + share, n, k, sums);
        __syncthreads();
    }
    float4 *parts = task.parts + (size_t)blockIdx.y * gridDim.x * P::FOURS;
    store_part<P>(sums, parts + (size_t)blockIdx.x * P::FOURS);
    if (is_last_block(task.done + blockIdx.y))
        add_parts<P>(task, first, parts);
}

/* Limit of the table: each panel of features needs a count of its blocks. */
enum { MAX_FEATURES = BLOCK_COUNTS * FEATURES };

/* Divides the rows into chunks of whole tiles, as large as possible while all panels together keep
 * every multiprocessor busy. */
template <class P>
static void run(Backend *backend, const NnmfParams &s, const SharedMemory &shared_memory,
                const float *x, const float *w, const float *h, const float *dh, float *dx,
                float *dw)
{
    Backward task = {s, x, w, h, dh, dx, dw, false, 0, NULL, backend->block_counts};
    task.aligned = s.features % SIDE == 0 && is_aligned(x) && is_aligned(dx);
    unsigned panels = blocks_for((size_t)s.features, FEATURES);
    unsigned tiles = blocks_for(s.rows, P::ROWS);
    unsigned wanted = (unsigned)backend->multiprocessors * BUSY / P::THREADS / panels;
    task.tiles = wanted > 1 ? blocks_for(tiles, wanted) : tiles;
    unsigned chunks = blocks_for(tiles, task.tiles);
    task.parts =
        (float4 *)cuda_scratch(backend, (size_t)panels * chunks * P::FOURS * sizeof(float4));
    if (task.parts)
        RUN(backend, "NNMF backward", panel_kernel<P>, dim3(chunks, panels), P::THREADS,
            shared_memory.bytes, task);
}

template <class P> static BackwardVariant variant()
{
    constexpr size_t STATIC = 64; /* bound on the static shared memory of is_last_block */
    return {{"fused fp32", (const void *)panel_kernel<P>, P::OUTPUTS, MAX_FEATURES, P::ROWS,
             P::THREADS, 1, ANY_ROWS, sizeof(Tile<P>) + STATIC > SHARED_DEFAULT, shared<P>},
            run<P>};
}

VariantTable<BackwardVariant> cuda_nnmf_backward_fused()
{
    static const BackwardVariant variants[] = {
        variant<Panel<32, 64, 4>>(),
        variant<Panel<64, 32, 1>>(),
        variant<Panel<96, 24, 1>>(),
        variant<Panel<128, 32, 1>>(),
    };
    return table_of(variants);
}
