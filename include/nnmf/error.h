/*
 * Errors as values: a function that can fail takes a trailing `Error *`, fills it and returns
 * false (or NULL). Nothing below main() exits. A text reads
 * "what went wrong: which file or option: what was expected", in one line, with no program name.
 */
#ifndef NNMF_ERROR_H
#define NNMF_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Also the exit statuses of the program. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

typedef struct Error {
    int status; /* STATUS_OK until something went wrong */
    char text[1024];
} Error;

/* Each fills `error` printf-like and returns false, so that a caller can `return fail(...)`.
 * A text too long for the buffer is cut; control characters (from file names or file contents)
 * are replaced by '?', so that it stays one line. */
bool fail(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fail_usage(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line on standard error, "nnmf-train: " and then such a text, cut and cleaned likewise. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif

#endif
