#include "formats/csv.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST = 1 << 30, LINE = 512 };

static bool add(CsvLog *log, const char *text, size_t length, Error *error)
{
    if (log->capacity - log->length < length) {
        size_t capacity = 2 * log->capacity + length + LINE;
        char *more = memory_allocate(capacity, 1, log->path, error);
        if (!more)
            return false;
        memcpy(more, log->text ? log->text : "", log->length);
        memory_free(log->text);
        log->text = more;
        log->capacity = capacity;
    }
    memcpy(log->text + log->length, text, length);
    log->length += length;
    return true;
}

/* The rows of an older file; a last line without its newline is not whole and is dropped. */
static bool keep_rows(CsvLog *log, const char *old, size_t size, size_t header, uint64_t keep,
                      Error *error)
{
    if (size < header || memcmp(old, log->text, header) != 0)
        return fail(error, "not this log: %s: its first line should be '%.*s'", log->path,
                    (int)header - 1, log->text);
    const char *line = old + header, *end = old + size, *stop;
    for (; line < end && (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1)
        if (strtoull(line, NULL, 10) < keep && !add(log, line, (size_t)(stop + 1 - line), error))
            return false;
    return true;
}

bool csv_open(CsvLog *log, const char *path, const char *header, uint64_t keep, Error *error)
{
    *log = (CsvLog){.path = path};
    if (!add(log, header, strlen(header), error) || !add(log, "\n", 1, error))
        return false;
    if (keep == 0 || access(path, F_OK) != 0)
        return true;
    uint8_t *old;
    size_t size;
    if (!file_read(path, LARGEST, &old, &size, error))
        return false;
    bool kept = keep_rows(log, (const char *)old, size, log->length, keep, error);
    memory_free(old);
    return kept;
}

bool csv_append(CsvLog *log, Error *error, const char *format, ...)
{
    if (!log->path)
        return true;
    char line[LINE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line - 1)
        return fail(error, "row too long: %s: at most %d bytes were expected", log->path, LINE - 2);
    line[length] = '\n';
    return add(log, line, (size_t)length + 1, error);
}

bool csv_write(const CsvLog *log, Error *error)
{
    if (!log->path)
        return true;
    FileWriter writer;
    if (!file_writer_open(&writer, log->path, error))
        return false;
    fwrite(log->text, 1, log->length, writer.stream); /* commit sees a failure */
    return file_writer_commit(&writer, error);
}

void csv_close(CsvLog *log)
{
    memory_free(log->text);
    *log = (CsvLog){0};
}
