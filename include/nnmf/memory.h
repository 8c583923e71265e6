/* Checked allocation: reports overflow of count * size and exhausted memory as an Error. */
#ifndef NNMF_MEMORY_H
#define NNMF_MEMORY_H

#include "nnmf/error.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Allocates `count` elements of `size` bytes, zeroed and aligned to 64 bytes (a cache line and the
 * widest vector register). On failure returns NULL; the error states the number of bytes and `what`
 * they were for. A count of 0 returns a valid pointer. Free with memory_free(). */
void *memory_allocate(size_t count, size_t size, const char *what, Error *error);

/* NULL is allowed. */
void memory_free(void *pointer);

/* For tests of error paths: after `allocations` more successful calls, every further one fails as
 * if memory were exhausted. Negative, the initial state: none fails. */
void memory_fail_after(long allocations);

#ifdef __cplusplus
}
#endif

#endif
