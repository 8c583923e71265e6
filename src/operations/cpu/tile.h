/*
 * Register tiles of matrix products, with the vectors of the instruction set that this is compiled
 * for (GCC and Clang vector extensions). A tile is TILE_ROWS rows by one panel of columns, and
 * stays in registers through the whole depth of a product. A panel is two vectors wide, or one at
 * the right edge of a matrix. Right factors are packed panel after panel, each (depth, width).
 */
#ifndef NNMF_TILE_H
#define NNMF_TILE_H

#include "operations/cpu/cpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if defined __AVX512F__
enum { VECTOR = 16, TILE_ROWS = 12, OUTER_ROWS = 8 };
#elif defined __AVX2__
enum { VECTOR = 8, TILE_ROWS = 6, OUTER_ROWS = 4 };
#else
enum { VECTOR = 4, TILE_ROWS = 6, OUTER_ROWS = 4 };
#endif

enum { PANEL = 2 * VECTOR };

typedef float Vector __attribute__((vector_size(VECTOR * sizeof(float))));
typedef float Quad __attribute__((vector_size(4 * sizeof(float))));
typedef float LooseVector
    __attribute__((vector_size(VECTOR * sizeof(float)), aligned(sizeof(float)), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE Vector load(const float *from)
{
    return *(const LooseVector *)from;
}

INLINE void store(float *to, Vector value)
{
    *(LooseVector *)to = value;
}

INLINE Vector broadcast(float value)
{
    return value - (Vector){0};
}

/* Adds halves, which keeps the chain of dependent additions short. */
INLINE float vector_sum(Vector value)
{
    enum { QUADS = VECTOR / 4 };
    union {
        Vector all;
        Quad quads[QUADS];
    } parts = {value};
    for (int step = QUADS / 2; step > 0; step /= 2)
        for (int i = 0; i < step; i++)
            parts.quads[i] += parts.quads[i + step];
    Quad sum = parts.quads[0];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

static inline size_t round_up(size_t value, size_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* c += a b over `depth`. a: TILE_ROWS rows, `stride` floats apart; b: a packed panel of `vectors`
 * vectors. */
INLINE void tile_multiply(int vectors, size_t depth, const float *a, size_t stride, const float *b,
                          Vector c[TILE_ROWS][2])
{
    for (size_t d = 0; d < depth; d++, b += vectors * VECTOR) {
        Vector b0 = load(b), b1 = vectors == 2 ? load(b + VECTOR) : b0;
#pragma GCC unroll 12
        for (int r = 0; r < TILE_ROWS; r++) {
            Vector value = broadcast(a[(size_t)r * stride + d]);
            c[r][0] += value * b0;
            if (vectors == 2)
                c[r][1] += value * b1;
        }
    }
}

INLINE void load_tile(int vectors, int rows, const float *from, size_t stride, Vector c[][2])
{
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            c[r][v] = load(from + (size_t)r * stride + v * VECTOR);
}

INLINE void store_tile(int vectors, int rows, float *to, size_t stride, Vector c[][2])
{
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            store(to + (size_t)r * stride + v * VECTOR, c[r][v]);
}

INLINE void add_product(int vectors, size_t depth, const float *a, size_t a_stride,
                        const float *panel, float *c, size_t c_stride)
{
    Vector sum[TILE_ROWS][2];
    load_tile(vectors, TILE_ROWS, c, c_stride, sum);
    tile_multiply(vectors, depth, a, a_stride, panel, sum);
    store_tile(vectors, TILE_ROWS, c, c_stride, sum);
}

/* c (rows, columns) += a (rows, depth) b. rows is a multiple of TILE_ROWS, columns of VECTOR. b is
 * packed with `packed_depth` rows; this product uses those from `first`. */
INLINE void multiply_tiles(size_t rows, size_t columns, size_t depth, const float *a,
                           size_t a_stride, const float *b, size_t packed_depth, size_t first,
                           float *c, size_t c_stride)
{
    for (size_t column = 0; column < columns; column += PANEL) {
        bool full = columns - column >= PANEL;
        const float *panel = b + column * packed_depth + first * (full ? PANEL : VECTOR);
        for (size_t row = 0; row < rows; row += TILE_ROWS) {
            const float *a_tile = a + row * a_stride;
            float *c_tile = c + row * c_stride + column;
            if (full)
                add_product(2, depth, a_tile, a_stride, panel, c_tile, c_stride);
            else
                add_product(1, depth, a_tile, a_stride, panel, c_tile, c_stride);
        }
    }
}

/* c += a^T b over `depth` rows, for OUTER_ROWS columns of a and `vectors` vectors of b. */
INLINE void outer_multiply(int vectors, size_t depth, const float *a, size_t a_stride,
                           const float *b, size_t b_stride, Vector c[OUTER_ROWS][2])
{
    for (size_t d = 0; d < depth; d++, a += a_stride, b += b_stride) {
        Vector b0 = load(b), b1 = vectors == 2 ? load(b + VECTOR) : b0;
#pragma GCC unroll 8
        for (int r = 0; r < OUTER_ROWS; r++) {
            Vector value = broadcast(a[r]);
            c[r][0] += value * b0;
            if (vectors == 2)
                c[r][1] += value * b1;
        }
    }
}

INLINE void add_outer(int vectors, size_t depth, const float *a, size_t a_stride, const float *b,
                      size_t b_stride, float *c, size_t c_stride)
{
    Vector sum[OUTER_ROWS][2];
    load_tile(vectors, OUTER_ROWS, c, c_stride, sum);
    outer_multiply(vectors, depth, a, a_stride, b, b_stride, sum);
    store_tile(vectors, OUTER_ROWS, c, c_stride, sum);
}

/* c (rows, columns) += a^T b with a (depth, rows), b (depth, columns). rows is a multiple of
 * OUTER_ROWS, columns of VECTOR. */
INLINE void outer_tiles(size_t rows, size_t columns, size_t depth, const float *a, size_t a_stride,
                        const float *b, size_t b_stride, float *c, size_t c_stride)
{
    for (size_t column = 0; column < columns; column += PANEL)
        for (size_t row = 0; row < rows; row += OUTER_ROWS) {
            float *c_tile = c + row * c_stride + column;
            if (columns - column >= PANEL)
                add_outer(2, depth, a + row, a_stride, b + column, b_stride, c_tile, c_stride);
            else
                add_outer(1, depth, a + row, a_stride, b + column, b_stride, c_tile, c_stride);
        }
}

/* Packs b (depth, columns), whose element (d, column) is b[d * down + column * right], into panels
 * of `packed_depth` rows, with zeros beyond depth and columns. `packed` has packed_depth *
 * round_up(columns, VECTOR) floats. */
static inline void pack_panels(const float *b, size_t depth, size_t columns, size_t down,
                               size_t right, size_t packed_depth, float *packed)
{
    size_t padded = round_up(columns, VECTOR);
    for (size_t column = 0; column < padded; column += PANEL) {
        size_t width = smaller(PANEL, padded - column);
        for (size_t d = 0; d < packed_depth; d++)
            for (size_t j = 0; j < width; j++)
                *packed++ =
                    d < depth && column + j < columns ? b[d * down + (column + j) * right] : 0.0f;
    }
}

/* Copies `rows` rows of `columns` floats into rows of `stride` floats, and fills the rest of these
 * and the rows up to `padded_rows` with zeros. */
static inline void copy_padded(const float *from, size_t rows, size_t columns, size_t padded_rows,
                               size_t stride, float *to)
{
    for (size_t row = 0; row < rows; row++, to += stride) {
        memcpy(to, from + row * columns, columns * sizeof *to);
        memset(to + columns, 0, (stride - columns) * sizeof *to);
    }
    memset(to, 0, (padded_rows - rows) * stride * sizeof *to);
}

/* Sums parts (chunks, rows, columns), `chunk_stride` and `row_stride` floats apart, over the chunks
 * into to (rows, columns). */
static inline void sum_chunks(const Backend *backend, const float *parts, int chunks, size_t rows,
                              size_t columns, size_t chunk_stride, size_t row_stride, float *to)
{
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t row = 0; row < rows; row++) {
        float *sum = to + row * columns;
        memcpy(sum, parts + row * row_stride, columns * sizeof *sum);
        for (int chunk = 1; chunk < chunks; chunk++) {
            const float *part = parts + (size_t)chunk * chunk_stride + row * row_stride;
            for (size_t column = 0; column < columns; column++)
                sum[column] += part[column];
        }
    }
}

#endif
