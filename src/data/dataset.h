/* The labelled datasets, read from their official files into memory. */
#ifndef NNMF_DATASET_H
#define NNMF_DATASET_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum DatasetKind {
    DATASET_CIFAR10,       /* binary version, https://www.cs.toronto.edu/~kriz/cifar.html */
    DATASET_MNIST,         /* IDX, http://yann.lecun.com/exdb/mnist/ */
    DATASET_FASHION_MNIST, /* IDX, https://github.com/zalandoresearch/fashion-mnist */
    DATASET_KINDS
} DatasetKind;

enum { DATASET_CLASSES = 10 };

/* Images of one split in file order. */
typedef struct ImageSet {
    size_t count;
    int channels, height, width;
    uint8_t *pixels; /* (count, channels, height, width), 0..255 */
    uint8_t *labels; /* (count), 0..9 */
} ImageSet;

/* "cifar10", "mnist", "fashion-mnist"; NULL at the end. */
extern const char *const dataset_names[DATASET_KINDS + 1];
const char *dataset_name(DatasetKind kind);

/* Names of the ten classes. */
const char *const *dataset_class_names(DatasetKind kind);

/* Sets channels, height and width of the kind's images, without reading a file. */
void dataset_image_shape(DatasetKind kind, int *channels, int *height, int *width);

typedef enum DatasetSplit { SPLIT_TRAIN, SPLIT_TEST, DATASET_SPLITS } DatasetSplit;

/* "train", "test"; NULL at the end. */
extern const char *const dataset_split_names[DATASET_SPLITS + 1];

/* Reads one split from `folder`: files NAME, or cifar-10-batches-bin/NAME for CIFAR-10 and NAME.gz
 * for IDX. On failure `images` is empty. Errors: a missing or unreadable file, a wrong size, a
 * label above 9, a truncated or corrupt .gz or IDX, out of memory. */
bool dataset_load(DatasetKind kind, DatasetSplit split, const char *folder, ImageSet *images,
                  Error *error);

/* Returns whether `path`, which need not exist, is one of the files that dataset_load reads. */
bool dataset_has_file(DatasetKind kind, const char *folder, const char *path);

/* Accepts an empty set (all zero). */
void image_set_free(ImageSet *images);

/* Returns the CRC-32 of pixels and labels, which identifies the set. */
uint32_t image_set_checksum(const ImageSet *images);

/* Decoders of one file's contents in memory; `name` is for messages. cifar10_decode appends to
 * `images`, whose buffers hold `capacity` images. */
bool cifar10_decode(const uint8_t *bytes, size_t size, const char *name, ImageSet *images,
                    size_t capacity, Error *error);

/* Decodes an IDX file of unsigned bytes with `rank` dimensions; *data points into `bytes`.
 * Format: magic 0 0 8 rank, then `rank` big-endian 32-bit sizes, then the elements. */
bool idx_decode(const uint8_t *bytes, size_t size, const char *name, int rank, size_t *dimensions,
                const uint8_t **data, Error *error);

/* Inflates *bytes if it starts with gzip's magic number, otherwise leaves it as it is. *bytes is
 * from memory_allocate() and is replaced by the result; on failure it is freed and NULL. Error also
 * if the result has more than `limit` bytes. */
bool gzip_decode(uint8_t **bytes, size_t *size, size_t limit, const char *name, Error *error);

#endif
