/* Data sets: names, shapes, and files that are missing or cannot be read. */
#include "data_folder.h"
#include "decoding.h"

/* cmocka.h needs these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names and shapes, without files. */

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

/* Missing and unreadable files. */

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

static void test_folder_instead_of_a_file(void **state)
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
    /* Root may read every file, so it becomes another user for the call. */
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
    /* The first name fits, the second, longer one does not. */
    memset(longest, '/', sizeof longest);
    longest[4095 - strlen("t10k-images-idx3-ubyte")] = '\0';
    assert_failed(dataset_load(DATASET_MNIST, SPLIT_TEST, longest, &images, &error), &error, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_free_empty_set),
        IN_FOLDER(test_missing_files),
        IN_FOLDER(test_missing_folder),
        IN_FOLDER(test_folder_instead_of_a_file),
        IN_FOLDER(test_unreadable),
        IN_FOLDER(test_path_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
