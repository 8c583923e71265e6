#include "formats/csv.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 30, MAX_LINE = 512 };

static bool append(CsvLog *log, const char *text, size_t length, Error *error)
{
    if (log->capacity - log->length < length) {
        size_t capacity = 2 * log->capacity + length + MAX_LINE;
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

/* ---- rows of an older file ---- */

typedef struct Line {
    const char *text;
    size_t length; /* without the newline */
    bool ended;    /* by a newline */
} Line;

/* Undoes what spreadsheets and editors do: removes quotes and turns every line ending into a
 * newline. A log has neither quotes nor carriage returns of its own. Returns the new size. */
static size_t make_plain(char *text, size_t size)
{
    size_t to = 0;
    for (size_t from = 0; from < size; from++) {
        bool before_newline = from + 1 < size && text[from + 1] == '\n';
        if (text[from] == '"' || (text[from] == '\r' && before_newline))
            continue;
        text[to++] = text[from] == '\r' ? '\n' : text[from];
    }
    return to;
}

static bool take_line(const char **at, const char *end, Line *line)
{
    if (*at == end)
        return false;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    *line = (Line){.text = *at, .ended = stop != NULL};
    line->length = (size_t)((stop ? stop : end) - *at);
    *at = stop ? stop + 1 : end;
    return true;
}

static size_t columns(const Line *line)
{
    size_t count = 1;
    for (size_t i = 0; i < line->length; i++)
        count += line->text[i] == ',';
    return count;
}

static bool is_blank(const Line *line)
{
    for (size_t i = 0; i < line->length; i++)
        if (!memchr(", \t", line->text[i], 3))
            return false;
    return true;
}

/* Returns false if the first column is not a whole number. */
static bool row_number(const Line *line, uint64_t *number)
{
    size_t i = 0;
    for (*number = 0; i < line->length && line->text[i] >= '0' && line->text[i] <= '9'; i++)
        *number = *number < UINT64_MAX / 20 ? *number * 10 + (uint64_t)(line->text[i] - '0')
                                            : UINT64_MAX / 20;
    return i > 0 && (i == line->length || line->text[i] == ',');
}

/* Explains how the first line differs from `header`, if that is recognised. */
static const char *header_difference(const Line *first, const Line *header)
{
    const char *mark = first->length > 1 ? first->text : "  ";
    if (memcmp(mark, "\xff\xfe", 2) == 0 || memcmp(mark, "\xfe\xff", 2) == 0)
        return "it is UTF-16, where UTF-8 was expected: ";
    for (const char *separator = ";\t"; *separator; separator++) {
        size_t same = 0;
        while (first->length == header->length && same < header->length &&
               first->text[same] == (header->text[same] == ',' ? *separator : header->text[same]))
            same++;
        if (same == header->length)
            return *separator == ';' ? "its columns are separated by semicolons: "
                                     : "its columns are separated by tabs: ";
    }
    return "";
}

/* Some programs write no newline after the last row, so it counts without one; but if it also lacks
 * columns it is incomplete and is dropped. */
static bool keep_rows(CsvLog *log, char *old, size_t size, uint64_t keep, Error *error)
{
    const char *at = old, *end = old + make_plain(old, size);
    Line header = {.text = log->text, .length = log->length - 1}, line = {.text = ""};
    size_t expected = columns(&header), number = 1;
    if (!take_line(&at, end, &line) || line.length != header.length ||
        memcmp(line.text, header.text, header.length) != 0)
        return fail(error, "not this log: %s: %sits first line should be '%.*s'", log->path,
                    header_difference(&line, &header), (int)header.length, header.text);
    while (number++, take_line(&at, end, &line)) {
        uint64_t row = 0;
        bool numbered = row_number(&line, &row);
        if (is_blank(&line) || (numbered && row >= keep))
            continue;
        if (!line.ended && columns(&line) < expected)
            continue;
        if (!numbered || columns(&line) != expected)
            return fail(error,
                        "bad row: %s, line %zu: %zu columns that begin with a whole number "
                        "were expected",
                        log->path, number, expected);
        if (!append(log, line.text, line.length, error) || !append(log, "\n", 1, error))
            return false;
        log->kept++;
    }
    return true;
}

/* ---- the log ---- */

bool csv_open(CsvLog *log, const char *path, const char *header, uint64_t keep, Error *error)
{
    *log = (CsvLog){.path = path};
    if (!append(log, header, strlen(header), error) || !append(log, "\n", 1, error))
        return false;
    if (keep == 0 || access(path, F_OK) != 0)
        return true;
    uint8_t *old;
    size_t size;
    if (!file_read_text(path, MAX_FILE, &old, &size, error))
        return false;
    bool kept = keep_rows(log, (char *)old, size, keep, error);
    memory_free(old);
    return kept;
}

bool csv_append(CsvLog *log, Error *error, const char *format, ...)
{
    if (!log->path)
        return true;
    char line[MAX_LINE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line - 1)
        return fail(error, "row too long: %s: at most %d bytes were expected", log->path,
                    MAX_LINE - 2);
    line[length] = '\n';
    return append(log, line, (size_t)length + 1, error);
}

bool csv_write(const CsvLog *log, Error *error)
{
    if (!log->path)
        return true;
    FileWriter writer;
    if (!file_writer_open(&writer, log->path, error))
        return false;
    fwrite(log->text, 1, log->length, writer.stream); /* commit reports a failure */
    return file_writer_commit(&writer, error);
}

void csv_close(CsvLog *log)
{
    memory_free(log->text);
    *log = (CsvLog){0};
}
