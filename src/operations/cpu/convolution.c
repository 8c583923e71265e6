/* 1x1 convolutions: matrix products on padded tiles of rows. */
#include "operations/cpu/cpu.h"
#include "operations/cpu/tile.h"

#include <omp.h>

enum { ROWS = 48, CHUNK_ROWS = 2 * ROWS };

/* Returns a tile of rows in place, or a padded copy if it needs padding. */
static const float *in_tile(const float *from, size_t rows, size_t columns, size_t padded_rows,
                            size_t stride, float *copy)
{
    if (rows == padded_rows && columns == stride)
        return from;
    copy_padded(from, rows, columns, padded_rows, stride, copy);
    return copy;
}

static void convolution_forward(Backend *backend, const ConvolutionShape *s, const float *in,
                                const float *weight, const float *bias, float *out)
{
    size_t width = (size_t)s->in, outputs = (size_t)s->out;
    size_t padded_outputs = round_up(outputs, VECTOR);
    Scratch scratch;
    if (!cpu_scratch(backend, width * padded_outputs, ROWS * (width + padded_outputs), &scratch))
        return;
    pack_panels(weight, width, outputs, 1, width, width, scratch.shared);

    size_t tiles = (s->rows + ROWS - 1) / ROWS;
#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (size_t tile = 0; tile < tiles; tile++) {
        float *mine = scratch.threads + (size_t)omp_get_thread_num() * scratch.stride;
        size_t first = tile * ROWS, rows = smaller(ROWS, s->rows - first);
        size_t padded = round_up(rows, TILE_ROWS);
        const float *a = in_tile(in + first * width, rows, width, padded, width, mine);
        bool in_place = rows == padded && outputs == padded_outputs;
        float *c = in_place ? out + first * outputs : mine + ROWS * width;
        for (size_t row = 0; row < padded; row++)
            copy_padded(bias, bias ? 1 : 0, outputs, 1, padded_outputs, c + row * padded_outputs);
        multiply_tiles(padded, padded_outputs, width, a, width, scratch.shared, width, 0, c,
                       padded_outputs);
        for (size_t row = 0; !in_place && row < rows; row++)
            memcpy(out + (first + row) * outputs, c + row * padded_outputs, outputs * sizeof *out);
    }
}

static void convolution_backward(Backend *backend, const ConvolutionShape *s, const float *in,
                                 const float *weight, const float *dout, float *din, float *dweight,
                                 float *dbias)
{
    size_t width = (size_t)s->in, outputs = (size_t)s->out;
    size_t padded_width = round_up(width, VECTOR);
    size_t outer_rows = round_up(outputs, OUTER_ROWS);
    int chunks = cpu_chunks(s->rows, CHUNK_ROWS);
    size_t packed = outputs * padded_width, part_floats = outer_rows * padded_width;
    size_t bias_floats = outputs * (sizeof(double) / sizeof(float));
    Scratch scratch;
    if (!cpu_scratch(backend, packed + (size_t)chunks * (part_floats + bias_floats) + 1,
                     ROWS * (outer_rows + 2 * padded_width), &scratch))
        return;
    pack_panels(weight, outputs, width, width, 1, outputs, scratch.shared);
    /* The gradient of the bias is often zero except for rounding, so dout is summed in double. */
    double *bias_parts = (double *)(scratch.shared + round_up(packed, 2));
    float *parts = (float *)(bias_parts + (size_t)chunks * outputs);

#pragma omp parallel for schedule(static) num_threads(backend->threads)
    for (int chunk = 0; chunk < chunks; chunk++) {
        float *a_copy = scratch.threads + (size_t)omp_get_thread_num() * scratch.stride;
        float *b_copy = a_copy + ROWS * outer_rows, *c_copy = b_copy + ROWS * padded_width;
        float *part = parts + (size_t)chunk * part_floats;
        double *bias_part = bias_parts + (size_t)chunk * outputs;
        memset(part, 0, part_floats * sizeof *part);
        memset(bias_part, 0, outputs * sizeof *bias_part);
        size_t end = cpu_chunk_begin(s->rows, chunks, chunk + 1);
        for (size_t first = cpu_chunk_begin(s->rows, chunks, chunk); first < end; first += ROWS) {
            size_t rows = smaller(ROWS, end - first), padded = round_up(rows, TILE_ROWS);
            const float *a =
                in_tile(dout + first * outputs, rows, outputs, padded, outer_rows, a_copy);
            const float *b = in_tile(in + first * width, rows, width, padded, padded_width, b_copy);
            bool in_place = rows == padded && width == padded_width;
            float *c = in_place && din ? din + first * width : c_copy;
            if (din) {
                memset(c, 0, padded * padded_width * sizeof *c);
                multiply_tiles(padded, padded_width, outputs, a, outer_rows, scratch.shared,
                               outputs, 0, c, padded_width);
            }
            outer_tiles(outer_rows, padded_width, rows, a, outer_rows, b, padded_width, part,
                        padded_width);
            for (size_t row = 0; row < rows; row++) {
                if (din && !in_place)
                    memcpy(din + (first + row) * width, c + row * padded_width,
                           width * sizeof *din);
                for (size_t o = 0; dbias && o < outputs; o++)
                    bias_part[o] += a[row * outer_rows + o];
            }
        }
    }
    sum_chunks(backend, parts, chunks, outputs, width, part_floats, padded_width, dweight);
    for (size_t o = 0; dbias && o < outputs; o++) {
        double sum = 0.0;
        for (int chunk = 0; chunk < chunks; chunk++)
            sum += bias_parts[(size_t)chunk * outputs + o];
        dbias[o] = (float)sum;
    }
}

void CPU_NAME(cpu_convolution_table)(Operations *table)
{
    table->convolution_forward = convolution_forward;
    table->convolution_backward = convolution_backward;
}
