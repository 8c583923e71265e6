/* Data files in a folder of their own for each test, and checks of what loading them does. */
#ifndef NNMF_TESTS_DATA_FOLDER_H
#define NNMF_TESTS_DATA_FOLDER_H

#include "data/dataset.h"

#include <stddef.h>
#include <stdint.h>

enum { RECORD = 3073, RECORDS = 10000, SIDE = 28 };

/* The test's folder. */
extern const char *const folder;

/* A test's setup and teardown. */
int make_folder(void **state);
int remove_folder(void **state);
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

/* The path of a name in the folder, until the next call. */
const char *in_folder(const char *name);

typedef void Writer(const char *name, const uint8_t *bytes, size_t size);

void write_file(const char *name, const uint8_t *bytes, size_t size);

void write_gzip(const char *name, const uint8_t *bytes, size_t size);

/* Overwrites one byte of the file. */
void write_byte(const char *name, long place, int byte);

/* A CIFAR-10 batch of the official size, sparse but for its first and last record, whose labels are
 * `label` and `label + 1`; the others are black airplanes. */
void write_batch(const char *name, uint8_t label);

/* Big endian, 32 bits. */
void put_word(uint8_t *bytes, size_t word);

/* IDX with the pattern as its elements; the caller frees. */
uint8_t *make_idx(int rank, const size_t *dimensions, size_t *size);

void write_idx(Writer *writer, const char *name, int rank, size_t count, size_t height,
               size_t width);

/* Loading from the folder fails with this part in the error's text, and leaves no images. */
void assert_load_fails(DatasetKind kind, DatasetSplit split, const char *part);

/* Loads with more and more allocations that succeed, until all do: after at least `least`. */
void assert_survives_lack_of_memory(DatasetKind kind, DatasetSplit split, long least);

#endif
