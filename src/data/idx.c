/* IDX, the format of MNIST: a magic number, big-endian sizes, then the elements in C order. */
#include "data/dataset.h"

enum { WORD = 4, UNSIGNED_BYTES = 8 };

static size_t big_endian(const uint8_t *word)
{
    return (size_t)word[0] << 24 | (size_t)word[1] << 16 | (size_t)word[2] << 8 | word[3];
}

bool idx_decode(const uint8_t *bytes, size_t size, const char *name, int rank, size_t *dimensions,
                const uint8_t **data, Error *error)
{
    if (size < WORD)
        return fail(error, "truncated IDX file: %s: %zu bytes, expected a header", name, size);
    if (bytes[0] != 0 || bytes[1] != 0 || bytes[2] != UNSIGNED_BYTES || bytes[3] != rank)
        return fail(error,
                    "not the expected IDX file: %s: magic number 0x%08zx, expected 0x%08x "
                    "(unsigned bytes, rank %d)",
                    name, big_endian(bytes), (unsigned)(UNSIGNED_BYTES << 8 | rank), rank);
    size_t header = WORD * (1 + (size_t)rank);
    if (size < header)
        return fail(error, "truncated IDX file: %s: %zu bytes, expected a header of %zu", name,
                    size, header);
    size_t elements = 1;
    for (int i = 0; i < rank; i++) {
        dimensions[i] = big_endian(bytes + WORD * (1 + i));
        if (dimensions[i] == 0)
            return fail(error, "bad IDX header: %s: dimension %d is 0, expected at least 1", name,
                        i);
        if (__builtin_mul_overflow(elements, dimensions[i], &elements))
            return fail(error, "bad IDX header: %s: its dimensions overflow, expected %zu elements",
                        name, size - header);
    }
    if (elements != size - header)
        return fail(error, "wrong size: %s: %zu elements after the IDX header, expected %zu", name,
                    size - header, elements);
    *data = bytes + header;
    return true;
}
