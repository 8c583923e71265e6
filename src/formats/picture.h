/* Pictures in memory, and as PNG files. */
#ifndef NNMF_PICTURE_H
#define NNMF_PICTURE_H

#include "nnmf/error.h"

#include <stddef.h>
#include <stdint.h>

/* The most pixels a picture may have: a bound on what a wrong file can allocate. */
enum { PICTURE_MOST_PIXELS = 100 * 1000 * 1000 };

/* 8 bits a channel. */
typedef struct Picture {
    int width, height, channels; /* channels: 1 grey, 3 red, green and blue */
    uint8_t *pixels;             /* (height, width, channels) */
} Picture;

/* All zero, which is black. Errors: a size below 1, more than PICTURE_MOST_PIXELS, out of memory;
 * the picture is empty then. */
bool picture_create(int width, int height, int channels, Picture *picture, Error *error);

/* Also fine on an empty picture (all zero). */
void picture_free(Picture *picture);

/* A PNG file of any kind: grey, colour, palette, 1 to 16 bits, interlaced. What is transparent is
 * laid over white; grey stays grey, everything else becomes RGB; values are taken as they are,
 * whatever gamma the file names. On failure the picture is empty. Errors: an unreadable, truncated
 * or corrupt file, no PNG, more pixels than PICTURE_MOST_PIXELS, out of memory. */
bool picture_read_png(const char *path, Picture *picture, Error *error);

/* The same for a file's contents in memory; `name` is for messages. */
bool picture_decode_png(const uint8_t *bytes, size_t count, const char *name, Picture *picture,
                        Error *error);

/* A PNG file's contents, from memory_allocate(). The same picture gives the same bytes. */
bool picture_encode_png(const Picture *picture, uint8_t **bytes, size_t *count, Error *error);

/* Written beside and renamed, as file.h says. */
bool picture_write_png(const char *path, const Picture *picture, Error *error);

#endif
