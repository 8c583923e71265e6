/* Any bytes as a PNG file: refused, or a picture whose every pixel is there. Mutations keep the
 * chunks' checksums right, without which libpng would look no further. */
#include "formats/picture.h"
#include "nnmf/memory.h"

#include <stdlib.h>
#include <zlib.h>

enum { SIGNATURE = 8, LENGTH = 4, TYPE = 4, CHECK = 4, SLOW = 1 << 22 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static size_t big_endian(const uint8_t *word)
{
    return (size_t)word[0] << 24 | (size_t)word[1] << 16 | (size_t)word[2] << 8 | word[3];
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    (void)seed;
    size = LLVMFuzzerMutate(data, size, most);
    size_t at = SIGNATURE;
    while (at + LENGTH + TYPE + CHECK <= size) {
        size_t length = big_endian(data + at);
        if (length > size - at - LENGTH - TYPE - CHECK)
            break;
        uLong check = crc32(0, data + at + LENGTH, (uInt)(TYPE + length));
        at += LENGTH + TYPE + length;
        for (int i = 0; i < CHECK; i++)
            data[at++] = (uint8_t)(check >> (24 - 8 * i));
    }
    return size;
}

/* Large pictures are allowed, but take long. */
static bool is_slow(const uint8_t *input, size_t size)
{
    if (size < SIGNATURE + LENGTH + TYPE + 8)
        return false;
    size_t pixels = big_endian(input + 16) * big_endian(input + 20);
    return pixels > SLOW && pixels <= PICTURE_MAX_PIXELS;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size)
{
    Picture picture;
    Error error = {0};
    if (is_slow(input, input_size))
        return 0;
    if (!picture_decode_png(input, input_size, "fuzz", &picture, &error)) {
        require(error.status == STATUS_FAILED && error.text[0] != '\0' && !picture.pixels);
        return 0;
    }
    require(picture.width > 0 && picture.height > 0);
    require(picture.channels == 1 || picture.channels == 3);
    size_t size = (size_t)picture.width * (size_t)picture.height * (size_t)picture.channels;
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += picture.pixels[i];
    require(sum <= 255 * size);
    picture_free(&picture);
    return 0;
}
