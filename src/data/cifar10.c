/* The binary version of CIFAR-10: records of a label byte and 3072 pixel bytes, plane by plane. */
#include "data/dataset.h"

#include <string.h>

enum { PIXELS = 3 * 32 * 32, RECORD = 1 + PIXELS };

bool cifar10_decode(const uint8_t *bytes, size_t size, const char *name, ImageSet *images,
                    size_t capacity, Error *error)
{
    size_t records = size / RECORD;
    if (records == 0 || size % RECORD != 0)
        return fail(error, "wrong size: %s: %zu bytes, expected one or more records of %d", name,
                    size, RECORD);
    if (images->count > capacity || records > capacity - images->count)
        return fail(error, "wrong size: %s: %zu records, expected at most %zu", name, records,
                    images->count > capacity ? 0 : capacity - images->count);
    for (size_t i = 0; i < records; i++) {
        const uint8_t *record = bytes + i * RECORD;
        if (record[0] >= DATASET_CLASSES)
            return fail(error, "bad label: %s: %d in record %zu, expected 0 to %d", name, record[0],
                        i, DATASET_CLASSES - 1);
        images->labels[images->count + i] = record[0];
        memcpy(images->pixels + (images->count + i) * PIXELS, record + 1, PIXELS);
    }
    images->count += records; /* last, so that a bad file adds nothing */
    return true;
}
