/*
 * The safetensors format, https://github.com/huggingface/safetensors: 8 bytes little-endian
 * header size, a JSON header {"name": {"dtype", "shape", "data_offsets"}, "__metadata__":
 * {string: string}}, then the tensors' bytes, which must fill the rest without gap or overlap.
 */
#ifndef NNMF_SAFETENSORS_H
#define NNMF_SAFETENSORS_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

enum { TENSOR_MAX_RANK = 8 };

typedef enum TensorType { TENSOR_F32, TENSOR_F64, TENSOR_I64, TENSOR_U8, TENSOR_TYPES } TensorType;

typedef struct Tensor {
    char *name;
    TensorType type;
    int rank;
    size_t shape[TENSOR_MAX_RANK];
    size_t elements; /* product of the shape; 1 for rank 0 */
    void *data;      /* row-major; in a file that was read: points into its buffer, aligned to 8 */
} Tensor;

typedef struct TensorFile {
    size_t tensor_count;
    Tensor *tensors; /* in the order of their data in the file */
    size_t metadata_count;
    char **metadata; /* key, value, key, value, ... */
    uint8_t *buffer; /* owns what the tensors' data points to; NULL if they own nothing */
} TensorFile;

/* Reads and checks the whole file. Errors: unreadable; a header that is too long, no JSON, or
 * has duplicate, missing or unknown fields; an unknown dtype; a shape whose product overflows
 * or does not match its offsets; offsets outside the file, overlapping or with gaps. */
bool safetensors_read(const char *path, TensorFile *file, Error *error);

/* The same for a file's contents in memory (taken over; memory_allocate'd, freed on failure
 * too). `name` is for messages. */
bool safetensors_decode(uint8_t *bytes, size_t size, const char *name, TensorFile *file,
                        Error *error);

/* Also fine on an empty file (all zero). */
void tensor_file_free(TensorFile *file);

/* NULL when there is none of that name. */
const Tensor *tensor_file_find(const TensorFile *file, const char *name);
const char *tensor_file_metadata(const TensorFile *file, const char *key);

/* Writes beside and renames (file.h); the header is padded with spaces so that the data start at
 * a multiple of 8 bytes. Tensors are written in the given order; those of 8-byte types must
 * come first, so that all data stay aligned. */
bool safetensors_write(const char *path, const Tensor *tensors, size_t tensor_count,
                       const char *const *metadata, size_t metadata_count, Error *error);

#endif
