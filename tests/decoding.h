/* Shared by the tests of the data sets' files and of their decoders. */
#ifndef NNMF_TESTS_DECODING_H
#define NNMF_TESTS_DECODING_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

/* As gzip; the caller frees. */
uint8_t *gzip(const uint8_t *bytes, size_t size, size_t *packed_size);

/* From memory_allocate. */
uint8_t *copy(const uint8_t *bytes, size_t size);

/* Byte i of packed data or of an image, so that a shift by one would show. */
uint8_t pattern(size_t i);

/* The call failed with an error whose text contains `part`. */
void assert_failed(bool result, const Error *error, const char *part);

#endif
