/*
 * Errors as values: a function that can fail takes a trailing `Error *`, fills it and returns
 * false (or NULL). Nothing below main() exits. The text is one line,
 * "what went wrong: which file or option: what was expected", without the program's name.
 */
#ifndef NNMF_ERROR_H
#define NNMF_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Also the exit status of the program. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

typedef struct Error {
    int status; /* STATUS_OK until something fails */
    char text[1024];
} Error;

/* Fill `error` like printf, with STATUS_FAILED or STATUS_USAGE, and return false, so that a caller
 * can `return fail(...)`. A text too long for the buffer is truncated; control characters (from
 * file names or file contents) become '?', so that it stays one line. */
bool fail(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fail_usage(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints "nnmf-train: " and such a text to stderr, truncated and cleaned in the same way. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif

#endif
