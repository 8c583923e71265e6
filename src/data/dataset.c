/* The datasets, the files of each split, and reading them. */
#include "data/dataset.h"
#include "base/file.h"
#include "nnmf/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <isa-l/crc.h>

enum {
    PATH_CAPACITY = 4096,
    CIFAR10_RECORD = 1 + 3 * 32 * 32,
    CIFAR10_FILE_RECORDS = 10000,
    CIFAR10_FILE_SIZE = CIFAR10_FILE_RECORDS * CIFAR10_RECORD,
    IDX_LIMIT = 1 << 30 /* packed and unpacked: bounds what a bad file can allocate */
};

const char *const dataset_names[DATASET_KINDS + 1] = {
    [DATASET_CIFAR10] = "cifar10",
    [DATASET_MNIST] = "mnist",
    [DATASET_FASHION_MNIST] = "fashion-mnist",
};

const char *const dataset_split_names[DATASET_SPLITS + 1] = {
    [SPLIT_TRAIN] = "train",
    [SPLIT_TEST] = "test",
};

static const struct {
    int channels, height, width;
    const char *classes[DATASET_CLASSES];
} datasets[DATASET_KINDS] = {
    [DATASET_CIFAR10] = {.channels = 3,
                         .height = 32,
                         .width = 32,
                         .classes = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog",
                                     "horse", "ship", "truck"}},
    [DATASET_MNIST] = {.channels = 1,
                       .height = 28,
                       .width = 28,
                       .classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}},
    [DATASET_FASHION_MNIST] = {.channels = 1,
                               .height = 28,
                               .width = 28,
                               .classes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}},
};

const char *dataset_name(DatasetKind kind)
{
    return dataset_names[kind];
}

const char *const *dataset_class_names(DatasetKind kind)
{
    return datasets[kind].classes;
}

void dataset_image_shape(DatasetKind kind, int *channels, int *height, int *width)
{
    *channels = datasets[kind].channels;
    *height = datasets[kind].height;
    *width = datasets[kind].width;
}

void image_set_free(ImageSet *images)
{
    memory_free(images->pixels);
    memory_free(images->labels);
    *images = (ImageSet){0};
}

uint32_t image_set_checksum(const ImageSet *images)
{
    size_t size = (size_t)images->channels * (size_t)images->height * (size_t)images->width;
    uint32_t sum = crc32_gzip_refl(0, images->pixels, images->count * size);
    return crc32_gzip_refl(sum, images->labels, images->count);
}

/* Allocates memory for `capacity` images; the count stays 0. */
static bool image_set_allocate(ImageSet *images, DatasetKind kind, size_t capacity, Error *error)
{
    dataset_image_shape(kind, &images->channels, &images->height, &images->width);
    size_t pixels = (size_t)images->channels * (size_t)images->height * (size_t)images->width;
    images->pixels = memory_allocate(capacity, pixels, "pixels of the images", error);
    if (!images->pixels)
        return false;
    images->labels = memory_allocate(capacity, 1, "labels of the images", error);
    return images->labels != NULL;
}

/* ---- the files ---- */

enum { SPLIT_FILES = 5, NAME_CAPACITY = 64 };

/* IDX: the images, then the labels. */
static const char *const cifar10_files[DATASET_SPLITS][SPLIT_FILES] = {
    [SPLIT_TRAIN] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                     "data_batch_5.bin"},
    [SPLIT_TEST] = {"test_batch.bin"}};
static const char *const idx_files[DATASET_SPLITS][SPLIT_FILES] = {
    [SPLIT_TRAIN] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
    [SPLIT_TEST] = {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}};

/* The other name that a file may have. */
static void other_name(DatasetKind kind, const char *name, char other[NAME_CAPACITY])
{
    snprintf(other, NAME_CAPACITY, kind == DATASET_CIFAR10 ? "cifar-10-batches-bin/%s" : "%s.gz",
             name);
}

static bool names_file(const char *folder, const char *name, const char *path)
{
    char named[PATH_CAPACITY];
    Error ignored; /* a path too long names no file */
    return file_join(named, sizeof named, folder, name, &ignored) && file_same(named, path);
}

bool dataset_has_file(DatasetKind kind, const char *folder, const char *path)
{
    for (int split = 0; split < DATASET_SPLITS; split++)
        for (int i = 0; i < SPLIT_FILES; i++) {
            const char *name = (kind == DATASET_CIFAR10 ? cifar10_files : idx_files)[split][i];
            char other[NAME_CAPACITY];
            if (!name)
                continue;
            other_name(kind, name, other);
            if (names_file(folder, name, path) || names_file(folder, other, path))
                return true;
        }
    return false;
}

/* Returns whether the path exists, readable or not. */
static bool exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* Sets `path` to the first of the two names that exists in the folder. */
static bool locate(DatasetKind kind, const char *folder, const char *first, const char *second,
                   char path[PATH_CAPACITY], Error *error)
{
    if (!file_join(path, PATH_CAPACITY, folder, first, error))
        return false;
    if (exists(path))
        return true;
    if (!file_join(path, PATH_CAPACITY, folder, second, error))
        return false;
    if (exists(path))
        return true;
    struct stat status;
    const char *wrong = "no such folder";
    if (stat(folder, &status) == 0)
        wrong = S_ISDIR(status.st_mode) ? "file not found" : "not a folder";
    return fail(error, "%s: %s: expected %s or %s in it (scripts/fetch-data %s downloads them)",
                wrong, folder, first, second, dataset_name(kind));
}

static bool load_cifar10_file(const char *folder, const char *name, ImageSet *images,
                              size_t capacity, Error *error)
{
    char unpacked[NAME_CAPACITY], path[PATH_CAPACITY];
    other_name(DATASET_CIFAR10, name, unpacked);
    if (!locate(DATASET_CIFAR10, folder, name, unpacked, path, error))
        return false;
    uint8_t *bytes;
    size_t size;
    /* One record more, so that the check below can report a slightly longer file's size. */
    if (!file_read(path, CIFAR10_FILE_SIZE + CIFAR10_RECORD, &bytes, &size, error))
        return false;
    bool good = size == CIFAR10_FILE_SIZE
                    ? cifar10_decode(bytes, size, path, images, capacity, error)
                    : fail(error, "wrong size: %s: %zu bytes, expected %d (%d records of %d)", path,
                           size, CIFAR10_FILE_SIZE, CIFAR10_FILE_RECORDS, CIFAR10_RECORD);
    memory_free(bytes);
    return good;
}

static bool load_cifar10(DatasetSplit split, const char *folder, ImageSet *images, Error *error)
{
    size_t files = split == SPLIT_TRAIN ? SPLIT_FILES : 1;
    size_t capacity = files * CIFAR10_FILE_RECORDS;
    if (!image_set_allocate(images, DATASET_CIFAR10, capacity, error))
        return false;
    for (size_t i = 0; i < files; i++)
        if (!load_cifar10_file(folder, cifar10_files[split][i], images, capacity, error))
            return false;
    return true;
}

/* An IDX file in memory; `data` points into `bytes`. */
typedef struct IdxFile {
    char path[PATH_CAPACITY];
    uint8_t *bytes;
    const uint8_t *data;
    size_t dimensions[3];
} IdxFile;

/* The caller frees `file->bytes` in every case. */
static bool load_idx_file(DatasetKind kind, const char *folder, const char *name, int rank,
                          IdxFile *file, Error *error)
{
    char packed[NAME_CAPACITY];
    other_name(kind, name, packed);
    size_t size;
    return locate(kind, folder, name, packed, file->path, error) &&
           file_read(file->path, IDX_LIMIT, &file->bytes, &size, error) &&
           gzip_decode(&file->bytes, &size, IDX_LIMIT, file->path, error) &&
           idx_decode(file->bytes, size, file->path, rank, file->dimensions, &file->data, error);
}

static bool images_from_idx(DatasetKind kind, const IdxFile *pixels, const IdxFile *labels,
                            ImageSet *images, Error *error)
{
    size_t count = pixels->dimensions[0], height = pixels->dimensions[1],
           width = pixels->dimensions[2];
    if (height != (size_t)datasets[kind].height || width != (size_t)datasets[kind].width)
        return fail(error, "wrong image size: %s: %zu x %zu, expected %d x %d", pixels->path,
                    height, width, datasets[kind].height, datasets[kind].width);
    if (labels->dimensions[0] != count)
        return fail(error, "wrong number of labels: %s: %zu, expected %zu as there are images",
                    labels->path, labels->dimensions[0], count);
    for (size_t i = 0; i < count; i++)
        if (labels->data[i] >= DATASET_CLASSES)
            return fail(error, "bad label: %s: %d in record %zu, expected 0 to %d", labels->path,
                        labels->data[i], i, DATASET_CLASSES - 1);
    if (!image_set_allocate(images, kind, count, error))
        return false;
    /* Neither product can overflow: both are sizes of data in memory. */
    memcpy(images->pixels, pixels->data, count * height * width);
    memcpy(images->labels, labels->data, count);
    images->count = count;
    return true;
}

static bool load_idx(DatasetKind kind, DatasetSplit split, const char *folder, ImageSet *images,
                     Error *error)
{
    IdxFile pixels = {.bytes = NULL}, labels = {.bytes = NULL};
    bool good = load_idx_file(kind, folder, idx_files[split][0], 3, &pixels, error) &&
                load_idx_file(kind, folder, idx_files[split][1], 1, &labels, error) &&
                images_from_idx(kind, &pixels, &labels, images, error);
    memory_free(pixels.bytes);
    memory_free(labels.bytes);
    return good;
}

bool dataset_load(DatasetKind kind, DatasetSplit split, const char *folder, ImageSet *images,
                  Error *error)
{
    *images = (ImageSet){0};
    bool good = kind == DATASET_CIFAR10 ? load_cifar10(split, folder, images, error)
                                        : load_idx(kind, split, folder, images, error);
    if (!good)
        image_set_free(images);
    return good;
}
