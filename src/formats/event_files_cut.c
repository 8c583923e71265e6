#include "formats/event_file.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include "event.pb-c.h"
#include "formats/event_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- reading records ---- */

/* protobuf-c returns NULL both for invalid data and without memory: *failed means the latter. */
static void *allocate_for_protobuf(void *failed, size_t size)
{
    void *pointer = malloc(size);
    if (!pointer)
        *(bool *)failed = true;
    return pointer;
}

static void free_for_protobuf(void *failed, void *pointer)
{
    (void)failed;
    free(pointer);
}

/* What decides whether an event is kept. */
typedef struct EventFacts {
    bool names_version, own;
    uint64_t step;
} EventFacts;

static bool read_facts(const uint8_t *data, size_t size, EventFacts *facts, bool *no_memory)
{
    ProtobufCAllocator allocator = {allocate_for_protobuf, free_for_protobuf, no_memory};
    Tensorflow__Event *event = tensorflow__event__unpack(&allocator, size, data);
    if (!event)
        return false;
    bool version = event->what_case == TENSORFLOW__EVENT__WHAT_FILE_VERSION;
    *facts = (EventFacts){.names_version = version,
                          .own = version && event->source_metadata &&
                                 strcmp(event->source_metadata->writer, EVENT_FILE_WRITER) == 0,
                          .step = (uint64_t)event->step};
    tensorflow__event__free_unpacked(event, &allocator);
    return true;
}

/* Returns the size of the record at the start of `bytes`, 0 if it is incomplete or damaged. */
static size_t whole_record(const uint8_t *bytes, size_t size)
{
    if (size < RECORD_HEADER + RECORD_FOOTER)
        return 0;
    uint64_t length = get_little_endian(bytes, 8);
    const uint8_t *data = bytes + RECORD_HEADER;
    if (get_little_endian(bytes + 8, 4) != masked_crc32c(bytes, 8) || length > RECORD_MAX_DATA ||
        length > size - RECORD_HEADER - RECORD_FOOTER ||
        get_little_endian(data + length, 4) != masked_crc32c(data, length))
        return 0;
    return RECORD_HEADER + (size_t)length + RECORD_FOOTER;
}

bool event_file_kept(const uint8_t *bytes, size_t size, uint64_t keep, bool *own, size_t *kept,
                     Error *error)
{
    *own = false;
    *kept = 0;
    for (size_t record; (record = whole_record(bytes + *kept, size - *kept)); *kept += record) {
        EventFacts facts;
        bool no_memory = false;
        bool read = read_facts(bytes + *kept + RECORD_HEADER,
                               record - RECORD_HEADER - RECORD_FOOTER, &facts, &no_memory);
        if (no_memory)
            return fail(error, "out of memory: an event of %zu bytes: it could not be read",
                        record);
        if (*kept == 0)
            *own = read && facts.own;
        if (!*own || !read || (!facts.names_version && facts.step >= keep))
            break;
    }
    if (!*own)
        *kept = size;
    return true;
}

/* ---- cutting files ---- */

static bool cut(const char *path, size_t size, Error *error)
{
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    bool done =
        descriptor >= 0 && ftruncate(descriptor, (off_t)size) == 0 && fsync(descriptor) == 0;
    if (!done)
        fail(error, "cannot write: %s: %s", path, strerror(errno));
    if (descriptor >= 0)
        close(descriptor);
    return done;
}

/* `latest`: it is the last event file in the folder. */
static bool cut_file(const char *path, uint64_t keep, bool latest, Error *error)
{
    uint8_t *bytes;
    size_t size, kept;
    if (!file_read(path, EVENT_FILE_MAX, &bytes, &size, error))
        return false;
    bool own, known = event_file_kept(bytes, size, keep, &own, &kept, error);
    bool empty = known && own && kept == whole_record(bytes, size);
    memory_free(bytes);
    if (empty && !latest)
        return unlink(path) == 0 || fail(error, "cannot remove: %s: %s", path, strerror(errno));
    return known && (kept == size || cut(path, kept, error));
}

static bool is_event_file(const struct dirent *entry)
{
    return strncmp(entry->d_name, EVENT_FILE_PREFIX, strlen(EVENT_FILE_PREFIX)) == 0;
}

static bool cut_all(DIR *listing, const char *folder, uint64_t keep, Error *error)
{
    char latest[sizeof((struct dirent *)0)->d_name] = "", path[4096];
    const struct dirent *entry;
    while ((entry = readdir(listing)))
        if (is_event_file(entry) && strcmp(entry->d_name, latest) > 0)
            strcpy(latest, entry->d_name);
    rewinddir(listing);
    while ((entry = readdir(listing)))
        if (is_event_file(entry) &&
            (!file_join(path, sizeof path, folder, entry->d_name, error) ||
             !cut_file(path, keep, strcmp(entry->d_name, latest) == 0, error)))
            return false;
    return true;
}

bool event_files_cut(const char *folder, uint64_t keep, Error *error)
{
    DIR *listing = opendir(folder);
    if (!listing)
        return fail(error, "cannot read: %s: %s", folder, strerror(errno));
    bool done = cut_all(listing, folder, keep, error);
    closedir(listing);
    return done;
}
