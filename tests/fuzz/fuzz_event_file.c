/* Any bytes as an event file: it is another's and stays, or a whole number of records is kept. CRCs
 * keep a fuzzer out, so the bytes are also put into a record as its event. */
#include "formats/event_file.h"

#include "formats/event_record.h"

#include <stdlib.h>

/* Event{file_version: "brain.Event:2", source_metadata: {writer: "nnmf-train"}} */
static const uint8_t version[] = "\x1a\x0d" EVENT_FILE_VERSION "\x52\x0c\x0a\x0a" EVENT_FILE_WRITER;

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static size_t put_record(uint8_t *to, const uint8_t *data, size_t size)
{
    put_little_endian(to, size, 8);
    put_little_endian(to + 8, masked_crc32c(to, 8), 4);
    if (size > 0)
        memcpy(to + RECORD_HEADER, data, size);
    put_little_endian(to + RECORD_HEADER + size, masked_crc32c(data, size), 4);
    return RECORD_HEADER + size + RECORD_FOOTER;
}

/* What is kept is kept again, whole. */
static size_t check(const uint8_t *bytes, size_t size, bool *own)
{
    enum { KEEP = 100 };
    Error error = {0};
    size_t kept, again;
    require(event_file_kept(bytes, size, KEEP, own, &kept, &error));
    require(kept <= size && (*own || kept == size));
    bool still;
    require(event_file_kept(bytes, kept, KEEP, &still, &again, &error));
    require(still == *own && again == kept);
    return kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    bool own;
    check(input, size, &own);

    size_t both = 2 * (RECORD_HEADER + RECORD_FOOTER) + sizeof version - 1 + size;
    uint8_t *bytes = malloc(both); /* exactly sized, so that the sanitizer sees one byte too many */
    require(bytes != NULL);
    size_t first = put_record(bytes, version, sizeof version - 1);
    require(first + put_record(bytes + first, input, size) == both);
    size_t kept = check(bytes, both, &own);
    require(own && (kept == first || kept == both));
    free(bytes);
    return 0;
}
