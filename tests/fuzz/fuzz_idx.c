/* Any bytes as an IDX file, plain or gzip: refused, or with all its elements within them. */
#include "data/dataset.h"
#include "nnmf/memory.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void decode(const uint8_t *bytes, size_t size, int rank)
{
    size_t dimensions[3] = {0};
    const uint8_t *data = NULL;
    Error error = {0};
    if (!idx_decode(bytes, size, "fuzz", rank, dimensions, &data, &error)) {
        require(error.status == STATUS_FAILED && error.text[0] != '\0');
        return;
    }
    size_t elements = 1;
    for (int i = 0; i < rank; i++)
        require(dimensions[i] > 0 && !__builtin_mul_overflow(elements, dimensions[i], &elements));
    require(data == bytes + 4 + 4 * rank);
    require(elements == size - (size_t)(data - bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size)
{
    Error error = {0};
    uint8_t *bytes = memory_allocate(input_size, 1, "fuzz", &error);
    require(bytes != NULL);
    if (input_size > 0)
        memcpy(bytes, input, input_size);
    size_t size = input_size;
    if (gzip_decode(&bytes, &size, LIMIT, "fuzz", &error)) {
        require(bytes && size <= LIMIT);
        decode(bytes, size, 1);
        decode(bytes, size, 3);
    } else {
        require(!bytes && size == 0);
        require(error.status == STATUS_FAILED && error.text[0] != '\0');
    }
    memory_free(bytes);
    return 0;
}
