/*
 * Event files for TensorBoard: values, pictures and texts by step. They are only appended to.
 *
 * A file is a sequence of records (tensorflow/core/lib/io/record_writer.h): length of the data
 * (8 bytes, little-endian), masked CRC-32C of these 8 bytes (4), data, masked CRC-32C of the data
 * (4). The data of a record is an Event (src/formats/event.proto). The first names the version of
 * the format and the program that wrote the file.
 *
 * Events are held in memory until a flush appends and syncs them; only then does a reader that
 * follows the file see them. If the program is killed while it writes, the file ends in a partial
 * record, where readers stop.
 */
#ifndef NNMF_EVENT_FILE_H
#define NNMF_EVENT_FILE_H

#include "formats/picture.h"
#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct EventFile {
    char path[4096];
    int descriptor;          /* -1 until the first flush creates the file */
    uint64_t written;        /* bytes on disk */
    uint8_t *pending;        /* records to be flushed */
    size_t length, capacity; /* of pending */
} EventFile;

/* Starts a new file in `folder`, events.out.tfevents.<seconds since 1970>.<host>.<process>. Its
 * name sorts after those of the event files there, since readers order a run's files by name. The
 * first flush creates it. Call event_file_close in any case. */
bool event_file_open(EventFile *file, const char *folder, Error *error);

/* Records that the run resumes at `step`: readers drop this step and later ones. */
bool event_file_restart(EventFile *file, uint64_t step, Error *error);

/* Add one value, picture or Markdown text. The part of `tag` before a slash is its group. */
bool event_file_scalar(EventFile *file, uint64_t step, const char *tag, double value, Error *error);
bool event_file_picture(EventFile *file, uint64_t step, const char *tag, const Picture *picture,
                        Error *error);
bool event_file_text(EventFile *file, uint64_t step, const char *tag, const char *markdown,
                     Error *error);

/* Appends the pending events and syncs. On failure the file is truncated to its old length and the
 * events stay pending. */
bool event_file_flush(EventFile *file, Error *error);

/* Closes the file and drops pending events. Accepts an empty file (all zero). */
void event_file_close(EventFile *file);

/* The same, and deletes the file if a flush created it. */
void event_file_remove(EventFile *file);

/* Truncates this program's event files in `folder` before the first record that is incomplete or
 * has a step >= `keep`. Removes a file that is left with its version only, unless it is the last: a
 * TensorBoard that follows the run would wait for it forever. Other files are not changed. */
bool event_files_cut(const char *folder, uint64_t keep, Error *error);

/* Sets *kept to the number of bytes that event_files_cut keeps of a file's contents, and *own to
 * whether this program wrote it; other files are kept whole. Error: out of memory. */
bool event_file_kept(const uint8_t *bytes, size_t size, uint64_t keep, bool *own, size_t *kept,
                     Error *error);

#endif
