/* Shared by the tests of the datasets' files and their decoders. */
#ifndef NNMF_TESTS_DECODING_H
#define NNMF_TESTS_DECODING_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

/* Packs as gzip; the caller frees the result by free(). */
uint8_t *gzip(const uint8_t *bytes, size_t size, size_t *packed_size);

/* Copies into memory from memory_allocate(). */
uint8_t *copy(const uint8_t *bytes, size_t size);

/* Returns byte i of test data; a shift by one shows. */
uint8_t pattern(size_t i);

/* Asserts that `result` is a failure whose text contains `part`. */
void assert_failed(bool result, const Error *error, const char *part);

#endif
