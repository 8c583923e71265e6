/* PNG files, by libpng. They are written by its simplified API but read row by row, because that
 * API misreads some kinds (in 1.6.39: 16 bits, interlaced, with alpha). */
#include "formats/picture.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 30, SIGNATURE = 8 };

bool picture_create(int width, int height, int channels, Picture *picture, Error *error)
{
    *picture = (Picture){0};
    if (width < 1 || height < 1 || (int64_t)width * height > PICTURE_MAX_PIXELS)
        return fail(error,
                    "bad picture: %d x %d pixels: at least 1 x 1 and at most %d were expected",
                    width, height, PICTURE_MAX_PIXELS);
    size_t pixels = (size_t)width * (size_t)height;
    uint8_t *memory = memory_allocate(pixels, (size_t)channels, "a picture", error);
    if (!memory)
        return false;
    *picture = (Picture){.width = width, .height = height, .channels = channels, .pixels = memory};
    return true;
}

void picture_free(Picture *picture)
{
    memory_free(picture->pixels);
    *picture = (Picture){0};
}

/* ---- reading ---- */

/* Everything that has to outlive libpng's longjmp. */
typedef struct Reader {
    const char *name;
    const uint8_t *bytes;
    size_t left;
    char message[128]; /* libpng's; "": `error` is set already */
    Picture *picture;
    Error *error;
} Reader;

static void read_bytes(png_structp png, png_bytep to, size_t count)
{
    Reader *r = png_get_io_ptr(png);
    if (count > r->left)
        png_error(png, "it ends too early");
    memcpy(to, r->bytes, count);
    r->bytes += count;
    r->left -= count;
}

static _Noreturn void keep_message(png_structp png, png_const_charp message)
{
    Reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", message);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* Converts every kind to 8 bits of grey or RGB, with or without alpha. */
static void convert_to_bytes(png_structp png, png_infop info)
{
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

/* Creates the picture with the file's channels, alpha included. */
static bool create_for_file(png_structp png, png_infop info, Reader *r)
{
    png_uint_32 width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    if ((uint64_t)width * height > PICTURE_MAX_PIXELS) /* at most 31 bits each */
        return fail(r->error, "picture too large: %s: %u x %u pixels: at most %d were expected",
                    r->name, width, height, PICTURE_MAX_PIXELS);
    convert_to_bytes(png, info);
    return picture_create((int)width, (int)height, png_get_channels(png, info), r->picture,
                          r->error);
}

static bool read_rows(png_structp png, png_infop info, Reader *r)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_user_limits(png, PICTURE_MAX_PIXELS, PICTURE_MAX_PIXELS);
    png_set_read_fn(png, r, read_bytes);
    png_read_info(png, info);
    if (!create_for_file(png, info, r))
        return false;
    const Picture *p = r->picture;
    size_t line = (size_t)p->width * (size_t)p->channels;
    int passes =
        png_get_interlace_type(png, info) == PNG_INTERLACE_ADAM7 ? PNG_INTERLACE_ADAM7_PASSES : 1;
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < p->height; y++)
            png_read_row(png, p->pixels + (size_t)y * line, NULL);
    return true;
}

/* Blends with white, in place; the last channel is alpha. */
static void remove_alpha(Picture *p)
{
    size_t pixels = (size_t)p->width * (size_t)p->height;
    int colours = p->channels - 1;
    uint8_t *to = p->pixels;
    const uint8_t *from = p->pixels;
    for (size_t i = 0; i < pixels; i++, from += p->channels) {
        int alpha = from[colours];
        for (int c = 0; c < colours; c++)
            *to++ = (uint8_t)((from[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
    p->channels = colours;
}

bool picture_decode_png(const uint8_t *bytes, size_t count, const char *name, Picture *picture,
                        Error *error)
{
    *picture = (Picture){0};
    if (count < SIGNATURE || png_sig_cmp(bytes, 0, SIGNATURE) != 0)
        return fail(error, "not a PNG: %s: wrong signature: a PNG file was expected", name);
    Reader reader = {
        .name = name, .bytes = bytes, .left = count, .picture = picture, .error = error};
    png_structp png =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, keep_message, ignore_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool done = info ? read_rows(png, info, &reader)
                     : fail(error, "out of memory: %s: libpng could not start", name);
    png_destroy_read_struct(&png, &info, NULL);
    if (reader.message[0])
        fail(error, "corrupt or truncated PNG: %s: %s: an intact PNG file was expected", name,
             reader.message);
    if (!done)
        picture_free(picture);
    else if (picture->channels % 2 == 0)
        remove_alpha(picture);
    return done;
}

bool picture_read_png(const char *path, Picture *picture, Error *error)
{
    uint8_t *bytes;
    size_t count;
    *picture = (Picture){0};
    if (!file_read(path, FILE_LIMIT, &bytes, &count, error))
        return false;
    bool done = picture_decode_png(bytes, count, path, picture, error);
    memory_free(bytes);
    return done;
}

/* ---- writing ---- */

bool picture_encode_png(const Picture *picture, uint8_t **bytes, size_t *count, Error *error)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = picture->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    *count = 0;
    *bytes = memory_allocate(size, 1, "a PNG file", error);
    if (!*bytes)
        return false;
    if (png_image_write_to_memory(&image, *bytes, &size, 0, picture->pixels, 0, NULL)) {
        *count = size;
        return true;
    }
    memory_free(*bytes);
    *bytes = NULL;
    return fail(error, "cannot encode: a PNG of %d x %d pixels: %s", picture->width,
                picture->height, image.message);
}

bool picture_write_png(const char *path, const Picture *picture, Error *error)
{
    uint8_t *bytes;
    size_t count;
    FileWriter writer;
    if (!picture_encode_png(picture, &bytes, &count, error))
        return false;
    bool done = file_writer_open(&writer, path, error);
    if (done) {
        fwrite(bytes, 1, count, writer.stream);
        done = file_writer_commit(&writer, error);
    }
    memory_free(bytes);
    return done;
}
