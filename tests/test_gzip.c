/* Unpacking gzip: any size, any damage. */
#include "data/dataset.h"
#include "decoding.h"
#include "nnmf/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void test_gzip_plain(void **state)
{
    (void)state;
    uint8_t *bytes = copy((const uint8_t *)"plain", 5), *before = bytes;
    size_t size = 5;
    Error error = {0};
    assert_true(gzip_decode(&bytes, &size, 5, "x", &error));
    assert_ptr_equal(bytes, before);
    assert_int_equal(size, 5);
    assert_failed(gzip_decode(&bytes, &size, 4, "x", &error), &error,
                  "too large: x: 5 bytes, expected at most 4");
    assert_null(bytes);
    assert_int_equal(size, 0);
    bytes = copy((const uint8_t *)"\x1f", 1);
    size = 1;
    assert_true(gzip_decode(&bytes, &size, 5, "x", &error));
    assert_int_equal(size, 1);
    memory_free(bytes);
}

static void check_gzip_of(size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern(i);
    size_t packed_size;
    uint8_t *packed = gzip(bytes, size, &packed_size);
    const size_t limits[] = {size, size + 1, SIZE_MAX - 1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        uint8_t *result = copy(packed, packed_size);
        size_t result_size = packed_size;
        Error error = {0};
        if (!gzip_decode(&result, &result_size, limits[i], "x", &error))
            fail_msg("%s", error.text);
        assert_int_equal(result_size, size);
        assert_memory_equal(result, bytes, size);
        memory_free(result);
    }
    if (size > 0) {
        uint8_t *result = copy(packed, packed_size);
        size_t result_size = packed_size;
        Error error = {0};
        assert_failed(gzip_decode(&result, &result_size, size - 1, "x", &error), &error,
                      "too large: x: unpacks to more than the expected ");
        assert_null(result);
    }
    free(packed);
    free(bytes);
}

/* Around the initial capacity of 65536 bytes and twice that. */
static void test_gzip_sizes(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 1000, 65535, 65536, 65537, 131072, 131073, 500000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_gzip_of(sizes[i]);
}

static void assert_gzip_fails(const uint8_t *packed, size_t packed_size, const char *part)
{
    uint8_t *bytes = copy(packed, packed_size);
    size_t size = packed_size;
    Error error = {0};
    assert_failed(gzip_decode(&bytes, &size, 1 << 20, "x.gz", &error), &error, part);
    assert_null(bytes);
    assert_int_equal(size, 0);
}

static void test_gzip_damaged(void **state)
{
    (void)state;
    uint8_t content[2000];
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = pattern(i * i);
    size_t size;
    uint8_t *packed = gzip(content, sizeof content, &size);
    for (size_t less = 2; less < size; less++)
        assert_gzip_fails(packed, less, "truncated gzip file: x.gz: ");
    packed[size - 8] ^= 1;
    assert_gzip_fails(packed, size, "corrupt gzip file: x.gz: incorrect data check");
    packed[size - 8] ^= 1;
    packed[size - 1] ^= 1;
    assert_gzip_fails(packed, size, "corrupt gzip file: x.gz: incorrect length check");
    packed[size - 1] ^= 1;
    packed[2] ^= 1;
    assert_gzip_fails(packed, size, "corrupt gzip file: x.gz: unknown compression method");
    packed[2] ^= 1;
    uint8_t *longer = malloc(2 * size);
    assert_non_null(longer);
    memcpy(longer, packed, size);
    memcpy(longer + size, packed, size);
    assert_gzip_fails(longer, size + 1, "corrupt gzip file: x.gz: 1 bytes after its end");
    assert_gzip_fails(longer, 2 * size, "after its end, expected none");
    free(longer);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip_plain),
        cmocka_unit_test(test_gzip_sizes),
        cmocka_unit_test(test_gzip_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
