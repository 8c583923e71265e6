/*
 * Images that do not fit into a device's memory, sent to it as they are needed: to a ring of as
 * many full batches as fit into two halves, in the order in which an epoch draws them. While one
 * half is computed with, the other is filled through page-locked memory.
 */
#ifndef NNMF_IMAGE_STREAM_H
#define NNMF_IMAGE_STREAM_H

#include "data/dataset.h"
#include "nnmf/device.h"

enum { RING_HALVES = 2 };

typedef struct ImageStream {
    const Device *device;
    ImageSet images;
    size_t image_bytes;
    uint32_t half_steps; /* batches of half a ring */
    uint32_t steps;      /* of an epoch */

    uint8_t *pixels, *labels; /* the ring, device memory */
    Transfer *transfers[RING_HALVES];
    void *host[RING_HALVES]; /* pixels, then labels, of half a ring */

    uint32_t epoch;
    bool begun;    /* are halves filled for this epoch? */
    uint32_t half; /* of the epoch, the one in use: half h of the epoch is half h % 2 of the ring */
    uint32_t next; /* to be filled */
} ImageStream;

/* The batches of a ring that makes up for its cost: 0 where an epoch of so many steps has too few.
 */
uint32_t image_stream_ring_steps(const Sampler *sample, uint32_t steps, size_t image_bytes);

/* For a ring of sample->ring_steps batches at `pixels` and `labels`, device memory that outlives
 * the stream. Takes the images over, from memory_allocate: they are left empty. On failure the
 * stream is empty and the images stay. */
bool image_stream_open(const Device *device, const Sampler *sample, uint32_t steps,
                       ImageSet *images, uint8_t *pixels, uint8_t *labels, ImageStream *stream,
                       Error *error);

/* Also fine on an empty stream (all zero). */
void image_stream_close(ImageStream *stream);

/* The next step is any of this epoch. */
void image_stream_rewind(ImageStream *stream, uint32_t epoch);

/* Has the images of step number `step`, which follows the last one, in the ring for the operations
 * that are called from now on. Waits only while the device has yet to take what was sent before.
 * False with the device's first failure. */
bool image_stream_bring(ImageStream *stream, const Sampler *sample, uint32_t step, Error *error);

#endif
