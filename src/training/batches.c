#include "training/batches.h"

static size_t image_bytes(const ImageSet *images)
{
    return (size_t)images->channels * (size_t)images->height * (size_t)images->width;
}

/* Does the device have room for the images, and for what it takes later without being asked: for
 * recorded steps and for the driver's own needs? */
static bool fit(const Device *device, const ImageSet *images)
{
    const size_t reserve = (size_t)64 << 20;
    const Operations *ops = device->operations;
    size_t bytes = images->count * (image_bytes(images) + 1);
    return !ops->available || bytes + reserve <= ops->available(device->backend);
}

/* `stored` images at a time are on the device. */
static bool reserve(Batches *b, size_t stored, size_t image, Error *error)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    size_t batch = (size_t)b->sample.batch_size * (size_t)b->at_once;
    return (b->pixels = ops->allocate(backend, stored * image, "the images", error)) &&
           (b->labels = ops->allocate(backend, stored, "the labels", error)) &&
           (b->indices = ops->allocate(backend, batch * sizeof *b->indices, "a batch", error)) &&
           (b->augmentations =
                ops->allocate(backend, batch * sizeof *b->augmentations, "a batch", error)) &&
           (b->state = ops->allocate(backend, sizeof *b->state, "the step state", error)) &&
           (b->totals = ops->allocate(backend, sizeof *b->totals, "the totals", error)) &&
           notices_open(b->device, b->state, b->totals, &b->notices, error);
}

static bool load(Batches *b, ImageSet *images, Error *error)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    size_t image = image_bytes(images);
    if (!fit(b->device, images))
        b->sample.ring_steps = image_stream_ring_steps(&b->sample, b->steps, image);
    size_t ring = (size_t)b->sample.ring_steps * (size_t)b->sample.batch_size;
    if (!reserve(b, ring ? ring : images->count, image, error))
        return false;
    if (ring)
        return image_stream_open(b->device, &b->sample, b->steps, images, b->pixels, b->labels,
                                 &b->stream, error);
    ops->upload(backend, b->pixels, images->pixels, images->count * image);
    ops->upload(backend, b->labels, images->labels, images->count);
    return ops->finish(backend, error);
}

bool batches_create(const Device *device, ImageSet *images, size_t begin, size_t end, Extent input,
                    int batch_size, int at_once, Batches *b, Error *error)
{
    *b = (Batches){0};
    if (begin >= end || end > images->count)
        return fail_usage(error, "range outside the data: %zu:%zu: BEGIN < END <= %zu was expected",
                          begin, end, images->count);
    if (images->height < input.height || images->width < input.width ||
        images->channels != input.channels)
        return fail(error,
                    "image too small for the network: %d x %d x %d: at least %d x %d x %d "
                    "was expected",
                    images->channels, images->height, images->width, input.channels, input.height,
                    input.width);
    b->device = device;
    b->at_once = at_once;
    b->crop = (CropShape){.channels = images->channels,
                          .height = images->height,
                          .width = images->width,
                          .crop_height = input.height,
                          .crop_width = input.width};
    b->sample = (Sampler){.begin = begin,
                          .end = end,
                          .batch_size = batch_size,
                          .augment = AUGMENT_NONE,
                          .colour = images->channels == 3,
                          .slack_y = images->height - input.height,
                          .slack_x = images->width - input.width};
    b->steps = (uint32_t)((end - begin + (size_t)batch_size - 1) / (size_t)batch_size);
    if (load(b, images, error))
        return true;
    batches_destroy(b);
    return false;
}

void batches_destroy(Batches *b)
{
    if (!b->device)
        return;
    image_stream_close(&b->stream);
    notices_close(&b->notices);
    void *buffers[] = {b->pixels, b->labels, b->indices, b->augmentations, b->state, b->totals};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        b->device->operations->release(b->device->backend, buffers[i]);
    *b = (Batches){0};
}

void batches_tell_streamed(const Batches *train, const Batches *test)
{
    bool both[] = {train && batches_streamed(train), test && batches_streamed(test)};
    if (both[0] || both[1])
        warn(
            "streaming the %s%s%s images: they do not fit into the memory that the device has left",
            both[0] ? "training" : "", both[0] && both[1] ? " and " : "", both[1] ? "test" : "");
}

void batches_rewind(Batches *b, const StepState *state, const Totals *totals)
{
    const Operations *ops = b->device->operations;
    ops->upload(b->device->backend, b->state, state, sizeof *state);
    ops->upload(b->device->backend, b->totals, totals, sizeof *totals);
    notices_restart(&b->notices, (Notice){.state = *state, .totals = *totals});
    image_stream_rewind(&b->stream, state->epoch);
}

bool batches_read(const Batches *b, StepState *state, Totals *totals, Error *error)
{
    const Operations *ops = b->device->operations;
    if (state)
        ops->download(b->device->backend, state, b->state, sizeof *state);
    if (totals)
        ops->download(b->device->backend, totals, b->totals, sizeof *totals);
    return ops->finish(b->device->backend, error);
}

int batches_size(const Batches *b, uint32_t step)
{
    size_t done = (size_t)step * (size_t)b->sample.batch_size, left = batches_images(b) - done;
    return left < (size_t)b->sample.batch_size ? (int)left : b->sample.batch_size;
}

bool batches_bring(Batches *b, uint32_t step, Error *error)
{
    return !batches_streamed(b) || image_stream_bring(&b->stream, &b->sample, step, error);
}

int batches_from(const Batches *b, uint32_t step)
{
    size_t full = batches_images(b) / (size_t)b->sample.batch_size;
    if (step >= full)
        return 1;
    size_t count = full - step;
    if (batches_streamed(b)) {
        size_t of_half = b->stream.half_steps - step % b->stream.half_steps;
        count = count < of_half ? count : of_half;
    }
    return count < (size_t)b->at_once ? (int)count : b->at_once;
}

int batches_fill(Batches *b, uint32_t step, Model *model)
{
    return batches_fill_several(b, step, 1, model);
}

int batches_fill_several(Batches *b, uint32_t step, int count, Model *model)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    int batch = batches_size(b, step);
    Sampler sample = b->sample;
    sample.batch = batch * count;
    CropShape crop = b->crop;
    crop.batch = sample.batch;
    ops->sample(backend, &sample, b->state, b->indices, b->augmentations);
    ops->augment(backend, &crop, b->pixels, b->labels, b->indices, b->augmentations, model->images,
                 model->labels);
    return batch;
}
