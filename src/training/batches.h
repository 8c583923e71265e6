/* A split of a data set in device memory, loaded into a model batch by batch. */
#ifndef NNMF_BATCHES_H
#define NNMF_BATCHES_H

#include "data/dataset.h"
#include "network/model.h"
#include "nnmf/operations.h"

/* How an epoch draws its images; all zero: in file order, centre crop. */
typedef struct Sampling {
    bool shuffle;
    AugmentKind augment;
    uint64_t seed;
} Sampling;

typedef struct Batches {
    const Device *device;
    Sampler sampler;
    CropShape crop;
    uint32_t steps; /* batches in an epoch; the last may be smaller */
    int at_once;    /* batches that the buffers hold; maximum that a test pass runs at once */

    /* device memory */
    uint8_t *pixels, *labels;    /* of all images of the split */
    uint32_t *indices;           /* (at_once, batch size) */
    Augmentation *augmentations; /* (at_once, batch size) */
} Batches;

/* Uploads `images` and divides images begin..end-1 into batches, for a network that takes crops
 * of size `input`. at_once: 1 .. MAX_BATCHES_AT_ONCE, at most that of the model. The caller may
 * free `images` afterwards. On failure the batches are empty. Errors: an empty or too long range,
 * images smaller than the crop or with another number of channels, out of memory. */
bool batches_create(const Device *device, const ImageSet *images, size_t begin, size_t end,
                    Extent input, int batch_size, int at_once, Sampling sampling, Batches *batches,
                    Error *error);

/* Does nothing for empty batches (all zero). */
void batches_destroy(Batches *batches);

/* Returns batches of the same images in file order, centre crop. They share the memory of
 * `batches`: do not destroy them, and do not use them after `batches` is destroyed. */
Batches batches_in_order(const Batches *batches);

/* Returns the number of images in the range. */
static inline size_t batches_images(const Batches *batches)
{
    return batches->sampler.end - batches->sampler.begin;
}

/* Returns the number of images in batch `step`. */
int batches_size(const Batches *batches, uint32_t step);

/* Returns the number of batches that a test pass runs at once from batch `step` on: up to `at_once`
 * full ones, or 1 for the smaller batch at the end. */
int batches_ahead(const Batches *batches, uint32_t step);

/* Draws and augments `count` consecutive batches from batch `step` on, which must be the step in
 * *state (device memory), and writes them to the model's images and labels. count: 1 ..
 * batches_ahead. Returns the number of images in each batch. */
int batches_load(const Batches *batches, uint32_t step, int count, const StepState *state,
                 Model *model);

#endif
