#include "formats/npy.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_npy.XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    Error error = {0};
    return file_join(path, sizeof path, folder, "matrix.npy", &error) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if a temporary file was left behind */
}

static void assert_written(const float *data, size_t rows, size_t columns, const char *dictionary)
{
    Error error = {0};
    assert_true(npy_write_f32(path, data, rows, columns, &error));
    uint8_t *bytes;
    size_t size;
    assert_true(file_read(path, 4096, &bytes, &size, &error));
    assert_true(size > 10);
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
    size_t start = 10 + bytes[8] + 256u * bytes[9];
    assert_int_equal(start % 64, 0);
    assert_int_equal(size, start + rows * columns * sizeof *data);
    size_t length = strlen(dictionary);
    assert_memory_equal(bytes + 10, dictionary, length);
    for (size_t i = 10 + length; i < start - 1; i++)
        assert_int_equal(bytes[i], ' ');
    assert_int_equal(bytes[start - 1], '\n');
    if (rows * columns > 0)
        assert_memory_equal(bytes + start, data, rows * columns * sizeof *data);
    memory_free(bytes);
}

static void a_matrix_is_written_as_numpy_does(void **state)
{
    (void)state;
    static const float data[6] = {1, -2, 0.5f, 4, 5, 1e30f};
    assert_written(data, 2, 3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    assert_written(data, 1, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }");
}

static void an_empty_matrix_has_only_a_header(void **state)
{
    (void)state;
    assert_written(NULL, 0, 7, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 7), }");
    assert_written(NULL, SIZE_MAX, 0,
                   "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 0), "
                   "}");
}

static void sizes_beyond_the_address_space_are_refused(void **state)
{
    (void)state;
    Error error = {0};
    assert_false(npy_write_f32(path, NULL, SIZE_MAX, 2, &error));
    assert_non_null(strstr(error.text, "exceed the address space"));
    error = (Error){0};
    assert_false(npy_write_f32(path, NULL, SIZE_MAX / 2, 1, &error));
    assert_int_equal(error.status, STATUS_FAILED);
}

static void an_unwritable_path_is_an_error(void **state)
{
    (void)state;
    float value = 1;
    Error error = {0};
    assert_false(npy_write_f32("/dev/null/matrix.npy", &value, 1, 1, &error));
    assert_string_equal(error.text, "cannot write: /dev/null/matrix.npy: Not a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_matrix_is_written_as_numpy_does),
        cmocka_unit_test(an_empty_matrix_has_only_a_header),
        cmocka_unit_test(sizes_beyond_the_address_space_are_refused),
        cmocka_unit_test(an_unwritable_path_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
