/* Data files in a temporary folder per test, and assertions about loading them. */
#ifndef NNMF_TESTS_DATA_FOLDER_H
#define NNMF_TESTS_DATA_FOLDER_H

#include "data/dataset.h"

#include <stddef.h>
#include <stdint.h>

enum { RECORD = 3073, RECORDS = 10000, SIDE = 28 };

/* The test's folder. */
extern const char *const folder;

/* Setup and teardown of a test. */
int make_folder(void **state);
int remove_folder(void **state);
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

/* Returns the path of a file in the folder, valid until the next call. */
const char *in_folder(const char *name);

typedef void Writer(const char *name, const uint8_t *bytes, size_t size);

void write_file(const char *name, const uint8_t *bytes, size_t size);

void write_gzip(const char *name, const uint8_t *bytes, size_t size);

/* Overwrites one byte of the file. */
void write_byte(const char *name, long place, int byte);

/* Writes a sparse CIFAR-10 batch of the official size. Its first and last record have the labels
 * `label` and `label + 1`; the others are zeros. */
void write_batch(const char *name, uint8_t label);

/* Stores 32 bits in big-endian order. */
void put_word(uint8_t *bytes, size_t word);

/* Returns an IDX file with the pattern as its elements. The caller frees it. */
uint8_t *make_idx(int rank, const size_t *dimensions, size_t *size);

void write_idx(Writer *writer, const char *name, int rank, size_t count, size_t height,
               size_t width);

/* Asserts that loading from the folder fails with an error that contains `part`, and leaves no
 * images. */
void assert_load_fails(DatasetKind kind, DatasetSplit split, const char *part);

/* Loads with 0, 1, 2, ... successful allocations until loading succeeds, and asserts that this
 * takes at least `minimum` and that each failure is reported. */
void assert_survives_lack_of_memory(DatasetKind kind, DatasetSplit split, long minimum);

#endif
