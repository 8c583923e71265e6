#include "formats/safetensors.h"

#include "base/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensor data are written as they are in memory");

enum { PREFIX = 8, ALIGNMENT = 8, MAX_HEADER = 100000000 };

static const char *const type_names[TENSOR_TYPES] = {
    [TENSOR_F32] = "F32", [TENSOR_F64] = "F64", [TENSOR_I64] = "I64", [TENSOR_U8] = "U8"};
static const size_t type_sizes[TENSOR_TYPES] = {
    [TENSOR_F32] = 4, [TENSOR_F64] = 8, [TENSOR_I64] = 8, [TENSOR_U8] = 1};

/* Checks a tensor whose data are to start at `begin`; sets *end. */
static bool check_tensor(const char *path, const Tensor *tensor, size_t begin, size_t *end,
                         Error *error)
{
    size_t size = type_sizes[tensor->type];
    size_t elements = 1, bytes;
    if (tensor->rank < 0 || tensor->rank > TENSOR_MAX_RANK)
        return fail(error, "cannot write: %s: tensor '%.200s': its rank is %d, 0 to %d expected",
                    path, tensor->name, tensor->rank, TENSOR_MAX_RANK);
    for (int i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(elements, tensor->shape[i], &elements))
            return fail(error, "cannot write: %s: tensor '%.200s': its shape is too large", path,
                        tensor->name);
    if (elements != tensor->elements)
        return fail(error,
                    "cannot write: %s: tensor '%.200s': its shape holds %zu elements, %zu were "
                    "expected",
                    path, tensor->name, elements, tensor->elements);
    if (__builtin_mul_overflow(elements, size, &bytes) ||
        __builtin_add_overflow(begin, bytes, end) || *end > INT64_MAX)
        return fail(error, "cannot write: %s: tensor '%.200s': the file would be too large", path,
                    tensor->name);
    if (begin % size != 0)
        return fail(error,
                    "cannot write: %s: tensor '%.200s': its data would start at byte %zu, a "
                    "multiple of %zu was expected: wider types come first",
                    path, tensor->name, begin, size);
    return true;
}

/* Returns NULL without memory: jansson's functions accept the NULL of a failed one, and fail. */
static json_t *header_entry(const Tensor *tensor, size_t begin, size_t end)
{
    json_t *entry = json_object(), *shape = json_array(), *offsets = json_array();
    bool made = shape && offsets;
    for (int i = 0; i < tensor->rank; i++)
        made &= json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i])) == 0;
    made &= json_array_append_new(offsets, json_integer((json_int_t)begin)) == 0;
    made &= json_array_append_new(offsets, json_integer((json_int_t)end)) == 0;
    made &= json_object_set_new(entry, "dtype", json_string(type_names[tensor->type])) == 0;
    made &= json_object_set_new(entry, "shape", shape) == 0;
    made &= json_object_set_new(entry, "data_offsets", offsets) == 0;
    if (made)
        return entry;
    json_decref(entry);
    return NULL;
}

/* Adds `value` under a new key; takes ownership of it. */
static bool add_member(json_t *object, const char *key, json_t *value, const char *path,
                       Error *error)
{
    if (json_object_get(object, key)) {
        json_decref(value);
        return fail(error, "cannot write: %s: '%.200s' is given twice", path, key);
    }
    if (json_object_set_new(object, key, value) != 0)
        return fail(error,
                    "cannot write: %s: '%.200s' cannot be put into the header: UTF-8 and enough "
                    "memory were expected",
                    path, key);
    return true;
}

static bool add_metadata(json_t *header, const char *const *metadata, size_t count,
                         const char *path, Error *error)
{
    json_t *object = json_object();
    bool done = true;
    for (size_t i = 0; done && i < count; i++)
        done = add_member(object, metadata[2 * i], json_string(metadata[2 * i + 1]), path, error);
    if (!done) {
        json_decref(object);
        return false;
    }
    return add_member(header, "__metadata__", object, path, error);
}

static bool add_tensors(json_t *header, const Tensor *tensors, size_t count, const char *path,
                        Error *error)
{
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        const Tensor *tensor = &tensors[i];
        size_t end = begin;
        if (strcmp(tensor->name, "__metadata__") == 0)
            return fail(error, "cannot write: %s: a tensor cannot be named __metadata__", path);
        if (!check_tensor(path, tensor, begin, &end, error) ||
            !add_member(header, tensor->name, header_entry(tensor, begin, end), path, error))
            return false;
        begin = end;
    }
    return true;
}

/* The commit reports the stream's errors. */
static void write_stream(FILE *stream, const char *header, size_t length, const Tensor *tensors,
                         size_t count)
{
    size_t padded = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    for (int i = 0; i < PREFIX; i++)
        putc((int)((uint64_t)padded >> 8 * i & 0xff), stream);
    fwrite(header, 1, length, stream);
    for (size_t i = length; i < padded; i++)
        putc(' ', stream);
    for (size_t i = 0; i < count; i++)
        if (tensors[i].elements > 0)
            fwrite(tensors[i].data, type_sizes[tensors[i].type], tensors[i].elements, stream);
}

static bool write_file(const char *path, const json_t *header, const Tensor *tensors, size_t count,
                       Error *error)
{
    char *text = json_dumps(header, JSON_COMPACT);
    if (!text)
        return fail(error, "out of memory: %s: the header cannot be encoded", path);
    size_t length = strlen(text);
    FileWriter writer;
    bool done = length <= MAX_HEADER - ALIGNMENT;
    if (!done)
        fail(error, "cannot write: %s: its header has %zu bytes, at most %d were expected", path,
             length, MAX_HEADER - ALIGNMENT);
    else if ((done = file_writer_open(&writer, path, error))) {
        write_stream(writer.stream, text, length, tensors, count);
        done = file_writer_commit(&writer, error);
    }
    free(text);
    return done;
}

bool safetensors_write(const char *path, const Tensor *tensors, size_t tensor_count,
                       const char *const *metadata, size_t metadata_count, Error *error)
{
    json_t *header = json_object();
    bool done =
        (metadata_count == 0 || add_metadata(header, metadata, metadata_count, path, error)) &&
        add_tensors(header, tensors, tensor_count, path, error);
    if (done)
        done = write_file(path, header, tensors, tensor_count, error);
    json_decref(header);
    return done;
}
