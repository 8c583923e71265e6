/*
 * A CSV log whose first column counts up from 0. It is held in memory and written whole and
 * atomically (file.h), so that the file never ends in a partial line. A resumed run keeps the rows
 * before the point where it resumes.
 */
#ifndef NNMF_CSV_H
#define NNMF_CSV_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct CsvLog {
    const char *path; /* borrowed; NULL: unused, appending and writing do nothing */
    char *text;
    size_t length, capacity;
    uint64_t kept; /* rows kept of the existing file */
} CsvLog;

/* Starts a log with `header` (no newline) and, if the file exists, its rows whose first column is
 * below `keep`. Accepts the line endings, quotes, blank rows and byte-order mark that spreadsheets
 * and editors add. Errors: the file cannot be read or has another header, a row to keep has the
 * wrong number of columns. Call csv_close in any case. */
bool csv_open(CsvLog *log, const char *path, const char *header, uint64_t keep, Error *error);

/* Appends a row, formatted as by printf, without a newline. */
bool csv_append(CsvLog *log, Error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool csv_write(const CsvLog *log, Error *error);
void csv_close(CsvLog *log);

#endif
