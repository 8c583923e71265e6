/*
 * A log in CSV whose first column counts up from 0. It is held in memory and written whole, beside
 * and renamed (file.h), so that the file is never half a line; going on with a run keeps the rows
 * of the part that is not repeated.
 */
#ifndef NNMF_CSV_H
#define NNMF_CSV_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct CsvLog {
    const char *path; /* borrowed; NULL: an unused log, to which the functions do nothing */
    char *text;
    size_t length, capacity;
    uint64_t kept; /* rows of the file that was there */
} CsvLog;

/* Starts with `header` (no newline) and, if the file exists, those of its rows whose first column
 * is below `keep`; what a spreadsheet or an editor makes of ends of lines, quotes, empty rows and
 * the beginning is put right. Errors: a file with another header or such a row with other columns,
 * or that cannot be read. */
bool csv_open(CsvLog *log, const char *path, const char *header, uint64_t keep, Error *error);

/* One row, printf-like, no newline. */
bool csv_append(CsvLog *log, Error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool csv_write(const CsvLog *log, Error *error);
void csv_close(CsvLog *log);

#endif
