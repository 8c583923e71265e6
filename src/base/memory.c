#include "nnmf/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static long allocations_left = -1;

void memory_fail_after(long allocations)
{
    allocations_left = allocations;
}

static bool exhausted_for_test(void)
{
    if (allocations_left < 0)
        return false;
    if (allocations_left == 0)
        return true;
    allocations_left--;
    return false;
}

void *memory_allocate(size_t count, size_t size, const char *what, Error *error)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 2 * ALIGNMENT) {
        fail(error, "out of memory: %s: %zu elements of %zu bytes exceed the address space", what,
             count, size);
        return NULL;
    }
    /* aligned_alloc requires a multiple of the alignment and may return NULL for 0 bytes. */
    size_t rounded = (bytes / ALIGNMENT + 1) * ALIGNMENT;
    void *pointer = exhausted_for_test() ? NULL : aligned_alloc(ALIGNMENT, rounded);
    if (!pointer) {
        fail(error, "out of memory: %s: %zu bytes were asked for", what, bytes);
        return NULL;
    }
    memset(pointer, 0, rounded);
    return pointer;
}

void memory_free(void *pointer)
{
    free(pointer);
}
