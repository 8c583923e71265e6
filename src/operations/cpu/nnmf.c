/*
 * NNMF, one tile of rows at a time: x, h and the intermediate values of an iteration stay in the
 * caches of one core through all iterations. The features are processed in blocks, so that x / r of
 * a block is still in the L1 cache when the second product reads it.
 */
#include "operations/cpu/cpu.h"
#include "operations/cpu/tile.h"

#include <math.h>
#include <omp.h>

enum {
    ROWS = 24,          /* in a tile, a multiple of TILE_ROWS */
    BLOCK = 128,        /* features in a block, a multiple of PANEL */
    BACKWARD_ROWS = 48, /* in a tile of the backward rule, a multiple of TILE_ROWS */
    CHUNK_ROWS = 2 * ROWS,
};

/* A shape, padded for the tiles, and its packed weights. */
typedef struct Problem {
    const NnmfParams *params;
    size_t features, outputs; /* multiples of VECTOR */
    const float *for_r;       /* w packed for r = h w, of depth outputs (unpadded) */
    const float *for_h;       /* w^T packed for s = t w^T, of depth features (padded) */
    const float *first_r;     /* r + EPSILON_R of the first iteration, the same for all rows */
} Problem;

static Problem problem(const NnmfParams *params)
{
    return (Problem){
        .params = params,
        .features = round_up((size_t)params->features, VECTOR),
        .outputs = round_up((size_t)params->outputs, VECTOR),
    };
}

static size_t packed_elements(const Problem *p)
{
    return p->features * p->outputs;
}

static void pack(Problem *p, const float *w, float *for_r, float *for_h)
{
    size_t features = (size_t)p->params->features, outputs = (size_t)p->params->outputs;
    pack_panels(w, outputs, features, features, 1, outputs, for_r);
    p->for_r = for_r;
    if (for_h) {
        pack_panels(w, features, outputs, 1, features, p->features, for_h);
        p->for_h = for_h;
    }
}

/* Computes r + EPSILON_R of the first iteration, where h is 1 / outputs and r is the same in every
 * row. The order of summation is that of a tile, so the result is bit-identical. Beyond the
 * features it is EPSILON_R. */
static void sum_first_r(Problem *p, const float *w, float *r)
{
    size_t features = (size_t)p->params->features, outputs = (size_t)p->params->outputs;
    float h = 1.0f / (float)outputs;
    for (size_t k = 0; k < p->features; k++)
        r[k] = (float)EPSILON_R;
    for (size_t n = 0; n < outputs; n++)
        for (size_t k = 0; k < features; k++)
            r[k] += h * w[n * features + k];
    p->first_r = r;
}

/* t = x / first_r for one block of features. */
static void first_ratio(const Problem *p, size_t rows, size_t block, size_t width, const float *x,
                        float *t)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < width; k += VECTOR)
            store(t + row * BLOCK + k,
                  load(x + row * p->features + block + k) / load(p->first_r + block + k));
}

/* t = x / (h w + EPSILON_R) for TILE_ROWS rows of one panel. */
INLINE void ratio_tile(int vectors, size_t depth, const float *h, size_t h_stride,
                       const float *panel, const float *x, size_t x_stride, float *t)
{
    Vector r[TILE_ROWS][2];
#pragma GCC unroll 12
    for (int i = 0; i < TILE_ROWS; i++)
        r[i][0] = r[i][1] = broadcast((float)EPSILON_R);
    tile_multiply(vectors, depth, h, h_stride, panel, r);
#pragma GCC unroll 12
    for (int i = 0; i < TILE_ROWS; i++)
        for (int v = 0; v < vectors; v++)
            store(t + i * BLOCK + v * VECTOR,
                  load(x + (size_t)i * x_stride + v * VECTOR) / r[i][v]);
}

/* Updates h = h s, or h (1 + epsilon s), divided by its sum; sets s to 0 for the next iteration. */
static void update_row(const Problem *p, float *h, float *s)
{
    float epsilon = p->params->epsilon;
    Vector sum = {0};
    for (size_t n = 0; n < p->outputs; n += VECTOR) {
        Vector factor = load(s + n);
        if (epsilon != 0.0f)
            factor = 1.0f + epsilon * factor;
        Vector value = load(h + n) * factor;
        store(h + n, value);
        store(s + n, (Vector){0});
        sum += value;
    }
    Vector scale = broadcast(1.0f / (vector_sum(sum) + (float)EPSILON_SUM));
    for (size_t n = 0; n < p->outputs; n += VECTOR)
        store(h + n, load(h + n) * scale);
}

/* t = x / (h w + EPSILON_R) for `rows` rows and one block of features. */
static void ratio_block(const Problem *p, size_t rows, size_t block, size_t width, const float *x,
                        const float *h, float *t)
{
    size_t depth = (size_t)p->params->outputs;
    for (size_t k = 0; k < width; k += PANEL) {
        bool full = width - k >= PANEL;
        const float *panel = p->for_r + (block + k) * depth;
        for (size_t row = 0; row < rows; row += TILE_ROWS) {
            const float *h_row = h + row * p->outputs;
            const float *x_row = x + row * p->features + block + k;
            float *t_row = t + row * BLOCK + k;
            if (full)
                ratio_tile(2, depth, h_row, p->outputs, panel, x_row, p->features, t_row);
            else
                ratio_tile(1, depth, h_row, p->outputs, panel, x_row, p->features, t_row);
        }
    }
}

/* Runs all iterations for `rows` rows, a multiple of TILE_ROWS. x (rows, p->features); h, s (rows,
 * p->outputs); t (rows, BLOCK). h is input and output; s must be 0. */
static void iterate_tile(const Problem *p, size_t rows, const float *x, float *h, float *s,
                         float *t)
{
    for (int iteration = 0; iteration < p->params->iterations; iteration++) {
        for (size_t block = 0; block < p->features; block += BLOCK) {
            size_t width = smaller(BLOCK, p->features - block);
            if (iteration == 0)
                first_ratio(p, rows, block, width, x, t);
            else
                ratio_block(p, rows, block, width, x, h, t);
            size_t depth = smaller(width, (size_t)p->params->features - block);
            multiply_tiles(rows, p->outputs, depth, t, BLOCK, p->for_h, p->features, block, s,
                           p->outputs);
        }
        for (size_t row = 0; row < rows; row++)
            update_row(p, h + row * p->outputs, s + row * p->outputs);
    }
}

static void nnmf_forward(Backend *backend, const NnmfParams *params, const float *x, const float *w,
                         float *h)
{
    Problem p = problem(params);
    size_t features = (size_t)params->features, outputs = (size_t)params->outputs;
    size_t for_r = packed_elements(&p), for_h = packed_elements(&p);
    size_t x_floats = ROWS * p.features, h_floats = ROWS * p.outputs;
    Scratch scratch;
    if (!cpu_scratch(backend, for_r + for_h + p.features, x_floats + 2 * h_floats + ROWS * BLOCK,
                     &scratch))
        return;
    pack(&p, w, scratch.shared, scratch.shared + for_r);
    sum_first_r(&p, w, scratch.shared + for_r + for_h);

    /* With few rows the tiles are smaller, so that every thread has one. The result of a row does
     * not depend on its tile. */
    size_t share = (params->rows + (size_t)backend->threads - 1) / (size_t)backend->threads;
    size_t step = smaller(ROWS, round_up(share, TILE_ROWS));
    size_t tiles = (params->rows + step - 1) / step;
#pragma omp parallel for schedule(dynamic) num_threads(backend->threads)
    for (size_t tile = 0; tile < tiles; tile++) {
        float *mine = scratch.threads + (size_t)omp_get_thread_num() * scratch.stride;
        float *x_tile = mine, *h_tile = x_tile + x_floats, *s = h_tile + h_floats;
        float *t = s + h_floats;
        size_t first = tile * step, rows = smaller(step, params->rows - first);
        size_t padded = round_up(rows, TILE_ROWS);
        copy_padded(x + first * features, rows, features, padded, p.features, x_tile);
        memset(s, 0, padded * p.outputs * sizeof *s);
        for (size_t row = 0; row < padded; row++)
            for (size_t n = 0; n < p.outputs; n++)
                h_tile[row * p.outputs + n] = n < outputs ? 1.0f / (float)outputs : 0.0f;
        iterate_tile(&p, padded, x_tile, h_tile, s, t);
        for (size_t row = 0; row < rows; row++)
            memcpy(h + (first + row) * outputs, h_tile + row * p.outputs, outputs * sizeof *h);
    }
}

/* A tile of rows of the backward rule, which processes it one panel of features at a time. */
typedef struct BackwardTile {
    size_t rows;     /* a multiple of TILE_ROWS */
    size_t lanes;    /* outputs, padded to OUTER_ROWS */
    float *x;        /* (rows, features): x, replaced panel by panel by dx */
    float *h, *back; /* (rows, lanes): h and h dh */
    float *a, *b;    /* (rows, PANEL): dw += back^T a + h^T b */
} BackwardTile;

/* Computes r = h w and u = (h dh) w for TILE_ROWS rows of one panel, and from them dx, a and b. */
INLINE void backward_rows(int vectors, const Problem *p, const BackwardTile *tile, size_t row,
                          size_t column)
{
    size_t depth = (size_t)p->params->outputs;
    const float *panel = p->for_r + column * depth;
    LocalLearning local = p->params->local_learning;
    float *a = tile->a + row * PANEL, *b = tile->b + row * PANEL;
    float *x = tile->x + row * p->features + column;
    Vector r[TILE_ROWS][2];

#pragma GCC unroll 12
    for (int i = 0; i < TILE_ROWS; i++)
        r[i][0] = r[i][1] = (Vector){0};
    tile_multiply(vectors, depth, tile->h + row * tile->lanes, tile->lanes, panel, r);
    /* There are not enough registers for both products, so q is stored in place of x. */
#pragma GCC unroll 12
    for (int i = 0; i < TILE_ROWS; i++)
        for (int v = 0; v < vectors; v++) {
            size_t at = (size_t)i * PANEL + (size_t)v * VECTOR;
            float *to = x + (size_t)i * p->features + (size_t)v * VECTOR;
            Vector value = load(to), q = 1.0f / (r[i][v] + (float)EPSILON_R);
            store(to, q);
            store(a + at, value * q);
            if (local == LOCAL_MSE)
                store(b + at, 2.0f * (r[i][v] - value));
            r[i][v] = (Vector){0};
        }
    tile_multiply(vectors, depth, tile->back + row * tile->lanes, tile->lanes, panel, r);
#pragma GCC unroll 12
    for (int i = 0; i < TILE_ROWS; i++)
        for (int v = 0; v < vectors; v++) {
            size_t at = (size_t)i * PANEL + (size_t)v * VECTOR;
            float *to = x + (size_t)i * p->features + (size_t)v * VECTOR;
            Vector d = r[i][v] * load(to);
            store(to, d);
            if (local == LOCAL_NONE)
                store(b + at, -d * load(a + at));
            else if (local == LOCAL_KL)
                store(b + at, -load(a + at));
        }
}

/* Adds the tile's part of one panel to dw (tile->lanes, PANEL) and replaces x by dx. */
INLINE void backward_panel(int vectors, const Problem *p, const BackwardTile *tile, size_t column,
                           float *dw)
{
    for (size_t row = 0; row < tile->rows; row += TILE_ROWS)
        backward_rows(vectors, p, tile, row, column);
    for (size_t n = 0; n < tile->lanes; n += OUTER_ROWS) {
        Vector sum[OUTER_ROWS][2];
        load_tile(vectors, OUTER_ROWS, dw + n * PANEL, PANEL, sum);
        if (p->params->local_learning == LOCAL_NONE)
            outer_multiply(vectors, tile->rows, tile->back + n, tile->lanes, tile->a, PANEL, sum);
        outer_multiply(vectors, tile->rows, tile->h + n, tile->lanes, tile->b, PANEL, sum);
        store_tile(vectors, OUTER_ROWS, dw + n * PANEL, PANEL, sum);
    }
}

static void backward_tile(const Problem *p, const BackwardTile *tile, float *dw)
{
    for (size_t column = 0; column < p->features; column += PANEL)
        if (p->features - column >= PANEL)
            backward_panel(2, p, tile, column, dw + column * tile->lanes);
        else
            backward_panel(1, p, tile, column, dw + column * tile->lanes);
}

/* Sums parts (chunks, panels, lanes, PANEL) over the chunks into dw (outputs, features). */
static void sum_parts(const Backend *backend, const NnmfParams *params, const float *parts,
                      int chunks, size_t lanes, size_t part_floats, float *dw)
{
    size_t features = (size_t)params->features, outputs = (size_t)params->outputs;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t column = 0; column < features; column += PANEL) {
        size_t width = smaller(PANEL, features - column);
        for (size_t n = 0; n < outputs; n++) {
            const float *part = parts + column * lanes + n * PANEL;
            float sum[PANEL] = {0};
            for (int chunk = 0; chunk < chunks; chunk++, part += part_floats)
                for (size_t k = 0; k < PANEL; k++)
                    sum[k] += part[k];
            memcpy(dw + n * features + column, sum, width * sizeof *sum);
        }
    }
}

/* Returns the rows of a chunk: whole tiles, so that few rows are padding. */
static size_t backward_chunk_rows(size_t rows)
{
    size_t chunks = (size_t)cpu_chunks(rows, CHUNK_ROWS);
    return round_up((rows + chunks - 1) / chunks, TILE_ROWS);
}

static void nnmf_backward(Backend *backend, const NnmfParams *params, const float *x,
                          const float *w, const float *h, const float *dh, float *dx, float *dw)
{
    Problem p = problem(params);
    size_t features = (size_t)params->features, outputs = (size_t)params->outputs;
    size_t lanes = round_up(outputs, OUTER_ROWS);
    size_t chunk_rows = backward_chunk_rows(params->rows);
    int chunks = (int)((params->rows + chunk_rows - 1) / chunk_rows);
    size_t part_floats = round_up(features, PANEL) * lanes;
    size_t x_floats = BACKWARD_ROWS * p.features, h_floats = BACKWARD_ROWS * lanes;
    Scratch scratch;
    if (!cpu_scratch(backend, packed_elements(&p) + (size_t)chunks * part_floats,
                     x_floats + 2 * h_floats + 2 * BACKWARD_ROWS * PANEL, &scratch))
        return;
    pack(&p, w, scratch.shared, NULL);
    float *parts = scratch.shared + packed_elements(&p);

#pragma omp parallel for schedule(dynamic) num_threads(backend->threads)
    for (int chunk = 0; chunk < chunks; chunk++) {
        BackwardTile tile = {.lanes = lanes};
        tile.x = scratch.threads + (size_t)omp_get_thread_num() * scratch.stride;
        tile.h = tile.x + x_floats;
        tile.back = tile.h + h_floats;
        tile.a = tile.back + h_floats;
        tile.b = tile.a + BACKWARD_ROWS * PANEL;
        float *part = parts + (size_t)chunk * part_floats;
        memset(part, 0, part_floats * sizeof *part);
        size_t begin = (size_t)chunk * chunk_rows, end = smaller(begin + chunk_rows, params->rows);
        for (size_t first = begin; first < end; first += BACKWARD_ROWS) {
            size_t rows = smaller(BACKWARD_ROWS, end - first);
            tile.rows = round_up(rows, TILE_ROWS);
            copy_padded(x + first * features, rows, features, tile.rows, p.features, tile.x);
            copy_padded(h + first * outputs, rows, outputs, tile.rows, lanes, tile.h);
            copy_padded(dh + first * outputs, rows, outputs, tile.rows, lanes, tile.back);
            for (size_t i = 0; i < tile.rows * lanes; i++)
                tile.back[i] *= tile.h[i];
            backward_tile(&p, &tile, part);
            for (size_t row = 0; dx && row < rows; row++)
                memcpy(dx + (first + row) * features, tile.x + row * p.features,
                       features * sizeof *dx);
        }
    }
    sum_parts(backend, params, parts, chunks, lanes, part_floats, dw);
}

void CPU_NAME(cpu_nnmf_table)(Operations *table)
{
    table->nnmf_forward = nnmf_forward;
    table->nnmf_backward = nnmf_backward;
}
