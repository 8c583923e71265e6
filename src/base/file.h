/* Whole files in and out. A file that is written appears under its name complete or not at all. */
#ifndef NNMF_FILE_H
#define NNMF_FILE_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Reads a regular file of at most `limit` bytes into memory from memory_allocate(). */
bool file_read(const char *path, size_t limit, uint8_t **bytes, size_t *count, Error *error);

/* The same without the byte-order mark that some editors put before UTF-8. */
bool file_read_text(const char *path, size_t limit, uint8_t **bytes, size_t *count, Error *error);

/* Joins folder and name with '/'; fails instead of cutting. */
bool file_join(char *path, size_t capacity, const char *folder, const char *name, Error *error);

/* Writing beside and renaming: open, write to `writer.stream` (errors may be left to commit),
 * then commit, which flushes, checks, fsyncs and renames over `path`, or discard. Until a
 * successful commit an older file of that name stays whole; commit and discard both leave no
 * temporary file behind. */
typedef struct FileWriter {
    FILE *stream;
    char path[4096];
    char temporary[4096];
} FileWriter;

bool file_writer_open(FileWriter *writer, const char *path, Error *error);
bool file_writer_commit(FileWriter *writer, Error *error);
void file_writer_discard(FileWriter *writer);

/* The path from the root, of one that may be relative to the working folder. */
bool file_absolute(char *path, size_t capacity, const char *relative, Error *error);

/* Do both name the same file, whether it is there yet or not? */
bool file_same(const char *one, const char *other);

/* Makes the folder and those above it; an existing folder is fine. */
bool file_make_folder(const char *path, Error *error);

#endif
