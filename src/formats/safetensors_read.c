#include "formats/safetensors.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensor data are used as they are in memory");

/* MAX_HEADER is the official implementation's limit. MAX_FILE keeps a wrong path from filling the
 * memory; this program's files have a few megabytes. */
enum { PREFIX = 8, ALIGNMENT = 8, MAX_HEADER = 100000000, MAX_FILE = 1 << 30 };

/* A name from a file, cut so that the rest of the message fits. */
#define NAME "'%.200s'"

static const struct {
    const char *name;
    size_t size;
} types[TENSOR_TYPES] = {
    [TENSOR_F32] = {"F32", 4},
    [TENSOR_F64] = {"F64", 8},
    [TENSOR_I64] = {"I64", 8},
    [TENSOR_U8] = {"U8", 1},
};

/* A tensor's entry in the header and where its data lie, relative to the first tensor's. */
typedef struct {
    const char *key;
    json_t *entry;
    size_t begin, end;
} Span;

/* A file's contents while they are decoded; `data` are the bytes after the header. */
typedef struct {
    const char *name;
    uint8_t *bytes;
    size_t data_start, data_size;
    json_t *header;
    Span *spans;
    size_t span_count;
} Source;

static bool load_header(Source *source, size_t size, Error *error)
{
    if (size < PREFIX)
        return fail(error, "bad safetensors file: %s: it has %zu bytes, at least 8 were expected",
                    source->name, size);
    uint64_t length = 0;
    for (int i = PREFIX - 1; i >= 0; i--)
        length = length << 8 | source->bytes[i];
    size_t limit = size - PREFIX < MAX_HEADER ? size - PREFIX : MAX_HEADER;
    if (length > limit)
        return fail(error,
                    "bad safetensors header: %s: its size is given as %ju bytes, at most %zu were "
                    "expected",
                    source->name, (uintmax_t)length, limit);
    source->data_start = PREFIX + (size_t)length;
    source->data_size = size - source->data_start;

    const char *text = (const char *)source->bytes + PREFIX;
    if (length == 0 || text[0] != '{')
        return fail(error, "bad safetensors header: %s: it does not start with '{'", source->name);
    json_error_t reason;
    source->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &reason);
    if (!source->header)
        return fail(error, "bad safetensors header: %s: invalid JSON, byte %d: %s", source->name,
                    reason.position, reason.text[0] ? reason.text : "out of memory");
    return true;
}

static bool get_size(const json_t *value, size_t *size)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0)
        return false;
    *size = (size_t)number;
    return (json_int_t)*size == number;
}

static bool check_fields(const Source *source, const char *key, json_t *entry, Error *error)
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    enum { FIELDS = sizeof fields / sizeof *fields };
    if (!json_is_object(entry))
        return fail(error, "bad safetensors header: %s: tensor " NAME " is not a JSON object",
                    source->name, key);
    for (int i = 0; i < FIELDS; i++)
        if (!json_object_get(entry, fields[i]))
            return fail(error, "bad safetensors header: %s: tensor " NAME " has no %s",
                        source->name, key, fields[i]);
    if (json_object_size(entry) != FIELDS)
        return fail(error,
                    "bad safetensors header: %s: tensor " NAME
                    " has %zu fields, dtype, shape and "
                    "data_offsets were expected",
                    source->name, key, json_object_size(entry));
    return true;
}

static bool read_span(const Source *source, const char *key, json_t *entry, Span *span,
                      Error *error)
{
    if (!check_fields(source, key, entry, error))
        return false;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    span->key = key;
    span->entry = entry;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !get_size(json_array_get(offsets, 0), &span->begin) ||
        !get_size(json_array_get(offsets, 1), &span->end) || span->begin > span->end)
        return fail(error,
                    "bad safetensors header: %s: tensor " NAME
                    ": data_offsets [begin, end] with "
                    "0 <= begin <= end were expected",
                    source->name, key);
    if (span->end > source->data_size)
        return fail(error,
                    "bad safetensors header: %s: tensor " NAME
                    " ends at byte %zu of the data, the "
                    "file has %zu",
                    source->name, key, span->end, source->data_size);
    return true;
}

static int compare_spans(const void *left, const void *right)
{
    const Span *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return strcmp(a->key, b->key); /* empty tensors; the order must not depend on the sort */
}

static bool check_spans(const Source *source, Error *error)
{
    size_t end = 0;
    for (size_t i = 0; i < source->span_count; i++) {
        const Span *span = &source->spans[i];
        if (span->begin != end)
            return fail(error,
                        "bad safetensors header: %s: tensor " NAME
                        " starts at byte %zu of the "
                        "data, byte %zu was expected: %s",
                        source->name, span->key, span->begin, end,
                        span->begin < end ? "tensors overlap" : "there is a gap");
        end = span->end;
    }
    if (end != source->data_size)
        return fail(error,
                    "bad safetensors file: %s: %zu bytes follow the last tensor, none were "
                    "expected",
                    source->name, source->data_size - end);
    return true;
}

static bool read_spans(Source *source, Error *error)
{
    source->spans = memory_allocate(json_object_size(source->header), sizeof *source->spans,
                                    "spans of tensors", error);
    if (!source->spans)
        return false;
    const char *key;
    json_t *entry;
    json_object_foreach(source->header, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0)
            continue;
        if (!read_span(source, key, entry, &source->spans[source->span_count], error))
            return false;
        source->span_count++;
    }
    if (source->span_count > 1)
        qsort(source->spans, source->span_count, sizeof *source->spans, compare_spans);
    return check_spans(source, error);
}

static char *copy_text(const char *text, Error *error)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size, 1, "text of a safetensors header", error);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

static bool read_type(const Source *source, const Span *span, Tensor *tensor, Error *error)
{
    const char *name = json_string_value(json_object_get(span->entry, "dtype"));
    for (int i = 0; name && i < TENSOR_TYPES; i++)
        if (strcmp(name, types[i].name) == 0) {
            tensor->type = (TensorType)i;
            return true;
        }
    return fail(error,
                "bad safetensors header: %s: tensor " NAME
                ": dtype is %.20s, F32, F64, I64 or U8 "
                "was expected",
                source->name, span->key, name ? name : "not a string");
}

static bool read_shape(const Source *source, const Span *span, Tensor *tensor, Error *error)
{
    const json_t *shape = json_object_get(span->entry, "shape");
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > TENSOR_MAX_RANK)
        return fail(error,
                    "bad safetensors header: %s: tensor " NAME
                    ": a shape of at most %d sizes was "
                    "expected",
                    source->name, span->key, TENSOR_MAX_RANK);
    tensor->rank = (int)rank;
    tensor->elements = 1;
    for (size_t i = 0; i < rank; i++) {
        if (!get_size(json_array_get(shape, i), &tensor->shape[i]))
            return fail(error,
                        "bad safetensors header: %s: tensor " NAME
                        ": a shape of whole numbers "
                        "from 0 was expected",
                        source->name, span->key);
        if (__builtin_mul_overflow(tensor->elements, tensor->shape[i], &tensor->elements))
            return fail(error,
                        "bad safetensors header: %s: tensor " NAME
                        ": its shape exceeds the "
                        "address space",
                        source->name, span->key);
    }
    return true;
}

static bool read_tensor(const Source *source, const Span *span, Tensor *tensor, Error *error)
{
    if (!read_type(source, span, tensor, error) || !read_shape(source, span, tensor, error))
        return false;
    size_t bytes;
    if (__builtin_mul_overflow(tensor->elements, types[tensor->type].size, &bytes))
        return fail(error,
                    "bad safetensors header: %s: tensor " NAME
                    ": shape x type exceeds the address "
                    "space",
                    source->name, span->key);
    if (bytes != span->end - span->begin)
        return fail(error,
                    "bad safetensors header: %s: tensor " NAME
                    ": shape x type is %zu bytes, its "
                    "data_offsets span %zu",
                    source->name, span->key, bytes, span->end - span->begin);
    tensor->name = copy_text(span->key, error);
    return tensor->name != NULL;
}

static bool read_tensors(const Source *source, TensorFile *file, Error *error)
{
    file->tensors = memory_allocate(source->span_count, sizeof *file->tensors, "tensors", error);
    if (!file->tensors)
        return false;
    file->tensor_count = source->span_count;
    for (size_t i = 0; i < source->span_count; i++)
        if (!read_tensor(source, &source->spans[i], &file->tensors[i], error))
            return false;
    return true;
}

static bool read_metadata(const Source *source, TensorFile *file, Error *error)
{
    json_t *metadata = json_object_get(source->header, "__metadata__");
    if (!metadata)
        return true;
    if (!json_is_object(metadata))
        return fail(error, "bad safetensors header: %s: __metadata__ is not a JSON object",
                    source->name);
    size_t count = json_object_size(metadata);
    file->metadata = memory_allocate(count, 2 * sizeof *file->metadata, "metadata", error);
    if (!file->metadata)
        return false;
    file->metadata_count = count;
    const char *key;
    json_t *value;
    char **next = file->metadata;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return fail(error,
                        "bad safetensors header: %s: __metadata__ " NAME
                        " is not a string, a string "
                        "was expected",
                        source->name, key);
        next[0] = copy_text(key, error);
        next[1] = next[0] ? copy_text(json_string_value(value), error) : NULL;
        if (!next[1])
            return false;
        next += 2;
    }
    return true;
}

/* Moves every tensor towards the front, to a multiple of ALIGNMENT, over the header, which is no
 * longer needed. No tensor overwrites data not yet moved: its padding is shorter than its entry in
 * the header. */
static void align_data(const Source *source, TensorFile *file)
{
    size_t to = 0;
    for (size_t i = 0; i < source->span_count; i++) {
        const Span *span = &source->spans[i];
        size_t bytes = span->end - span->begin;
        memmove(source->bytes + to, source->bytes + source->data_start + span->begin, bytes);
        file->tensors[i].data = source->bytes + to;
        to += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

bool safetensors_decode(uint8_t *bytes, size_t size, const char *name, TensorFile *file,
                        Error *error)
{
    Source source = {.name = name, .bytes = bytes};
    *file = (TensorFile){.buffer = bytes};
    bool done = load_header(&source, size, error) && read_spans(&source, error) &&
                read_tensors(&source, file, error) && read_metadata(&source, file, error);
    if (done)
        align_data(&source, file);
    else
        tensor_file_free(file);
    memory_free(source.spans);
    json_decref(source.header);
    return done;
}

bool safetensors_read(const char *path, TensorFile *file, Error *error)
{
    *file = (TensorFile){0};
    uint8_t *bytes;
    size_t size;
    return file_read(path, MAX_FILE, &bytes, &size, error) &&
           safetensors_decode(bytes, size, path, file, error);
}

void tensor_file_free(TensorFile *file)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        memory_free(file->tensors[i].name);
    for (size_t i = 0; i < 2 * file->metadata_count; i++)
        memory_free(file->metadata[i]);
    memory_free(file->tensors);
    memory_free(file->metadata);
    memory_free(file->buffer);
    *file = (TensorFile){0};
}

const Tensor *tensor_file_find(const TensorFile *file, const char *name)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const char *tensor_file_metadata(const TensorFile *file, const char *key)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (strcmp(file->metadata[2 * i], key) == 0)
            return file->metadata[2 * i + 1];
    return NULL;
}
