/* The labelled images that the program knows, read from their official files into memory. */
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
bool dataset_from_name(const char *name, DatasetKind *kind);

/* Names of the ten classes. */
const char *const *dataset_class_names(DatasetKind kind);

/* Channels, height and width of the kind's images: known without reading a file. */
void dataset_image_shape(DatasetKind kind, int *channels, int *height, int *width);

typedef enum DatasetSplit { SPLIT_TRAIN, SPLIT_TEST, DATASET_SPLITS } DatasetSplit;

/* "train", "test"; NULL at the end. */
extern const char *const dataset_split_names[DATASET_SPLITS + 1];

/* Reads one split from the files in `folder` (for IDX NAME or NAME.gz). On failure `images` is
 * empty. Errors: a missing or unreadable file, a wrong size, a label above 9, a truncated or
 * corrupt .gz or IDX, out of memory. */
bool dataset_load(DatasetKind kind, DatasetSplit split, const char *folder, ImageSet *images,
                  Error *error);

/* Would dataset_load read a split from the file at `path`, there or not? */
bool dataset_has_file(DatasetKind kind, const char *folder, const char *path);

/* Also fine on an empty set (all zero). */
void image_set_free(ImageSet *images);

/* CRC-32 of pixels and labels: tells one set from another. */
uint32_t image_set_checksum(const ImageSet *images);

/* The formats underneath, each for one file's whole contents in memory; `name` is for messages.
 * cifar10_decode appends to `images` whose pixels and labels have room for `capacity` images. */
bool cifar10_decode(const uint8_t *bytes, size_t size, const char *name, ImageSet *images,
                    size_t capacity, Error *error);

/* An IDX file of unsigned bytes with `rank` dimensions; `data` points into `bytes`.
 * Format: magic 0 0 8 rank, then `rank` big-endian 32-bit sizes, then the elements. */
bool idx_decode(const uint8_t *bytes, size_t size, const char *name, int rank, size_t *dimensions,
                const uint8_t **data, Error *error);

/* Plain or gzip contents to plain: inflates when the two magic bytes of gzip are there, else
 * hands the same bytes on. Takes `*bytes` over (memory_allocate'd) and replaces it; at most
 * `limit` bytes come out. */
bool gzip_decode(uint8_t **bytes, size_t *size, size_t limit, const char *name, Error *error);

#endif
