/* Allocation with the two checks that are easily forgotten: the product and the result. */
#ifndef NNMF_MEMORY_H
#define NNMF_MEMORY_H

#include "nnmf/error.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `count` elements of `size` bytes, zeroed, aligned to 64 bytes (a cache line and the widest
 * vector register). Fails with the number of bytes and `what` it was for. Free with
 * memory_free(). A count of 0 gives a valid pointer. */
void *memory_allocate(size_t count, size_t size, const char *what, Error *error);

/* NULL is allowed. */
void memory_free(void *pointer);

/* For tests of the error paths: after `allocations` more successful calls every further one
 * fails as if memory were exhausted. A negative number, the initial state, never fails. */
void memory_fail_after(long allocations);

#ifdef __cplusplus
}
#endif

#endif
