/* Reads and writes whole files. A written file appears under its name complete or not at all. */
#ifndef NNMF_FILE_H
#define NNMF_FILE_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Reads a regular file of at most `limit` bytes. The caller frees *bytes by memory_free(). */
bool file_read(const char *path, size_t limit, uint8_t **bytes, size_t *count, Error *error);

/* The same, without the byte-order mark that some editors put before UTF-8. */
bool file_read_text(const char *path, size_t limit, uint8_t **bytes, size_t *count, Error *error);

/* Joins folder and name with '/'. Error: longer than `capacity`. */
bool file_join(char *path, size_t capacity, const char *folder, const char *name, Error *error);

/* Atomic writing: open, write to `stream` (errors may be left to commit), then commit or discard.
 * Commit flushes, checks, fsyncs and renames the temporary file to `path`. Until it succeeds an
 * older file of that name is unchanged; commit and discard leave no temporary file behind. */
typedef struct FileWriter {
    FILE *stream;
    char path[4096];
    char temporary[4096];
} FileWriter;

bool file_writer_open(FileWriter *writer, const char *path, Error *error);
bool file_writer_commit(FileWriter *writer, Error *error);
void file_writer_discard(FileWriter *writer);

/* Makes a path absolute; a relative one starts at the working folder. */
bool file_absolute(char *path, size_t capacity, const char *relative, Error *error);

/* Returns whether both paths name the same file, which need not exist. */
bool file_same(const char *one, const char *other);

/* Creates the folder and its parents; an existing folder is fine. */
bool file_make_folder(const char *path, Error *error);

#endif
