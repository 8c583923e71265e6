/* The CIFAR-10 reader: good files and every kind of bad file. */
#include "data_folder.h"
#include "decoding.h"

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_cifar10(const char *subfolder)
{
    char name[64];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "%sdata_batch_%d.bin", subfolder, i);
        write_batch(name, (uint8_t)i);
    }
    snprintf(name, sizeof name, "%stest_batch.bin", subfolder);
    write_batch(name, 8);
}

static void test_cifar10_decode_appends(void **state)
{
    (void)state;
    uint8_t bytes[2 * RECORD], pixels[3 * (RECORD - 1)] = {0}, labels[3] = {0};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = pattern(i);
    bytes[0] = 0;
    bytes[RECORD] = 9;
    ImageSet images = {.pixels = pixels, .labels = labels};
    Error error = {0};
    assert_true(cifar10_decode(bytes + RECORD, RECORD, "a", &images, 3, &error));
    assert_int_equal(images.count, 1);
    assert_true(cifar10_decode(bytes, sizeof bytes, "b", &images, 3, &error));
    assert_int_equal(images.count, 3);
    assert_int_equal(labels[0], 9);
    assert_int_equal(labels[1], 0);
    assert_int_equal(labels[2], 9);
    assert_memory_equal(pixels, bytes + RECORD + 1, RECORD - 1);
    assert_memory_equal(pixels + RECORD - 1, bytes + 1, RECORD - 1);
    assert_memory_equal(pixels + 2 * (RECORD - 1), bytes + RECORD + 1, RECORD - 1);
    assert_failed(cifar10_decode(bytes, RECORD, "full.bin", &images, 3, &error), &error,
                  "wrong size: full.bin: 1 records, expected at most 0");
    assert_int_equal(images.count, 3);
}

static void test_cifar10_decode_refuses(void **state)
{
    (void)state;
    uint8_t bytes[2 * RECORD] = {0}, pixels[2 * (RECORD - 1)], labels[2];
    ImageSet images = {.pixels = pixels, .labels = labels};
    Error error = {0};
    assert_failed(cifar10_decode(bytes, 0, "x.bin", &images, 2, &error), &error,
                  "wrong size: x.bin: 0 bytes, expected one or more records of 3073");
    assert_failed(cifar10_decode(bytes, RECORD - 1, "x.bin", &images, 2, &error), &error,
                  "wrong size: x.bin: 3072 bytes");
    assert_failed(cifar10_decode(bytes, RECORD + 1, "x.bin", &images, 2, &error), &error,
                  "wrong size: x.bin: 3074 bytes");
    assert_failed(cifar10_decode(bytes, 2 * RECORD, "x.bin", &images, 1, &error), &error,
                  "wrong size: x.bin: 2 records, expected at most 1");
    bytes[RECORD] = 10;
    assert_failed(cifar10_decode(bytes, 2 * RECORD, "x.bin", &images, 2, &error), &error,
                  "bad label: x.bin: 10 in record 1, expected 0 to 9");
    assert_int_equal(images.count, 0);
    images.count = 5; /* more than fit */
    assert_failed(cifar10_decode(bytes, RECORD, "x.bin", &images, 2, &error), &error,
                  "expected at most 0");
}

static void check_cifar10_as_written(void)
{
    ImageSet images;
    Error error = {0};
    assert_true(dataset_load(DATASET_CIFAR10, SPLIT_TRAIN, folder, &images, &error));
    assert_int_equal(images.count, 50000);
    assert_true(images.channels == 3 && images.height == 32 && images.width == 32);
    for (size_t batch = 0; batch < 5; batch++) {
        assert_int_equal(images.labels[batch * RECORDS], batch + 1);
        assert_int_equal(images.labels[batch * RECORDS + RECORDS - 1], batch + 2);
    }
    for (size_t i = 0; i + 1 < RECORD; i++)
        assert_int_equal(images.pixels[49999UL * (RECORD - 1) + i], pattern(i + 1));
    image_set_free(&images);
    assert_int_equal(images.count, 0);
    assert_true(dataset_load(DATASET_CIFAR10, SPLIT_TEST, folder, &images, &error));
    assert_int_equal(images.count, RECORDS);
    assert_int_equal(images.labels[0], 8);
    assert_int_equal(images.labels[RECORDS - 1], 9);
    image_set_free(&images);
}

static void test_cifar10_load(void **state)
{
    (void)state;
    write_cifar10("");
    check_cifar10_as_written();
}

static void test_cifar10_load_from_the_archives_folder(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("cifar-10-batches-bin"), 0700), 0);
    write_cifar10("cifar-10-batches-bin/");
    check_cifar10_as_written();
}

static void test_cifar10_wrong_size(void **state)
{
    (void)state;
    write_batch("test_batch.bin", 0);
    assert_int_equal(truncate(in_folder("test_batch.bin"), RECORDS * RECORD - 1), 0);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TEST,
                      "/test_batch.bin: 30729999 bytes, expected 30730000 (10000 records of 3073)");
    assert_int_equal(truncate(in_folder("test_batch.bin"), RECORDS * RECORD + 1), 0);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TEST, "/test_batch.bin: 30730001 bytes");
    assert_int_equal(truncate(in_folder("test_batch.bin"), (RECORDS - 1) * RECORD), 0);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TEST, "/test_batch.bin: 30726927 bytes");
    assert_int_equal(truncate(in_folder("test_batch.bin"), 0), 0);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TEST, "/test_batch.bin: 0 bytes");
    assert_int_equal(truncate(in_folder("test_batch.bin"), 1L << 40), 0);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TEST, "/test_batch.bin");
}

static void test_cifar10_bad_label(void **state)
{
    (void)state;
    write_cifar10("");
    write_byte("data_batch_5.bin", 1234L * RECORD, 255);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TRAIN,
                      "/data_batch_5.bin: 255 in record 1234, expected 0 to 9");
}

static void test_cifar10_lack_of_memory(void **state)
{
    (void)state;
    write_cifar10("");
    assert_survives_lack_of_memory(DATASET_CIFAR10, SPLIT_TRAIN, 3);
}

/* Counts the images of the official files, if NNMF_DATA names their folder. */
static void test_cifar10_official(void **state)
{
    (void)state;
    const char *official = getenv("NNMF_DATA");
    if (!official) {
        print_message("skipped: NNMF_DATA is not set\n");
        skip();
    }
    for (int split = SPLIT_TRAIN; split <= SPLIT_TEST; split++) {
        ImageSet images;
        Error error = {0};
        if (!dataset_load(DATASET_CIFAR10, (DatasetSplit)split, official, &images, &error))
            fail_msg("%s", error.text);
        assert_int_equal(images.labels[0], split == SPLIT_TRAIN ? 6 : 3); /* a frog, a cat */
        size_t counts[DATASET_CLASSES] = {0};
        for (size_t i = 0; i < images.count; i++)
            counts[images.labels[i]]++;
        for (int i = 0; i < DATASET_CLASSES; i++)
            assert_int_equal(counts[i], split == SPLIT_TRAIN ? 5000 : 1000);
        image_set_free(&images);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cifar10_decode_appends),
        cmocka_unit_test(test_cifar10_decode_refuses),
        IN_FOLDER(test_cifar10_load),
        IN_FOLDER(test_cifar10_load_from_the_archives_folder),
        IN_FOLDER(test_cifar10_wrong_size),
        IN_FOLDER(test_cifar10_bad_label),
        IN_FOLDER(test_cifar10_lack_of_memory),
        cmocka_unit_test(test_cifar10_official),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
