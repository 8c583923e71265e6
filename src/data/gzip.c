/* Inflates a gzip file in memory. The length it states is not trusted, so the output grows. */
#include "data/dataset.h"
#include "nnmf/memory.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

enum { GZIP_ONLY = 16 + MAX_WBITS, FIRST_CAPACITY = 1 << 16 };

typedef struct Output {
    uint8_t *bytes;
    size_t count, capacity;
} Output;

/* zlib's own memory is from memory_allocate() too, so that tests can make it fail. */
static void *allocate_for_zlib(void *error, unsigned count, unsigned size)
{
    return memory_allocate(count, size, "gzip decoder", error);
}

static void free_for_zlib(void *error, void *pointer)
{
    (void)error;
    memory_free(pointer);
}

/* Doubles the capacity, up to `max` bytes. */
static bool grow(Output *output, size_t max, const char *name, Error *error)
{
    size_t capacity = output->capacity < max / 2 ? output->capacity * 2 : max;
    if (output->capacity == 0)
        capacity = max < FIRST_CAPACITY ? max : FIRST_CAPACITY;
    uint8_t *bytes = memory_allocate(capacity, 1, name, error);
    if (!bytes)
        return false;
    if (output->count > 0)
        memcpy(bytes, output->bytes, output->count);
    memory_free(output->bytes);
    output->bytes = bytes;
    output->capacity = capacity;
    return true;
}

static unsigned to_unsigned(size_t count)
{
    return count < UINT_MAX ? (unsigned)count : UINT_MAX;
}

/* Inflates one gzip member, which must take all `size` bytes. */
static bool inflate_all(z_stream *stream, uint8_t *bytes, size_t size, Output *output, size_t limit,
                        const char *name, Error *error)
{
    /* One byte above the limit distinguishes "too large" from "exactly full". */
    size_t max = limit < SIZE_MAX ? limit + 1 : limit;
    size_t used = 0;
    int status = Z_OK;
    while (status != Z_STREAM_END) {
        if (output->count == output->capacity && !grow(output, max, name, error))
            return false;
        unsigned input = to_unsigned(size - used);
        unsigned space = to_unsigned(output->capacity - output->count);
        stream->next_in = bytes + used;
        stream->avail_in = input;
        stream->next_out = output->bytes + output->count;
        stream->avail_out = space;
        status = inflate(stream, Z_NO_FLUSH);
        used += input - stream->avail_in;
        output->count += space - stream->avail_out;
        if (output->count > limit)
            return fail(error, "too large: %s: unpacks to more than the expected %zu bytes", name,
                        limit);
        if (status == Z_MEM_ERROR)
            return false; /* allocate_for_zlib set the error */
        if (status == Z_BUF_ERROR || (status == Z_OK && used == size && stream->avail_out > 0))
            return fail(error, "truncated gzip file: %s: %zu bytes, expected more", name, size);
        if (status != Z_OK && status != Z_STREAM_END)
            return fail(error, "corrupt gzip file: %s: %s, expected intact gzip data", name,
                        stream->msg ? stream->msg : "zlib rejects it");
    }
    if (used != size)
        return fail(error, "corrupt gzip file: %s: %zu bytes after its end, expected none", name,
                    size - used);
    return true;
}

static bool unpack(uint8_t *bytes, size_t size, size_t limit, const char *name, Output *output,
                   Error *error)
{
    z_stream stream = {
        .zalloc = allocate_for_zlib, .zfree = free_for_zlib, .opaque = error, .next_in = bytes};
    int status = inflateInit2(&stream, GZIP_ONLY);
    if (status == Z_MEM_ERROR)
        return false;
    if (status != Z_OK)
        return fail(error, "cannot unpack: %s: zlib %s, expected one compatible with " ZLIB_VERSION,
                    name, zlibVersion());
    bool good = inflate_all(&stream, bytes, size, output, limit, name, error);
    inflateEnd(&stream);
    return good;
}

bool gzip_decode(uint8_t **bytes, size_t *size, size_t limit, const char *name, Error *error)
{
    bool packed = *size >= 2 && (*bytes)[0] == 0x1f && (*bytes)[1] == 0x8b;
    if (!packed && *size <= limit)
        return true;
    Output output = {NULL, 0, 0};
    bool good =
        packed ? unpack(*bytes, *size, limit, name, &output, error)
               : fail(error, "too large: %s: %zu bytes, expected at most %zu", name, *size, limit);
    memory_free(*bytes);
    if (!good) {
        memory_free(output.bytes);
        output = (Output){NULL, 0, 0};
    }
    *bytes = output.bytes;
    *size = output.count;
    return good;
}
