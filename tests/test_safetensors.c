#include "formats/safetensors.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_safetensors.XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    Error error = {0};
    return file_join(path, sizeof path, folder, "a.safetensors", &error) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if a temporary file was left behind */
}

/* Makes a file in memory from memory_allocate(): `length` as header size, header, data. */
static uint8_t *make_bytes(uint64_t length, const char *header, size_t header_size,
                           const void *data, size_t data_size)
{
    Error error = {0};
    uint8_t *bytes = memory_allocate(8 + header_size + data_size, 1, "test", &error);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> 8 * i);
    memcpy(bytes + 8, header, header_size);
    if (data_size > 0)
        memcpy(bytes + 8 + header_size, data, data_size);
    return bytes;
}

static bool decode(const char *header, const void *data, size_t data_size, TensorFile *file,
                   Error *error)
{
    size_t size = strlen(header);
    return safetensors_decode(make_bytes(size, header, size, data, data_size), 8 + size + data_size,
                              "x", file, error);
}

static void assert_refused(uint8_t *bytes, size_t size, const char *text)
{
    TensorFile file;
    Error error = {0};
    assert_false(safetensors_decode(bytes, size, "x", &file, &error));
    assert_int_equal(error.status, STATUS_FAILED);
    if (!strstr(error.text, text))
        fail_msg("got \"%s\", expected \"%s\"", error.text, text);
    assert_null(file.buffer);
    assert_null(file.tensors);
    assert_null(file.metadata);
    tensor_file_free(&file);
}

static void assert_same(const Tensor *actual, const Tensor *expected)
{
    assert_non_null(actual);
    assert_string_equal(actual->name, expected->name);
    assert_int_equal(actual->type, expected->type);
    assert_int_equal(actual->rank, expected->rank);
    assert_memory_equal(actual->shape, expected->shape, sizeof actual->shape);
    assert_int_equal(actual->elements, expected->elements);
    assert_int_equal((uintptr_t)actual->data % 8, 0);
}

static double doubles[2] = {1.5, -2.5};
static int64_t integers[3] = {INT64_MIN, 0, INT64_MAX};
static float floats[6] = {1, 2, 3, -4, 5e-30f, 6e30f};
static uint8_t octets[5] = {0, 1, 127, 128, 255};
static Tensor examples[] = {
    {.name = (char[]){"double"}, TENSOR_F64, 1, {2}, 2, doubles},
    {.name = (char[]){"integer"}, TENSOR_I64, 2, {1, 3}, 3, integers},
    {.name = (char[]){"empty"}, TENSOR_I64, 2, {0, 3}, 0, NULL},
    {.name = (char[]){"4.weight"}, TENSOR_F32, 2, {2, 3}, 6, floats},
    {.name = (char[]){"scalar"}, TENSOR_F32, 0, {0}, 1, floats},
    {.name = (char[]){"\"\\\n\u00e9"}, TENSOR_U8, 8, {1, 1, 5, 1, 1, 1, 1, 1}, 5, octets},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };
static const char *const metadata[] = {"epoch", "17", "note", "\"quoted\" \u00fc", "empty", ""};

static void a_written_file_is_read_back(void **state)
{
    (void)state;
    static const size_t sizes[TENSOR_TYPES] = {4, 8, 8, 1};
    Error error = {0};
    TensorFile file;
    assert_true(safetensors_write(path, examples, EXAMPLES, metadata, 3, &error));
    assert_true(safetensors_read(path, &file, &error));
    assert_int_equal(error.status, STATUS_OK);
    assert_int_equal(file.tensor_count, EXAMPLES);
    for (size_t i = 0; i < EXAMPLES; i++) {
        const Tensor *read = tensor_file_find(&file, examples[i].name);
        assert_same(read, &examples[i]);
        if (read->elements > 0)
            assert_memory_equal(read->data, examples[i].data, read->elements * sizes[read->type]);
    }
    assert_null(tensor_file_find(&file, "none"));
    assert_int_equal(file.metadata_count, 3);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(file.metadata[i], metadata[i]);
    assert_string_equal(tensor_file_metadata(&file, "epoch"), "17");
    assert_string_equal(tensor_file_metadata(&file, "empty"), "");
    assert_null(tensor_file_metadata(&file, "17"));
    tensor_file_free(&file);
}

static void the_bytes_written_are_the_expected_ones(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"epoch\":\"17\"},\"double\":{\"dtype\":\"F64\",\"shape\":[2],"
        "\"data_offsets\":[0,16]}}      ";
    enum { HEADER = 96 };
    uint8_t *expected = make_bytes(HEADER, header, HEADER, doubles, sizeof doubles);
    Error error = {0};
    uint8_t *bytes;
    size_t size;
    assert_true(safetensors_write(path, examples, 1, metadata, 1, &error));
    assert_true(file_read(path, 1000, &bytes, &size, &error));
    assert_int_equal(size, 8 + HEADER + sizeof doubles);
    assert_memory_equal(bytes, expected, size);
    memory_free(bytes);
    memory_free(expected);
}

static void a_file_without_tensors_is_fine(void **state)
{
    (void)state;
    Error error = {0};
    TensorFile file;
    assert_true(safetensors_write(path, NULL, 0, NULL, 0, &error));
    assert_true(safetensors_read(path, &file, &error));
    assert_int_equal(file.tensor_count, 0);
    assert_int_equal(file.metadata_count, 0);
    assert_null(tensor_file_find(&file, ""));
    tensor_file_free(&file);
    tensor_file_free(&file);
    assert_true(decode("{\"__metadata__\":{}}   ", NULL, 0, &file, &error));
    assert_int_equal(file.metadata_count, 0);
    tensor_file_free(&file);
}

/* Every alignment of the data, with tensors of odd sizes before wider ones. */
static void data_are_aligned_in_any_file(void **state)
{
    (void)state;
    static const char header[] =
        "{\"d\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[8,24]},"
        "\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[24,24]},"
        "\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[7,8]},"
        "\"f\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[24,25]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[3,7]}}";
    uint8_t data[25] = {1, 2, 3, [7] = 9, [24] = 8};
    memcpy(data + 3, floats + 5, sizeof *floats);
    memcpy(data + 8, doubles, sizeof doubles);
    for (int padding = 0; padding < 8; padding++) {
        char padded[sizeof header + 8];
        snprintf(padded, sizeof padded, "%s%*s", header, padding, "");
        Error error = {0};
        TensorFile file;
        assert_true(decode(padded, data, sizeof data, &file, &error));
        assert_int_equal(file.tensor_count, 6);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(file.tensors[i].name[0], 'a' + i);
            assert_int_equal((uintptr_t)file.tensors[i].data % 8, 0);
        }
        assert_memory_equal(file.tensors[0].data, data, 3);
        assert_memory_equal(file.tensors[1].data, floats + 5, sizeof *floats);
        assert_int_equal(*(uint8_t *)file.tensors[2].data, 9);
        assert_memory_equal(file.tensors[3].data, doubles, sizeof doubles);
        assert_int_equal(file.tensors[4].elements, 0);
        assert_int_equal(*(uint8_t *)file.tensors[5].data, 8);
        tensor_file_free(&file);
    }
}

/* The shortest entries possible, whose 1-byte data need the most padding. */
static void many_small_tensors_keep_their_data(void **state)
{
    (void)state;
    enum { COUNT = 200, ENTRY = 64 };
    char header[COUNT * ENTRY] = "{";
    uint8_t data[COUNT];
    size_t length = 1;
    for (int i = 0; i < COUNT; i++) {
        length += (size_t)snprintf(header + length, sizeof header - length,
                                   "\"%d\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[%d,%d]}"
                                   "%c",
                                   i, i, i + 1, i + 1 < COUNT ? ',' : '}');
        data[i] = (uint8_t)i;
    }
    Error error = {0};
    TensorFile file;
    assert_true(decode(header, data, sizeof data, &file, &error));
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(*(uint8_t *)file.tensors[i].data, i);
    tensor_file_free(&file);
}

static void a_wrong_header_size_is_refused(void **state)
{
    (void)state;
    assert_refused(make_bytes(0, "", 0, NULL, 0), 0, "it has 0 bytes, at least 8 were expected");
    assert_refused(make_bytes(2, "{}", 2, NULL, 0), 7, "it has 7 bytes, at least 8 were expected");
    assert_refused(make_bytes(0, "", 0, NULL, 0), 8, "it does not start with '{'");
    assert_refused(make_bytes(3, "{}", 2, NULL, 0), 10,
                   "bad safetensors header: x: its size is given as 3 bytes, at most 2 were "
                   "expected");
    assert_refused(make_bytes(UINT64_C(1) << 63, "{}", 2, NULL, 0), 10,
                   "its size is given as 9223372036854775808 bytes, at most 2");
    assert_refused(make_bytes(UINT64_MAX, "{}", 2, NULL, 0), 10, "at most 2");
    assert_refused(make_bytes(1, "{}", 2, NULL, 0), 10, "invalid JSON");
}

static void a_header_over_the_limit_is_refused(void **state)
{
    (void)state;
    enum { SIZE = 100000000 + 20 };
    Error error = {0};
    uint8_t *bytes = memory_allocate(SIZE, 1, "test", &error);
    assert_non_null(bytes);
    uint64_t length = 100000001;
    memcpy(bytes, &length, sizeof length);
    assert_refused(bytes, SIZE, "its size is given as 100000001 bytes, at most 100000000");
}

static void embedded_nuls_are_refused(void **state)
{
    (void)state;
    assert_refused(make_bytes(3, "{}\0", 3, NULL, 0), 11, "invalid JSON");
    assert_refused(make_bytes(3, "{\0}", 3, NULL, 0), 11, "invalid JSON");
    static const char name[] = "{\"a\0b\":{}}";
    assert_refused(make_bytes(10, name, 10, NULL, 0), 18, "invalid JSON");
}

#define ENTRY(type, shape, begin, end)                                                             \
    "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"
#define ONE(type, shape, begin, end) "{\"4.weight\":" ENTRY(type, shape, begin, end) "}"
#define TWO(begin_a, end_a, begin_b, end_b)                                                        \
    "{\"a\":" ENTRY("U8", "[4]", begin_a, end_a) ",\"b\":" ENTRY("U8", "[4]", begin_b, end_b) "}"

static const struct {
    const char *header, *text;
} bad[] = {
    {"", "it does not start with '{'"},
    {" {}", "it does not start with '{'"},
    {"[]", "it does not start with '{'"},
    {"{", "invalid JSON"},
    {"{} {}", "invalid JSON"},
    {"{'a':1}", "invalid JSON"},
    {"{\"\\u0000\":1}", "invalid JSON"},
    {"{\"\xff\":1}", "invalid JSON"},
    {"{\"a\":1,\"a\":1}", "duplicate object key"},
    {"{\"a\":" ENTRY("U8", "[8]", "0", "8") ",\"a\":" ENTRY("U8", "[8]", "0", "8") "}",
     "duplicate object key"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", "duplicate object key"},
    {"{\"__metadata__\":[],\"a\":" ENTRY("U8", "[8]", "0", "8") "}",
     "__metadata__ is not a JSON object"},
    {"{\"4.weight\":" ENTRY("U8", "[8]", "0", "8") ",\"__metadata__\":{\"k\":1}}",
     "bad safetensors header: x: __metadata__ 'k' is not a string"},
    {"{\"a\":7}", "tensor 'a' is not a JSON object"},
    {"{\"a\":{}}", "tensor 'a' has no dtype"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,8]}}", "tensor 'a' has no shape"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8]}}", "tensor 'a' has no data_offsets"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8],\"more\":1}}",
     "tensor 'a' has 4 fields"},
    {ONE("F16", "[4]", "0", "8"), "tensor '4.weight': dtype is F16, F32, F64, I64 or U8 was"},
    {ONE("f32", "[2]", "0", "8"), "dtype is f32"},
    {"{\"a\":{\"dtype\":1,\"shape\":[8],\"data_offsets\":[0,8]}}", "dtype is not a string"},
    {ONE("U8", "8", "0", "8"), "a shape of at most 8 sizes"},
    {ONE("U8", "[8,1,1,1,1,1,1,1,1]", "0", "8"), "a shape of at most 8 sizes"},
    {ONE("U8", "[-8]", "0", "8"), "a shape of whole numbers from 0"},
    {ONE("U8", "[8.0]", "0", "8"), "a shape of whole numbers from 0"},
    {ONE("U8", "[\"8\"]", "0", "8"), "a shape of whole numbers from 0"},
    {ONE("U8", "[true]", "0", "8"), "a shape of whole numbers from 0"},
    {ONE("U8", "[9223372036854775808]", "0", "8"), "too big integer"},
    {ONE("U8", "[4294967296,4294967296]", "0", "8"), "its shape exceeds the address space"},
    {ONE("F32", "[2,4611686018427387904]", "0", "8"), "shape x type exceeds the address space"},
    {ONE("F32", "[4611686018427387906]", "0", "8"), "shape x type exceeds the address space"},
    {ONE("F32", "[3]", "0", "8"),
     "bad safetensors header: x: tensor '4.weight': shape x type is 12 bytes, its data_offsets "
     "span 8"},
    {ONE("U8", "[0]", "0", "8"), "shape x type is 0 bytes, its data_offsets span 8"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":8}}", "[begin, end]"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8]}}", "[begin, end]"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8,8]}}", "[begin, end]"},
    {ONE("U8", "[8]", "-8", "0"), "[begin, end] with 0 <= begin <= end"},
    {ONE("U8", "[8]", "0", "-8"), "[begin, end] with 0 <= begin <= end"},
    {ONE("U8", "[8]", "8", "0"), "[begin, end] with 0 <= begin <= end"},
    {ONE("U8", "[8]", "0", "8e0"), "[begin, end] with 0 <= begin <= end"},
    {ONE("U8", "[9]", "0", "9"), "tensor '4.weight' ends at byte 9 of the data, the file has 8"},
    {ONE("U8", "[7]", "1", "8"), "starts at byte 1 of the data, byte 0 was expected: there is a"},
    {ONE("U8", "[7]", "0", "7"), "1 bytes follow the last tensor"},
    {"{}", "8 bytes follow the last tensor"},
    {TWO("0", "4", "2", "6"),
     "tensor 'b' starts at byte 2 of the data, byte 4 was expected: "
     "tensors overlap"},
    {TWO("0", "4", "0", "4"), "tensor 'b' starts at byte 0"},
    {TWO("4", "8", "0", "3"),
     "tensor 'a' starts at byte 4 of the data, byte 3 was expected: "
     "there is a gap"},
    {"{\"a\":" ENTRY("U8", "[8]", "0", "8") ",\"e\":" ENTRY("U8", "[0]", "4", "4") "}",
     "tensor 'e' starts at byte 4 of the data, byte 8 was expected: tensors overlap"},
};

static void bad_headers_are_refused(void **state)
{
    (void)state;
    static const uint8_t data[8];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t size = strlen(bad[i].header);
        assert_refused(make_bytes(size, bad[i].header, size, data, sizeof data),
                       8 + size + sizeof data, bad[i].text);
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    Error error = {0};
    char *header = memory_allocate(DEPTH, 1, "test", &error);
    assert_non_null(header);
    strcpy(header, "{\"a\":");
    memset(header + 5, '[', DEPTH - 5);
    assert_refused(make_bytes(DEPTH, header, DEPTH, NULL, 0), 8 + DEPTH,
                   "maximum parsing depth reached");
    memory_free(header);
}

/* Every length of a truncated file. */
static void truncated_files_are_refused(void **state)
{
    (void)state;
    Error error = {0};
    uint8_t *bytes;
    size_t size;
    assert_true(safetensors_write(path, examples, EXAMPLES, metadata, 3, &error));
    assert_true(file_read(path, 10000, &bytes, &size, &error));
    for (size_t length = 0; length < size; length++) {
        uint8_t *part = memory_allocate(length, 1, "test", &error);
        assert_non_null(part);
        memcpy(part, bytes, length);
        assert_refused(part, length, "bad safetensors ");
    }
    memory_free(bytes);
}

static void a_missing_file_is_an_error(void **state)
{
    (void)state;
    Error error = {0};
    TensorFile file = {.tensor_count = 7};
    assert_false(safetensors_read("/dev/null/none", &file, &error));
    assert_string_equal(error.text, "cannot read: /dev/null/none: Not a directory");
    tensor_file_free(&file);
}

static void assert_unwritable(const Tensor *tensors, size_t count, const char *const *pairs,
                              size_t pair_count, const char *text)
{
    Error error = {0};
    unlink(path);
    assert_false(safetensors_write(path, tensors, count, pairs, pair_count, &error));
    assert_int_equal(error.status, STATUS_FAILED);
    if (!strstr(error.text, text))
        fail_msg("got \"%s\", expected \"%s\"", error.text, text);
    assert_int_equal(access(path, F_OK), -1);
}

static void the_writer_refuses_what_no_reader_takes(void **state)
{
    (void)state;
    Tensor twice[] = {examples[0], examples[0]};
    assert_unwritable(twice, 2, NULL, 0, "'double' is given twice");
    static const char *const pairs[] = {"k", "1", "k", "2"};
    assert_unwritable(examples, 1, pairs, 2, "'k' is given twice");
    static const char *const binary[] = {"k", "\xff"};
    assert_unwritable(examples, 1, binary, 1, "'k' cannot be put into the header: UTF-8");

    Tensor narrow_first[] = {examples[5], examples[3]};
    assert_unwritable(narrow_first, 2, NULL, 0,
                      "tensor '4.weight': its data would start at byte 5, a multiple of 4");
    Tensor tensor = examples[0];
    tensor.name = (char[]){"__metadata__"};
    assert_unwritable(&tensor, 1, NULL, 0, "a tensor cannot be named __metadata__");
    tensor.name = (char[]){"\xff"};
    assert_unwritable(&tensor, 1, NULL, 0, "cannot be put into the header: UTF-8");
    tensor = examples[0];
    tensor.elements = 3;
    assert_unwritable(&tensor, 1, NULL, 0, "its shape holds 2 elements, 3 were expected");
    tensor.rank = 9;
    assert_unwritable(&tensor, 1, NULL, 0, "its rank is 9");
    tensor.rank = -1;
    assert_unwritable(&tensor, 1, NULL, 0, "its rank is -1");
    tensor.rank = 2;
    tensor.shape[0] = tensor.shape[1] = SIZE_MAX;
    assert_unwritable(&tensor, 1, NULL, 0, "its shape is too large");
    tensor.shape[1] = 1;
    tensor.elements = SIZE_MAX;
    assert_unwritable(&tensor, 1, NULL, 0, "the file would be too large");
}

static void an_unwritable_path_is_an_error(void **state)
{
    (void)state;
    Error error = {0};
    assert_false(safetensors_write("/dev/null/a", examples, EXAMPLES, NULL, 0, &error));
    assert_string_equal(error.text, "cannot write: /dev/null/a: Not a directory");
}

/* Simulates a full disk by a limit on the file size. */
static void a_failed_write_keeps_the_old_file(void **state)
{
    (void)state;
    Error error = {0};
    static float values[20000];
    Tensor large = {.name = (char[]){"large"}, TENSOR_F32, 1, {20000}, 20000, values};
    assert_true(safetensors_write(path, examples, 1, NULL, 0, &error));
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool done = safetensors_write(path, &large, 1, NULL, 0, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(done);
    assert_non_null(strstr(error.text, ": File too large"));
    TensorFile file;
    assert_true(safetensors_read(path, &file, &error));
    assert_non_null(tensor_file_find(&file, "double"));
    tensor_file_free(&file);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    Error error = {0};
    assert_true(safetensors_write(path, examples, EXAMPLES, metadata, 3, &error));
    long failures = 0;
    for (;; failures++) {
        TensorFile file;
        error = (Error){0};
        memory_fail_after(failures);
        bool done = safetensors_read(path, &file, &error);
        memory_fail_after(-1);
        tensor_file_free(&file);
        if (done)
            break;
        assert_int_equal(strncmp(error.text, "out of memory: ", 15), 0);
    }
    assert_int_equal(failures, 1 + 1 + 1 + EXAMPLES + 1 + 6);
}

static long library_allocations_left = -1;

static void *library_allocate(size_t size)
{
    if (library_allocations_left == 0)
        return NULL;
    if (library_allocations_left > 0)
        library_allocations_left--;
    return malloc(size);
}

/* Not always reported as such: jansson returns syntax errors for some. */
static void every_failing_allocation_of_the_json_library_is_an_error(void **state)
{
    (void)state;
    json_set_alloc_funcs(library_allocate, free);
    for (int writing = 0; writing < 2; writing++) {
        Error error = {0};
        bool done = false;
        for (long failures = 0; !done; failures++) {
            TensorFile file = {0};
            error = (Error){0};
            library_allocations_left = failures;
            done = writing ? safetensors_write(path, examples, EXAMPLES, metadata, 3, &error)
                           : safetensors_read(path, &file, &error);
            library_allocations_left = -1;
            assert_int_equal(error.status, done ? STATUS_OK : STATUS_FAILED);
            assert_int_equal(error.text[0] == '\0', done);
            if (writing && done)
                assert_true(safetensors_read(path, &file, &error));
            assert_int_equal(file.tensor_count, done ? EXAMPLES : 0);
            assert_int_equal(file.metadata_count, done ? 3 : 0);
            tensor_file_free(&file);
        }
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_file_is_read_back),
        cmocka_unit_test(the_bytes_written_are_the_expected_ones),
        cmocka_unit_test(a_file_without_tensors_is_fine),
        cmocka_unit_test(data_are_aligned_in_any_file),
        cmocka_unit_test(many_small_tensors_keep_their_data),
        cmocka_unit_test(a_wrong_header_size_is_refused),
        cmocka_unit_test(a_header_over_the_limit_is_refused),
        cmocka_unit_test(embedded_nuls_are_refused),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(the_writer_refuses_what_no_reader_takes),
        cmocka_unit_test(an_unwritable_path_is_an_error),
        cmocka_unit_test(a_failed_write_keeps_the_old_file),
        cmocka_unit_test(every_failing_allocation_is_reported),
        cmocka_unit_test(every_failing_allocation_of_the_json_library_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
