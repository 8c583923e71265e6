/* The IDX reader, with gzip and without: good files and every kind of bad file. */
#include "data_folder.h"
#include "decoding.h"

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_idx_decode(void **state)
{
    (void)state;
    size_t size, dimensions[3] = {2, 3, 5}, found[3];
    uint8_t *bytes = make_idx(3, dimensions, &size);
    const uint8_t *data;
    Error error = {0};
    assert_true(idx_decode(bytes, size, "x", 3, found, &data, &error));
    assert_memory_equal(found, dimensions, sizeof found);
    assert_ptr_equal(data, bytes + 16);
    free(bytes);
    bytes = make_idx(1, dimensions, &size);
    assert_true(idx_decode(bytes, size, "x", 1, found, &data, &error));
    assert_int_equal(found[0], 2);
    assert_ptr_equal(data, bytes + 8);
    free(bytes);
}

static void test_idx_decode_refuses(void **state)
{
    (void)state;
    size_t size, dimensions[3] = {2, 3, 5}, found[3];
    uint8_t *bytes = make_idx(3, dimensions, &size);
    const uint8_t *data;
    Error error = {0};
    for (size_t less = 0; less < size; less++)
        assert_failed(idx_decode(bytes, less, "x", 3, found, &data, &error), &error, ": x: ");
    assert_failed(idx_decode(bytes, size - 1, "x", 3, found, &data, &error), &error,
                  "wrong size: x: 29 elements after the IDX header, expected 30");
    assert_failed(idx_decode(bytes, size, "x", 1, found, &data, &error), &error,
                  "magic number 0x00000803, expected 0x00000801 (unsigned bytes, rank 1)");
    for (int i = 0; i < 4; i++) {
        bytes[i] ^= 0x10;
        assert_failed(idx_decode(bytes, size, "x", 3, found, &data, &error), &error,
                      "not the expected IDX file: x");
        bytes[i] ^= 0x10;
    }
    put_word(bytes + 8, 0);
    assert_failed(idx_decode(bytes, size, "x", 3, found, &data, &error), &error,
                  "dimension 1 is 0, expected at least 1");
    put_word(bytes + 8, 4);
    assert_failed(idx_decode(bytes, size, "x", 3, found, &data, &error), &error, "expected 40");
    for (int i = 0; i < 3; i++)
        put_word(bytes + 4 + 4 * i, 0xffffffff);
    assert_failed(idx_decode(bytes, size, "x", 3, found, &data, &error), &error, "overflow");
    free(bytes);
    bytes = malloc(37);
    assert_non_null(bytes);
    memset(bytes, 0, 37);
    put_word(bytes, 0x801);
    assert_failed(idx_decode(bytes, 37, "x", 1, found, &data, &error), &error, "is 0");
    free(bytes);
}

static void check_idx_as_written(DatasetKind kind, DatasetSplit split, size_t count)
{
    ImageSet images;
    Error error = {0};
    if (!dataset_load(kind, split, folder, &images, &error))
        fail_msg("%s", error.text);
    assert_int_equal(images.count, count);
    assert_true(images.channels == 1 && images.height == SIDE && images.width == SIDE);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(images.labels[i], i % 10);
    for (size_t i = 0; i < count * SIDE * SIDE; i++)
        assert_int_equal(images.pixels[i], pattern(i));
    image_set_free(&images);
}

static void test_idx_load(void **state)
{
    (void)state;
    write_idx(write_file, "train-images-idx3-ubyte", 3, 12, SIDE, SIDE);
    write_idx(write_file, "train-labels-idx1-ubyte", 1, 12, 1, 1);
    write_idx(write_gzip, "t10k-images-idx3-ubyte.gz", 3, 300, SIDE, SIDE);
    write_idx(write_gzip, "t10k-labels-idx1-ubyte.gz", 1, 300, 1, 1);
    check_idx_as_written(DATASET_MNIST, SPLIT_TRAIN, 12);
    check_idx_as_written(DATASET_MNIST, SPLIT_TEST, 300);
    check_idx_as_written(DATASET_FASHION_MNIST, SPLIT_TRAIN, 12);
    check_idx_as_written(DATASET_FASHION_MNIST, SPLIT_TEST, 300);
}

static void test_idx_load_one_image(void **state)
{
    (void)state;
    write_idx(write_file, "t10k-images-idx3-ubyte", 3, 1, SIDE, SIDE);
    write_idx(write_gzip, "t10k-labels-idx1-ubyte.gz", 1, 1, 1, 1);
    check_idx_as_written(DATASET_MNIST, SPLIT_TEST, 1);
}

static void test_idx_load_refuses(void **state)
{
    (void)state;
    write_idx(write_file, "t10k-labels-idx1-ubyte", 1, 12, 1, 1);
    write_idx(write_file, "t10k-images-idx3-ubyte", 3, 11, SIDE, SIDE);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST,
                      "/t10k-labels-idx1-ubyte: 12, expected 11 as there are images");
    write_idx(write_file, "t10k-images-idx3-ubyte", 3, 12, SIDE, SIDE + 1);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST,
                      "/t10k-images-idx3-ubyte: 28 x 29, expected 28 x 28");
    write_idx(write_file, "t10k-images-idx3-ubyte", 3, 12, SIDE - 1, SIDE);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST, "27 x 28, expected 28 x 28");
    write_idx(write_file, "t10k-images-idx3-ubyte", 1, 12, 1, 1);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST, "not the expected IDX file");
    write_idx(write_file, "t10k-images-idx3-ubyte", 3, 12, SIDE, SIDE);
    write_byte("t10k-labels-idx1-ubyte", 8 + 7, 10);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST,
                      "/t10k-labels-idx1-ubyte: 10 in record 7, expected 0 to 9");
    write_idx(write_file, "t10k-labels-idx1-ubyte", 1, 0, 1, 1);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST, "dimension 0 is 0");
    write_file("t10k-labels-idx1-ubyte", (const uint8_t *)"", 0);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST, "truncated IDX file");
    write_file("t10k-labels-idx1-ubyte", (const uint8_t *)"\x1f\x8b", 2);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST, "truncated gzip file");
}

static void test_idx_lack_of_memory(void **state)
{
    (void)state;
    write_idx(write_gzip, "train-images-idx3-ubyte.gz", 3, 300, SIDE, SIDE);
    write_idx(write_gzip, "train-labels-idx1-ubyte.gz", 1, 300, 1, 1);
    assert_survives_lack_of_memory(DATASET_MNIST, SPLIT_TRAIN, 9);
}

/* Debian's package dataset-fashion-mnist has the official images, recompressed. */
static void test_fashion_mnist_packaged(void **state)
{
    (void)state;
    const char *packaged = "/usr/share/datasets/fashion-mnist";
    if (access(packaged, R_OK) != 0) {
        print_message("skipped: no %s\n", packaged);
        skip();
    }
    for (int split = SPLIT_TRAIN; split <= SPLIT_TEST; split++) {
        ImageSet images;
        Error error = {0};
        if (!dataset_load(DATASET_FASHION_MNIST, (DatasetSplit)split, packaged, &images, &error))
            fail_msg("%s", error.text);
        assert_int_equal(images.count, split == SPLIT_TRAIN ? 60000 : 10000);
        assert_int_equal(images.labels[0], 9); /* an ankle boot */
        size_t counts[DATASET_CLASSES] = {0};
        for (size_t i = 0; i < images.count; i++)
            counts[images.labels[i]]++;
        for (int i = 0; i < DATASET_CLASSES; i++)
            assert_int_equal(counts[i], split == SPLIT_TRAIN ? 6000 : 1000);
        image_set_free(&images);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx_decode),
        cmocka_unit_test(test_idx_decode_refuses),
        IN_FOLDER(test_idx_load),
        IN_FOLDER(test_idx_load_one_image),
        IN_FOLDER(test_idx_load_refuses),
        IN_FOLDER(test_idx_lack_of_memory),
        cmocka_unit_test(test_fashion_mnist_packaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
