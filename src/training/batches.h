/* A split of a data set in the memory of a device, loaded into a model batch by batch. */
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
    int at_once;    /* batches that the buffers hold, and that a test pass takes at once */

    /* device memory */
    uint8_t *pixels, *labels;    /* of all images of the split */
    uint32_t *indices;           /* (at_once, batch size) */
    Augmentation *augmentations; /* likewise */
} Batches;

/* Uploads `images` and makes batches of the images begin..end-1, for a network that takes crops of
 * size `input`. at_once: 1 .. MAX_BATCHES_AT_ONCE, at most that of the model. The caller may free
 * `images` afterwards. On failure the batches are empty. Errors: an empty or too long range, images
 * smaller than the crop, out of memory. */
bool batches_create(const Device *device, const ImageSet *images, size_t begin, size_t end,
                    Extent input, int batch_size, int at_once, Sampling sampling, Batches *batches,
                    Error *error);

/* Does nothing for empty batches (all zero). */
void batches_destroy(Batches *batches);

/* The same images in file order, centre crop. Shares the memory of `batches`: not to be destroyed,
 * and not to be used after they are. */
Batches batches_in_order(const Batches *batches);

/* Number of images in the range. */
static inline size_t batches_images(const Batches *batches)
{
    return batches->sampler.end - batches->sampler.begin;
}

/* Number of images in batch `step`. */
int batches_size(const Batches *batches, uint32_t step);

/* Number of batches that a test pass takes at once from batch `step` on: at most `at_once` full
 * ones, or the smaller one at the end. */
int batches_ahead(const Batches *batches, uint32_t step);

/* Draws, augments and copies `count` batches into the model's images and labels, one behind the
 * other: batch `step`, which is that of *state (device memory), and those after it. count: 1 ..
 * batches_ahead. Returns the number of images of each. */
int batches_load(const Batches *batches, uint32_t step, int count, const StepState *state,
                 Model *model);

#endif
