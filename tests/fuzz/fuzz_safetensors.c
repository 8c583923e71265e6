/* libFuzzer: any bytes are decoded or refused; what is decoded can be touched in full. */
#include "formats/safetensors.h"
#include "nnmf/memory.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned touched;

static void touch(const Tensor *tensor)
{
    static const size_t sizes[TENSOR_TYPES] = {
        [TENSOR_F32] = 4, [TENSOR_F64] = 8, [TENSOR_I64] = 8, [TENSOR_U8] = 1};
    if ((uintptr_t)tensor->data % 8 != 0 || tensor->rank < 0 || tensor->rank > TENSOR_MAX_RANK)
        abort();
    size_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        elements *= tensor->shape[i];
    if (elements != tensor->elements)
        abort();
    uint8_t *bytes = tensor->data;
    for (size_t i = 0; i < elements * sizes[tensor->type]; i++)
        touched += bytes[i]++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error error = {0};
    uint8_t *bytes = memory_allocate(size, 1, "input", &error);
    if (!bytes)
        return 0;
    if (size > 0)
        memcpy(bytes, data, size);
    TensorFile file;
    if (!safetensors_decode(bytes, size, "input", &file, &error)) {
        if (error.status == STATUS_OK || error.text[0] == '\0')
            abort();
        return 0;
    }
    for (size_t i = 0; i < file.tensor_count; i++) {
        touch(&file.tensors[i]);
        if (tensor_file_find(&file, file.tensors[i].name) != &file.tensors[i])
            abort();
    }
    for (size_t i = 0; i < file.metadata_count; i++)
        if (!tensor_file_metadata(&file, file.metadata[2 * i]))
            abort();
    tensor_file_free(&file);
    return 0;
}
