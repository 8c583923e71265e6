/* The dataset readers: good files of every kind, and every way in which one can be bad. */
#include "data/dataset.h"
#include "decoding.h"
#include "nnmf/memory.h"

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = 3073, RECORDS = 10000, SIDE = 28, PATH = 4096 };

static char folder[PATH];

/* Files to test with, made in a folder of their own per test. */

static int make_folder(void **state)
{
    (void)state;
    const char *above = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/nnmf-dataset-XXXXXX", above ? above : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    memory_fail_after(-1);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *in_folder(const char *name)
{
    static char path[PATH + 256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_gzip(const char *name, const uint8_t *bytes, size_t size)
{
    size_t packed_size;
    uint8_t *packed = gzip(bytes, size, &packed_size);
    write_file(name, packed, packed_size);
    free(packed);
}

/* A batch of the official size, sparse but for its first and last record, whose labels are
 * `label` and `label + 1`; the rest are black airplanes. */
static void write_batch(const char *name, uint8_t label)
{
    uint8_t record[RECORD];
    for (size_t i = 0; i < RECORD; i++)
        record[i] = pattern(i);
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    record[0] = label;
    assert_int_equal(fwrite(record, 1, RECORD, file), RECORD);
    assert_int_equal(fseek(file, (RECORDS - 1L) * RECORD, SEEK_SET), 0);
    record[0] = (uint8_t)(label + 1);
    assert_int_equal(fwrite(record, 1, RECORD, file), RECORD);
    assert_int_equal(fclose(file), 0);
}

static void write_byte(const char *name, long place, int byte)
{
    FILE *file = fopen(in_folder(name), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, place, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
}

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

static void put_word(uint8_t *bytes, size_t word)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(word >> (24 - 8 * i));
}

/* IDX with the pattern as its elements; the caller frees. */
static uint8_t *make_idx(int rank, const size_t *dimensions, size_t *size)
{
    size_t elements = 1, header = 4 + 4 * (size_t)rank;
    for (int i = 0; i < rank; i++)
        elements *= dimensions[i];
    uint8_t *bytes = malloc(header + elements);
    assert_non_null(bytes);
    put_word(bytes, 0x800 + (size_t)rank);
    for (int i = 0; i < rank; i++)
        put_word(bytes + 4 + 4 * i, dimensions[i]);
    for (size_t i = 0; i < elements; i++)
        bytes[header + i] = rank == 1 ? (uint8_t)(i % 10) : pattern(i);
    *size = header + elements;
    return bytes;
}

typedef void Writer(const char *name, const uint8_t *bytes, size_t size);

static void write_idx(Writer *writer, const char *name, int rank, size_t count, size_t height,
                      size_t width)
{
    size_t size, dimensions[3] = {count, height, width};
    uint8_t *bytes = make_idx(rank, dimensions, &size);
    writer(name, bytes, size);
    free(bytes);
}

/* Asserting on results. */

static void assert_load_fails(DatasetKind kind, DatasetSplit split, const char *part)
{
    ImageSet images;
    memset(&images, 0xa5, sizeof images);
    Error error = {0};
    assert_failed(dataset_load(kind, split, folder, &images, &error), &error, part);
    assert_int_equal(images.count, 0);
    assert_null(images.pixels);
    assert_null(images.labels);
}

/* Loads with ever more allocations succeeding, until all do. */
static void assert_survives_lack_of_memory(DatasetKind kind, DatasetSplit split, long least)
{
    ImageSet images;
    bool good = false;
    long allowed = 0;
    for (; !good && allowed < 100; allowed++) {
        Error error = {0};
        memory_fail_after(allowed);
        good = dataset_load(kind, split, folder, &images, &error);
        memory_fail_after(-1);
        if (!good) {
            assert_failed(good, &error, "out of memory: ");
            assert_null(images.pixels);
        }
    }
    assert_true(good);
    assert_in_range(allowed - 1, least, 99);
    image_set_free(&images);
}

/* What is known without a file. */

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"cifar10", "mnist", "fashion-mnist"};
    for (int i = 0; i < DATASET_KINDS; i++) {
        assert_string_equal(dataset_name((DatasetKind)i), names[i]);
        for (int c = 0; c < DATASET_CLASSES; c++)
            assert_true(strlen(dataset_class_names((DatasetKind)i)[c]) > 0);
    }
    assert_string_equal(dataset_class_names(DATASET_CIFAR10)[6], "frog");
    assert_string_equal(dataset_class_names(DATASET_FASHION_MNIST)[9], "Ankle boot");
}

static void test_shapes(void **state)
{
    (void)state;
    int channels, height, width;
    dataset_image_shape(DATASET_CIFAR10, &channels, &height, &width);
    assert_true(channels == 3 && height == 32 && width == 32);
    dataset_image_shape(DATASET_MNIST, &channels, &height, &width);
    assert_true(channels == 1 && height == 28 && width == 28);
    dataset_image_shape(DATASET_FASHION_MNIST, &channels, &height, &width);
    assert_true(channels == 1 && height == 28 && width == 28);
}

static void test_free_empty_set(void **state)
{
    (void)state;
    ImageSet images = {0};
    image_set_free(&images);
    assert_null(images.pixels);
}

/* CIFAR-10. */

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
    images.count = 5; /* more than there is room for */
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

static void test_cifar10_load_as_the_archive_unpacks(void **state)
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

/* Counts of the real files, where they are at hand. */
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

/* Missing and unreadable files, of all kinds. */

static void test_missing_files(void **state)
{
    (void)state;
    assert_load_fails(DATASET_CIFAR10, SPLIT_TRAIN,
                      ": expected data_batch_1.bin or cifar-10-batches-bin/data_batch_1.bin");
    assert_load_fails(DATASET_CIFAR10, SPLIT_TEST, "expected test_batch.bin or ");
    assert_load_fails(DATASET_MNIST, SPLIT_TRAIN,
                      ": expected train-images-idx3-ubyte or train-images-idx3-ubyte.gz in it "
                      "(scripts/fetch-data mnist downloads them)");
    write_idx(write_file, "t10k-images-idx3-ubyte", 3, 2, SIDE, SIDE);
    assert_load_fails(DATASET_FASHION_MNIST, SPLIT_TEST,
                      ": expected t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz in it "
                      "(scripts/fetch-data fashion-mnist downloads them)");
    write_batch("data_batch_1.bin", 0);
    write_batch("data_batch_2.bin", 0);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TRAIN, "expected data_batch_3.bin or ");
}

static void test_missing_folder(void **state)
{
    (void)state;
    ImageSet images;
    Error error = {0};
    assert_failed(dataset_load(DATASET_CIFAR10, SPLIT_TEST, in_folder("no"), &images, &error),
                  &error, "no such folder: ");
    write_file("file", (const uint8_t *)"x", 1);
    assert_failed(dataset_load(DATASET_MNIST, SPLIT_TEST, in_folder("file"), &images, &error),
                  &error, "not a folder: ");
}

static void test_folder_in_place_of_a_file(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("test_batch.bin"), 0700), 0);
    assert_load_fails(DATASET_CIFAR10, SPLIT_TEST, "/test_batch.bin");
    assert_int_equal(mkdir(in_folder("t10k-images-idx3-ubyte"), 0700), 0);
    assert_load_fails(DATASET_MNIST, SPLIT_TEST, "/t10k-images-idx3-ubyte");
}

static void test_unreadable(void **state)
{
    (void)state;
    write_batch("test_batch.bin", 0);
    /* Root may read everything, so for the call it becomes somebody else. */
    bool root = geteuid() == 0;
    assert_int_equal(chmod(folder, root ? 0755 : 0700), 0);
    assert_int_equal(chmod(in_folder("test_batch.bin"), 0), 0);
    if (root && seteuid(65534) != 0)
        skip();
    ImageSet file_images, folder_images;
    Error file_error = {0}, folder_error = {0};
    bool file = dataset_load(DATASET_CIFAR10, SPLIT_TEST, folder, &file_images, &file_error);
    bool back = !root || seteuid(0) == 0;
    assert_true(back);
    assert_failed(file, &file_error, "/test_batch.bin");

    assert_int_equal(chmod(folder, 0), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    bool in = dataset_load(DATASET_CIFAR10, SPLIT_TEST, folder, &folder_images, &folder_error);
    back = !root || seteuid(0) == 0;
    assert_true(back);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_failed(in, &folder_error, "/test_batch.bin");
}

static void test_path_too_long(void **state)
{
    (void)state;
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    ImageSet images;
    Error error = {0};
    assert_failed(dataset_load(DATASET_MNIST, SPLIT_TEST, longest, &images, &error), &error, "");
    /* Here the first name fits and only the second, longer one does not. */
    memset(longest, '/', sizeof longest);
    longest[4095 - strlen("t10k-images-idx3-ubyte")] = '\0';
    assert_failed(dataset_load(DATASET_MNIST, SPLIT_TEST, longest, &images, &error), &error, "");
}

/* IDX. */

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

/* Debian's package dataset-fashion-mnist has the real images, compressed anew. */
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

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_free_empty_set),
        cmocka_unit_test(test_cifar10_decode_appends),
        cmocka_unit_test(test_cifar10_decode_refuses),
        IN_FOLDER(test_cifar10_load),
        IN_FOLDER(test_cifar10_load_as_the_archive_unpacks),
        IN_FOLDER(test_cifar10_wrong_size),
        IN_FOLDER(test_cifar10_bad_label),
        IN_FOLDER(test_cifar10_lack_of_memory),
        cmocka_unit_test(test_cifar10_official),
        IN_FOLDER(test_missing_files),
        IN_FOLDER(test_missing_folder),
        IN_FOLDER(test_folder_in_place_of_a_file),
        IN_FOLDER(test_unreadable),
        IN_FOLDER(test_path_too_long),
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
