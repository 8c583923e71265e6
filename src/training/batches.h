/* A split of a data set on a device, handed to a model batch by batch. */
#ifndef NNMF_BATCHES_H
#define NNMF_BATCHES_H

#include "data/dataset.h"
#include "network/model.h"
#include "nnmf/operations.h"
#include "training/image_stream.h"
#include "training/notices.h"

typedef struct Batches {
    const Device *device;
    Sampler sample;
    CropShape crop;
    uint32_t steps; /* batches in an epoch; the last may be smaller */
    int at_once;    /* that the buffers hold, and a test pass takes */

    /* device memory */
    uint8_t *pixels, *labels; /* the whole split, or the ring that it is streamed to */
    uint32_t *indices;
    Augmentation *augmentations;
    StepState *state;
    Totals *totals;

    ImageStream stream; /* empty where the whole split is on the device */
    Notices notices;    /* of the step state and the totals */
} Batches;

/* Images begin..end-1 of `images`, for a network that takes `input`-sized crops: uploaded, or,
 * where they do not fit into what the device has left, streamed. Whatever else the device is to
 * hold should therefore be there before (steps_rehearse). at_once: 1 .. MAX_BATCHES_AT_ONCE, at
 * most as many as the model that takes them. The caller frees `images`, which are empty if they are
 * streamed. On failure the batches are empty. Errors: an empty or too long range, images smaller
 * than the crop, out of memory. */
bool batches_create(const Device *device, ImageSet *images, size_t begin, size_t end, Extent input,
                    int batch_size, int at_once, Batches *batches, Error *error);

/* Also fine on empty batches (all zero). */
void batches_destroy(Batches *batches);

/* Number of images in the range. */
static inline size_t batches_images(const Batches *batches)
{
    return batches->sample.end - batches->sample.begin;
}

static inline bool batches_streamed(const Batches *batches)
{
    return batches->sample.ring_steps > 0;
}

/* Says on standard error, in one line, which are streamed (NULL: none are there), if any. */
void batches_tell_streamed(const Batches *train, const Batches *test);

/* Number of images in batch `step`. */
int batches_size(const Batches *batches, uint32_t step);

/* Sets the step state and the totals. */
void batches_rewind(Batches *batches, const StepState *state, const Totals *totals);

/* Fetches state or totals (NULL: not wanted); false with the device's first failure. */
bool batches_read(const Batches *batches, StepState *state, Totals *totals, Error *error);

/* Has the images of step number `step` on the device for the operations that are called from now
 * on: to be called before batches_fill, and not within a recording. Steps follow each other; the
 * first after a rewind is any. False with the device's first failure. */
bool batches_bring(Batches *batches, uint32_t step, Error *error);

/* How many batches a test pass takes at once from step number `step` on: full ones, of one half of
 * the ring where the images are streamed; or the smaller one at the end. */
int batches_from(const Batches *batches, uint32_t step);

/* Puts the batch of state's epoch and step, which is step number `step`, into the model's images
 * and labels; returns how many images it has. */
int batches_fill(Batches *batches, uint32_t step, Model *model);

/* The same with `count` of them, one behind the other; count: at most batches_from. Returns how
 * many images each has. */
int batches_fill_several(Batches *batches, uint32_t step, int count, Model *model);

#endif
