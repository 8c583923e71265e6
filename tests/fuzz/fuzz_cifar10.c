/* Any bytes as a CIFAR-10 file: refused, or decoded to what they say. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

enum { PIXELS = 3072, CAPACITY = 3, BEFORE = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    /* Exactly sized and from the heap, so that the sanitizer sees one byte too many. */
    uint8_t *pixels = calloc(CAPACITY, PIXELS), *labels = calloc(CAPACITY, 1);
    require(pixels && labels);
    ImageSet images = {.count = BEFORE, .pixels = pixels, .labels = labels};
    Error error = {0};
    if (cifar10_decode(bytes, size, "fuzz", &images, CAPACITY, &error)) {
        require(images.count > BEFORE && images.count <= CAPACITY);
        require((images.count - BEFORE) * (1 + PIXELS) == size);
        for (size_t i = BEFORE; i < images.count; i++) {
            const uint8_t *record = bytes + (i - BEFORE) * (1 + PIXELS);
            require(labels[i] < DATASET_CLASSES && labels[i] == record[0]);
            require(memcmp(pixels + i * PIXELS, record + 1, PIXELS) == 0);
        }
    } else {
        require(images.count == BEFORE);
        require(error.status == STATUS_FAILED && error.text[0] != '\0');
    }
    require(labels[0] == 0 && pixels[0] == 0 && pixels[PIXELS - 1] == 0);
    free(pixels);
    free(labels);
    return 0;
}
