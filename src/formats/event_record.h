/* Records of event files, shared by event_file.c and event_files_cut.c. */
#ifndef NNMF_EVENT_RECORD_H
#define NNMF_EVENT_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <isa-l/crc.h>

#define EVENT_FILE_PREFIX "events.out.tfevents."
#define EVENT_FILE_VERSION "brain.Event:2"
#define EVENT_FILE_WRITER "nnmf-train"

enum {
    RECORD_HEADER = 12,        /* length, its CRC */
    RECORD_FOOTER = 4,         /* CRC of the data */
    RECORD_MAX_DATA = 1 << 30, /* bytes of data; the CRC function takes an int */
    EVENT_FILE_MAX = INT32_MAX /* bytes to read */
};

/* CRC-32C (Castagnoli), masked by a rotation and an added constant, because a plain CRC is weak for
 * data that contain CRCs (tensorflow/core/lib/hash/crc32c.h). */
static inline uint32_t masked_crc32c(const uint8_t *bytes, size_t count)
{
    uint32_t crc = ~crc32_iscsi((unsigned char *)bytes, (int)count, ~0u); /* it only reads */
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static inline void put_little_endian(uint8_t *bytes, uint64_t value, int count)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t get_little_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

#endif
