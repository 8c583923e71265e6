/* What the tests of the data sets' files and of what decodes them share. */
#ifndef NNMF_TESTS_DECODING_H
#define NNMF_TESTS_DECODING_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

/* As gzip; the caller frees. */
uint8_t *gzip(const uint8_t *bytes, size_t size, size_t *packed_size);

/* From memory_allocate. */
uint8_t *copy(const uint8_t *bytes, size_t size);

/* The byte at each place of what is packed or of an image, so that a shift of one would show. */
uint8_t pattern(size_t i);

/* The result is a failure whose text has this part. */
void assert_failed(bool result, const Error *error, const char *part);

#endif
