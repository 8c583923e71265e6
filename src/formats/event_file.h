/*
 * Event files, which TensorBoard reads: what happened at which step, appended and never changed.
 *
 * A file is a sequence of records (tensorflow/core/lib/io/record_writer.h): length of the data
 * (8 bytes, little-endian), masked CRC-32C of these 8 bytes (4), data, masked CRC-32C of the data
 * (4). The data of a record is an Event (src/formats/event.proto). The first names the version of
 * the format and who wrote the file.
 *
 * Events are kept in memory until they are flushed; then they are appended, so that a reader that
 * follows the file sees them, and synced. Killed while it is written, a file ends with a part of a
 * record, before which readers stop.
 */
#ifndef NNMF_EVENT_FILE_H
#define NNMF_EVENT_FILE_H

#include "formats/picture.h"
#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct EventFile {
    char path[4096];
    int descriptor;   /* -1: not there before the first flush */
    uint64_t written; /* bytes on disk */
    uint8_t *pending; /* records to be flushed */
    size_t length, capacity;
} EventFile;

/* A new file in `folder`, events.out.tfevents.<seconds since 1970>.<host>.<process>: its name is
 * later than those of the event files there, since readers order a run's files by name. Nothing is
 * on disk before the first flush. */
bool event_file_open(EventFile *file, const char *folder, Error *error);

/* A run goes on at `step`: a reader that follows it forgets this step and those after it. */
bool event_file_restart(EventFile *file, uint64_t step, Error *error);

/* One value, picture or text in Markdown. A slash in `tag` ends the name of its group. */
bool event_file_scalar(EventFile *file, uint64_t step, const char *tag, double value, Error *error);
bool event_file_picture(EventFile *file, uint64_t step, const char *tag, const Picture *picture,
                        Error *error);
bool event_file_text(EventFile *file, uint64_t step, const char *tag, const char *markdown,
                     Error *error);

/* Appends what is pending and syncs. On failure the file is cut to what it was, and what was
 * pending stays so. */
bool event_file_flush(EventFile *file, Error *error);

/* Drops what is pending. Also fine on an empty file (all zero). */
void event_file_close(EventFile *file);

/* The same, and takes the file back. */
void event_file_remove(EventFile *file);

/* Cuts this program's event files in `folder` before the first record that is not whole, or whose
 * step is not below `keep`. A file of which nothing is left but its version is removed, unless it
 * is the last: a TensorBoard that follows the run would wait for it for ever. Other files stay as
 * they are. */
bool event_files_cut(const char *folder, uint64_t keep, Error *error);

/* The bytes of `bytes` (a file's contents) that event_files_cut would keep; *own: is it a file of
 * this program? Else all are kept. False: out of memory. */
bool event_file_kept(const uint8_t *bytes, size_t size, uint64_t keep, bool *own, size_t *kept,
                     Error *error);

#endif
