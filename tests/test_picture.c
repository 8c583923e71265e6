/* Reading and writing PNG files. The files to read are written by libpng's row API, kind by kind,
 * so that every pixel is known. */
#include "formats/picture.h"

#include "base/file.h"
#include "nnmf/memory.h"

#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

enum { CAPACITY = 1 << 16, HEADER = 8 + 8 + 13 + 4, PATH = 64 };

static char folder[] = "/tmp/test_picture.XXXXXX";
static char path[PATH];

static int make_folder(void **state)
{
    (void)state;
    Error error = {0};
    return mkdtemp(folder) && file_join(path, sizeof path, folder, "p.png", &error) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails if a temporary file was left behind */
}

/* ---- files of every kind ---- */

typedef struct Contents {
    uint8_t bytes[CAPACITY];
    size_t count;
} Contents;

typedef struct Kind {
    int width, height, depth, colour_type, interlace;
    const png_color *palette;
    int palette_size;
    const png_byte *alphas; /* of the palette */
    int alpha_count;
    const png_color_16 *transparent; /* the transparent colour */
} Kind;

static void append(png_structp png, png_bytep bytes, png_size_t count)
{
    Contents *contents = png_get_io_ptr(png);
    assert_true(contents->count + count <= CAPACITY);
    memcpy(contents->bytes + contents->count, bytes, count);
    contents->count += count;
}

static void flush(png_structp png)
{
    (void)png;
}

/* Makes a PNG file from rows of `row_bytes` each, packed as PNG packs them. */
static Contents make(const Kind *kind, uint8_t *rows, size_t row_bytes)
{
    static Contents contents;
    contents.count = 0;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    assert_non_null(png);
    png_infop info = png_create_info_struct(png);
    assert_non_null(info);
    if (setjmp(png_jmpbuf(png)))
        fail_msg("libpng cannot write the test's file");
    png_set_write_fn(png, &contents, append, flush);
    png_set_IHDR(png, info, (png_uint_32)kind->width, (png_uint_32)kind->height, kind->depth,
                 kind->colour_type, kind->interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (kind->palette)
        png_set_PLTE(png, info, kind->palette, kind->palette_size);
    if (kind->alphas || kind->transparent)
        png_set_tRNS(png, info, kind->alphas, kind->alpha_count, kind->transparent);
    png_bytep pointers[16];
    assert_true(kind->height <= 16);
    for (int y = 0; y < kind->height; y++)
        pointers[y] = rows + (size_t)y * row_bytes;
    png_set_rows(png, info, pointers);
    png_write_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    png_destroy_write_struct(&png, &info);
    return contents;
}

static void assert_decodes(const Contents *c, int width, int height, int channels,
                           const uint8_t *pixels)
{
    Picture picture;
    Error error = {0};
    if (!picture_decode_png(c->bytes, c->count, "test", &picture, &error))
        fail_msg("%s", error.text);
    assert_int_equal(picture.width, width);
    assert_int_equal(picture.height, height);
    assert_int_equal(picture.channels, channels);
    assert_memory_equal(picture.pixels, pixels, (size_t)(width * height * channels));
    picture_free(&picture);
}

static void assert_refused(const uint8_t *bytes, size_t count, const char *mentioned)
{
    Picture picture;
    Error error = {0};
    assert_false(picture_decode_png(bytes, count, "test", &picture, &error));
    assert_int_equal(error.status, STATUS_FAILED);
    assert_non_null(strstr(error.text, mentioned));
    assert_non_null(strstr(error.text, ": test: "));
    assert_null(picture.pixels);
    assert_int_equal(picture.width, 0);
}

static void fill(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * 37 + i * i * 11 + 5);
}

static void grey_of_all_depths(void **state)
{
    (void)state;
    uint8_t rows[8], expected[8];
    fill(rows, sizeof rows);
    for (int depth = 1; depth < 8; depth *= 2) {
        int max = (1 << depth) - 1;
        Kind kind = {.width = 2, .height = 4, .depth = depth};
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 2; x++)
                expected[2 * y + x] =
                    (uint8_t)((rows[y] >> (8 - (x + 1) * depth) & max) * 255 / max);
        Contents c = make(&kind, rows, 1);
        assert_decodes(&c, 2, 4, 1, expected);
    }
    Kind kind = {.width = 2, .height = 4, .depth = 8};
    Contents c = make(&kind, rows, 2);
    assert_decodes(&c, 2, 4, 1, rows);
}

static void colour_plain_and_interlaced(void **state)
{
    (void)state;
    uint8_t rows[11 * 13 * 3];
    fill(rows, sizeof rows);
    for (int interlace = PNG_INTERLACE_NONE; interlace <= PNG_INTERLACE_ADAM7; interlace++) {
        Kind kind = {.width = 13,
                     .height = 11,
                     .depth = 8,
                     .colour_type = PNG_COLOR_TYPE_RGB,
                     .interlace = interlace};
        Contents c = make(&kind, rows, 13 * 3);
        assert_decodes(&c, 13, 11, 3, rows);
    }
}

static void sixteen_bits_become_eight(void **state)
{
    (void)state;
    uint8_t rows[2 * 5 * 3 * 2], expected[2 * 5 * 3];
    fill(expected, sizeof expected);
    for (size_t i = 0; i < sizeof expected; i++)
        rows[2 * i] = rows[2 * i + 1] = expected[i]; /* v * 257 of 65535 equals v of 255 */
    Kind kind = {.width = 5, .height = 2, .depth = 16, .colour_type = PNG_COLOR_TYPE_RGB};
    Contents c = make(&kind, rows, sizeof rows / 2);
    assert_decodes(&c, 5, 2, 3, expected);
    kind = (Kind){.width = 15, .height = 2, .depth = 16, .colour_type = PNG_COLOR_TYPE_GRAY};
    c = make(&kind, rows, sizeof rows / 2);
    assert_decodes(&c, 15, 2, 1, expected);
}

/* The kind that needs every conversion. */
static void sixteen_bits_interlaced_with_alpha(void **state)
{
    (void)state;
    enum { SIDE = 9 };
    uint8_t rows[SIDE * SIDE * 4 * 2], expected[SIDE * SIDE * 3];
    for (int i = 0; i < SIDE * SIDE; i++) {
        for (int c = 0; c < 4; c++) {
            uint8_t value = c == 3 ? (i % 3 ? 255 : 0) : (uint8_t)(i * 3 + c * 70);
            rows[8 * i + 2 * c] = rows[8 * i + 2 * c + 1] = value;
            if (c < 3)
                expected[3 * i + c] = i % 3 ? value : 255;
        }
    }
    Kind kind = {.width = SIDE,
                 .height = SIDE,
                 .depth = 16,
                 .colour_type = PNG_COLOR_TYPE_RGB_ALPHA,
                 .interlace = PNG_INTERLACE_ADAM7};
    Contents c = make(&kind, rows, SIDE * 8);
    assert_decodes(&c, SIDE, SIDE, 3, expected);
}

static void palettes(void **state)
{
    (void)state;
    static const png_color palette[] = {{1, 2, 3}, {250, 0, 7}, {9, 99, 199}};
    static const png_byte alphas[] = {255, 0};
    uint8_t rows[] = {0, 1, 2, 1};
    Kind kind = {.width = 2,
                 .height = 2,
                 .depth = 8,
                 .colour_type = PNG_COLOR_TYPE_PALETTE,
                 .palette = palette,
                 .palette_size = 3};
    Contents c = make(&kind, rows, 2);
    assert_decodes(&c, 2, 2, 3, (uint8_t[]){1, 2, 3, 250, 0, 7, 9, 99, 199, 250, 0, 7});
    uint8_t packed[] = {0x10, 0x90}; /* 0 1, 2 1 in two bits each */
    kind.depth = 2;
    c = make(&kind, packed, 1);
    assert_decodes(&c, 2, 2, 3, (uint8_t[]){1, 2, 3, 250, 0, 7, 9, 99, 199, 250, 0, 7});
    kind.alphas = alphas;
    kind.alpha_count = 2;
    c = make(&kind, packed, 1);
    assert_decodes(&c, 2, 2, 3, (uint8_t[]){1, 2, 3, 255, 255, 255, 9, 99, 199, 255, 255, 255});
}

static void transparency_is_blended_with_white(void **state)
{
    (void)state;
    uint8_t rows[] = {10, 20, 30, 255, 10, 20, 30, 0};
    Kind kind = {.width = 2, .height = 1, .depth = 8, .colour_type = PNG_COLOR_TYPE_RGB_ALPHA};
    Contents c = make(&kind, rows, sizeof rows);
    assert_decodes(&c, 2, 1, 3, (uint8_t[]){10, 20, 30, 255, 255, 255});
    uint8_t greys[] = {77, 255, 77, 0};
    kind.colour_type = PNG_COLOR_TYPE_GRAY_ALPHA;
    c = make(&kind, greys, sizeof greys);
    assert_decodes(&c, 2, 1, 1, (uint8_t[]){77, 255});
    static const png_color_16 transparent = {.gray = 5};
    uint8_t plain[] = {5, 6};
    kind.colour_type = PNG_COLOR_TYPE_GRAY;
    kind.transparent = &transparent;
    c = make(&kind, plain, sizeof plain);
    assert_decodes(&c, 2, 1, 1, (uint8_t[]){255, 6});
    uint8_t half[] = {0, 128};
    kind = (Kind){.width = 1, .height = 1, .depth = 8, .colour_type = PNG_COLOR_TYPE_GRAY_ALPHA};
    c = make(&kind, half, sizeof half);
    assert_decodes(&c, 1, 1, 1, (uint8_t[]){127});
}

/* ---- bad files ---- */

static Contents a_file(uint8_t pixels[5 * 4 * 3])
{
    fill(pixels, 5 * 4 * 3);
    Kind kind = {.width = 5, .height = 4, .depth = 8, .colour_type = PNG_COLOR_TYPE_RGB};
    return make(&kind, pixels, 15);
}

static void truncated_files(void **state)
{
    (void)state;
    uint8_t pixels[5 * 4 * 3];
    Contents c = a_file(pixels);
    size_t end = c.count - 12; /* start of IEND: all pixels precede it */
    for (size_t count = 0; count < end; count++)
        assert_refused(c.bytes, count, "PNG");
    c.count = end;
    assert_decodes(&c, 5, 4, 3, pixels);
}

static void corrupt_files(void **state)
{
    (void)state;
    uint8_t pixels[5 * 4 * 3];
    Contents c = a_file(pixels);
    for (size_t i = 0; i < c.count; i++) {
        Picture picture;
        Error error = {0};
        c.bytes[i] ^= 0x55;
        if (picture_decode_png(c.bytes, c.count, "test", &picture, &error))
            assert_memory_equal(picture.pixels, pixels, sizeof pixels);
        else
            assert_int_equal(error.status, STATUS_FAILED);
        c.bytes[i] ^= 0x55;
        picture_free(&picture);
    }
}

static void store(uint8_t *bytes, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void sizes_beyond_all_memory(void **state)
{
    (void)state;
    static const struct {
        uint32_t width, height;
        const char *mentioned;
    } cases[] = {
        {0x7fffffff, 0x7fffffff, "PNG"},
        {0xffffffff, 0xffffffff, "PNG"},
        {0x80000000, 0x80000000, "PNG"},
        {1000000, 1000000, "picture too large"},
        {20000, 5001, "20000 x 5001"},
        {0, 4, "PNG"},
        {5, 0, "PNG"},
    };
    uint8_t pixels[5 * 4 * 3];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Contents c = a_file(pixels);
        store(c.bytes + 16, cases[i].width);
        store(c.bytes + 20, cases[i].height);
        store(c.bytes + HEADER - 4, (uint32_t)crc32(0, c.bytes + 12, 17));
        assert_refused(c.bytes, c.count, cases[i].mentioned);
    }
}

static void other_formats(void **state)
{
    (void)state;
    assert_refused((const uint8_t *)"\xff\xd8\xff\xe0 JFIF", 9, "not a PNG");
    assert_refused((const uint8_t *)"", 0, "not a PNG");
    assert_refused((const uint8_t *)"\x89PNG\r\n\x1a\n", 8, "corrupt or truncated PNG");
}

static void out_of_memory(void **state)
{
    (void)state;
    uint8_t pixels[5 * 4 * 3];
    Contents c = a_file(pixels);
    Picture picture;
    Error error = {0};
    memory_fail_after(0);
    assert_false(picture_decode_png(c.bytes, c.count, "test", &picture, &error));
    memory_fail_after(-1);
    assert_non_null(strstr(error.text, "out of memory: a picture: "));
    assert_null(picture.pixels);
}

/* ---- writing ---- */

static void a_written_picture_is_read_back(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        Picture picture, again;
        Error error = {0};
        assert_true(picture_create(31, 17, channels, &picture, &error));
        size_t size = (size_t)(31 * 17 * channels);
        fill(picture.pixels, size);
        assert_true(picture_write_png(path, &picture, &error));
        assert_true(picture_read_png(path, &again, &error));
        assert_int_equal(again.width, 31);
        assert_int_equal(again.height, 17);
        assert_int_equal(again.channels, channels);
        assert_memory_equal(again.pixels, picture.pixels, size);
        uint8_t *bytes, *file;
        size_t count, file_count;
        assert_true(picture_encode_png(&again, &bytes, &count, &error));
        assert_true(file_read(path, CAPACITY, &file, &file_count, &error));
        assert_int_equal(count, file_count);
        assert_memory_equal(bytes, file, count);
        memory_free(bytes);
        memory_free(file);
        picture_free(&picture);
        picture_free(&again);
    }
}

static void impossible_pictures(void **state)
{
    (void)state;
    static const int sizes[][2] = {{0, 1}, {1, 0}, {-1, 5}, {10001, 10000}, {INT32_MAX, INT32_MAX}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Picture picture;
        Error error = {0};
        assert_false(picture_create(sizes[i][0], sizes[i][1], 3, &picture, &error));
        assert_non_null(strstr(error.text, "bad picture: "));
        assert_null(picture.pixels);
    }
}

static void an_unwritable_path_is_an_error(void **state)
{
    (void)state;
    Picture picture;
    Error error = {0};
    assert_true(picture_create(1, 1, 1, &picture, &error));
    assert_false(picture_write_png("/dev/null/p.png", &picture, &error));
    assert_string_equal(error.text, "cannot write: /dev/null/p.png: Not a directory");
    error = (Error){0};
    memory_fail_after(0);
    assert_false(picture_write_png(path, &picture, &error));
    memory_fail_after(-1);
    assert_non_null(strstr(error.text, "out of memory"));
    picture_free(&picture);
    error = (Error){0};
    assert_false(picture_read_png("/nowhere/p.png", &picture, &error));
    assert_string_equal(error.text, "cannot read: /nowhere/p.png: No such file or directory");
}

/* A sparse file of 1 GiB and a byte is refused before it is read. */
static void a_file_that_is_too_large(void **state)
{
    (void)state;
    Error error = {0};
    Picture picture;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), ((off_t)1 << 30) + 1), 0);
    fclose(file);
    assert_false(picture_read_png(path, &picture, &error));
    assert_non_null(
        strstr(error.text, ": it has 1073741825 bytes, at most 1073741824 were expected"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grey_of_all_depths),
        cmocka_unit_test(colour_plain_and_interlaced),
        cmocka_unit_test(sixteen_bits_become_eight),
        cmocka_unit_test(sixteen_bits_interlaced_with_alpha),
        cmocka_unit_test(palettes),
        cmocka_unit_test(transparency_is_blended_with_white),
        cmocka_unit_test(truncated_files),
        cmocka_unit_test(corrupt_files),
        cmocka_unit_test(sizes_beyond_all_memory),
        cmocka_unit_test(other_formats),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(a_written_picture_is_read_back),
        cmocka_unit_test(impossible_pictures),
        cmocka_unit_test(an_unwritable_path_is_an_error),
        cmocka_unit_test(a_file_that_is_too_large),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
