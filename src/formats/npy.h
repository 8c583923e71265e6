/*
 * A matrix as a .npy file, for numpy.load(). The format, version 1.0, is specified in
 * numpy.lib.format,
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: the magic
 * "\x93NUMPY", the version 1 0, 2 bytes little-endian header size, a Python dictionary literal
 * padded with spaces and ended by a line feed so that the data start at a multiple of 64 bytes,
 * then the elements row by row.
 */
#ifndef NNMF_NPY_H
#define NNMF_NPY_H

#include "nnmf/error.h"

#include <stddef.h>

/* Writes `data`, (rows, columns) in row-major order, atomically (file.h). */
bool npy_write_f32(const char *path, const float *data, size_t rows, size_t columns, Error *error);

#endif
