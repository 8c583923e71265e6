/* Pictures in memory, and as PNG files. */
#ifndef NNMF_PICTURE_H
#define NNMF_PICTURE_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

/* Maximum number of pixels: bounds what a bad file can allocate. */
enum { PICTURE_MAX_PIXELS = 100 * 1000 * 1000 };

/* 8 bits per channel. */
typedef struct Picture {
    int width, height, channels; /* channels: 1 grey, 3 red, green and blue */
    uint8_t *pixels;             /* (height, width, channels) */
} Picture;

/* Creates a black picture. Errors: a size below 1, more than PICTURE_MAX_PIXELS, out of memory; the
 * picture is then empty. */
bool picture_create(int width, int height, int channels, Picture *picture, Error *error);

/* Accepts an empty picture (all zero). */
void picture_free(Picture *picture);

/* Reads a PNG file of any kind: grey, colour, palette, 1 to 16 bits, interlaced. Transparency is
 * blended with white; grey stays grey, everything else becomes RGB; the file's gamma is ignored. On
 * failure the picture is empty. Errors: an unreadable, truncated or corrupt file, not a PNG, more
 * than PICTURE_MAX_PIXELS, out of memory. */
bool picture_read_png(const char *path, Picture *picture, Error *error);

/* The same for a file's contents in memory; `name` is for messages. */
bool picture_decode_png(const uint8_t *bytes, size_t count, const char *name, Picture *picture,
                        Error *error);

/* Encodes a PNG file. The caller frees *bytes by memory_free(). Equal pictures give equal bytes. */
bool picture_encode_png(const Picture *picture, uint8_t **bytes, size_t *count, Error *error);

/* Writes a PNG file atomically (file.h). */
bool picture_write_png(const char *path, const Picture *picture, Error *error);

#endif
