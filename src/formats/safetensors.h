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
    void *data;      /* row-major; of a TensorFile: in its buffer, aligned to 8 bytes */
} Tensor;

typedef struct TensorFile {
    size_t tensor_count;
    Tensor *tensors; /* in the order of their data in the file */
    size_t metadata_count;
    char **metadata; /* key, value, key, value, ... */
    uint8_t *buffer; /* holds the tensors' data; NULL: they are borrowed */
} TensorFile;

/* Reads and checks the whole file. Errors: unreadable; a header that is too long, not JSON, or
 * has duplicate, missing or unknown fields; an unknown dtype; a shape whose product overflows
 * or does not match its offsets; offsets outside the file, overlapping or with gaps. */
bool safetensors_read(const char *path, TensorFile *file, Error *error);

/* The same for a file's contents from memory_allocate(), which it takes ownership of, on failure
 * too. `name` is for messages. */
bool safetensors_decode(uint8_t *bytes, size_t size, const char *name, TensorFile *file,
                        Error *error);

/* Accepts an empty file (all zero). */
void tensor_file_free(TensorFile *file);

/* Return NULL if there is none of that name. */
const Tensor *tensor_file_find(const TensorFile *file, const char *name);
const char *tensor_file_metadata(const TensorFile *file, const char *key);

/* Writes atomically (file.h), with metadata_count pairs of key and value. The header is padded with
 * spaces so that the data start at a multiple of 8 bytes. Tensors are written in the given order;
 * those of wider types must come first, so that all data are aligned. */
bool safetensors_write(const char *path, const Tensor *tensors, size_t tensor_count,
                       const char *const *metadata, size_t metadata_count, Error *error);

#endif
