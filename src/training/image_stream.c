#include "training/image_stream.h"

#include "training/transfer.h"

#include <string.h>

uint32_t image_stream_ring_steps(const Sampler *sample, uint32_t steps, size_t image_bytes)
{
    /* Enough that a copy's start-up does not count; little beside any network. */
    const size_t half_bytes = (size_t)4 << 20;
    const uint32_t least_halves = 4; /* of an epoch: with fewer, a ring would save too little */
    size_t most = half_bytes / ((size_t)sample->batch_size * (image_bytes + 1));
    uint32_t half = steps / least_halves;
    half = half < most ? half : (uint32_t)most;
    half = half ? half : 1;
    return RING_HALVES * half < steps ? RING_HALVES * half : 0;
}

static size_t half_images(const ImageStream *s, const Sampler *sample)
{
    return (size_t)s->half_steps * (size_t)sample->batch_size;
}

bool image_stream_open(const Device *device, const Sampler *sample, uint32_t steps,
                       ImageSet *images, uint8_t *pixels, uint8_t *labels, ImageStream *s,
                       Error *error)
{
    *s = (ImageStream){.device = device,
                       .image_bytes = (size_t)images->channels * (size_t)images->height *
                                      (size_t)images->width,
                       .half_steps = sample->ring_steps / RING_HALVES,
                       .steps = steps,
                       .pixels = pixels,
                       .labels = labels};
    size_t bytes = half_images(s, sample) * (s->image_bytes + 1);
    for (int i = 0; i < RING_HALVES; i++) {
        s->transfers[i] = device->operations->open_transfer(
            device->backend, bytes, "images on their way to the device", &s->host[i], error);
        if (!s->transfers[i]) {
            image_stream_close(s);
            return false;
        }
    }
    s->images = *images;
    *images = (ImageSet){0};
    return true;
}

void image_stream_close(ImageStream *s)
{
    for (int i = 0; i < RING_HALVES; i++)
        if (s->transfers[i])
            s->device->operations->close_transfer(s->device->backend, s->transfers[i]);
    image_set_free(&s->images);
    *s = (ImageStream){0};
}

void image_stream_rewind(ImageStream *s, uint32_t epoch)
{
    s->epoch = epoch;
    s->begun = false;
}

/* Copies the images of half number `half` of the epoch together; returns how many there are. */
static size_t gather(const ImageStream *s, const Sampler *sample, uint32_t half)
{
    uint8_t *pixels = s->host[half % RING_HALVES];
    uint8_t *labels = pixels + half_images(s, sample) * s->image_bytes;
    size_t all = sample->end - sample->begin;
    size_t first = half * half_images(s, sample), end = first + half_images(s, sample);
    end = end < all ? end : all;
    for (size_t position = first; position < end; position++) {
        /* All but the last batch are full, so any position is one of "batch 0". */
        size_t image = sample_image(sample, s->epoch, 0, (uint32_t)position);
        memcpy(pixels, s->images.pixels + image * s->image_bytes, s->image_bytes);
        *labels++ = s->images.labels[image];
        pixels += s->image_bytes;
    }
    return end - first;
}

/* Once the operations that read the half's last images have been called. */
static bool fill(ImageStream *s, const Sampler *sample, uint32_t half, Error *error)
{
    const Operations *ops = s->device->operations;
    Transfer *transfer = s->transfers[half % RING_HALVES];
    if (!transfer_wait(s->device, transfer, error))
        return false;
    size_t count = gather(s, sample, half), labels_at = half_images(s, sample) * s->image_bytes;
    size_t to = half % RING_HALVES * half_images(s, sample);
    ops->send(s->device->backend, transfer, 0, s->pixels + to * s->image_bytes,
              count * s->image_bytes);
    ops->send(s->device->backend, transfer, labels_at, s->labels + to, count);
    return true;
}

bool image_stream_bring(ImageStream *s, const Sampler *sample, uint32_t step, Error *error)
{
    uint32_t half = step / s->half_steps, halves = (s->steps - 1) / s->half_steps + 1;
    if (s->begun && half == s->half)
        return true;
    if (!s->begun)
        s->next = half;
    s->begun = true;
    s->half = half;
    for (; s->next < halves && s->next < half + RING_HALVES; s->next++)
        if (!fill(s, sample, s->next, error))
            return false;
    s->device->operations->await(s->device->backend, s->transfers[half % RING_HALVES]);
    return true;
}
