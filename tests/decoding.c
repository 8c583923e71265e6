#include "decoding.h"

#include "nnmf/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

uint8_t *gzip(const uint8_t *bytes, size_t size, size_t *packed_size)
{
    z_stream stream = {0};
    assert_int_equal(
        deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
        Z_OK);
    size_t capacity = deflateBound(&stream, size);
    uint8_t *packed = malloc(capacity);
    assert_non_null(packed);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (unsigned)size;
    stream.next_out = packed;
    stream.avail_out = (unsigned)capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    *packed_size = stream.total_out;
    deflateEnd(&stream);
    return packed;
}

uint8_t *copy(const uint8_t *bytes, size_t size)
{
    Error error = {0};
    uint8_t *result = memory_allocate(size, 1, "copy", &error);
    assert_non_null(result);
    memcpy(result, bytes, size);
    return result;
}

uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

void assert_failed(bool result, const Error *error, const char *part)
{
    assert_false(result);
    assert_int_equal(error->status, STATUS_FAILED);
    if (!strstr(error->text, part))
        fail_msg("the error '%s' does not contain '%s'", error->text, part);
}
