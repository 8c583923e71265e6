#include "nnmf/batches.h"

#include "nnmf/memory.h"

static bool reserve(Batches *b, const ImageSet *images, Error *error)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    size_t batch = (size_t)b->sample.batch_size;
    size_t image = (size_t)images->channels * (size_t)images->height * (size_t)images->width;
    return (b->pixels = ops->allocate(backend, images->count * image, "the images", error)) &&
           (b->labels = ops->allocate(backend, images->count, "the labels", error)) &&
           (b->indices = ops->allocate(backend, batch * sizeof *b->indices, "a batch", error)) &&
           (b->augmentations =
                ops->allocate(backend, batch * sizeof *b->augmentations, "a batch", error)) &&
           (b->clock = ops->allocate(backend, sizeof *b->clock, "the clock", error)) &&
           (b->totals = ops->allocate(backend, sizeof *b->totals, "the totals", error));
}

bool batches_create(const Device *device, const ImageSet *images, size_t begin, size_t end,
                    Extent input, int batch_size, Batches *b, Error *error)
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
    b->crop = (CropShape){.channels = images->channels,
                          .height = images->height,
                          .width = images->width,
                          .crop_height = input.height,
                          .crop_width = input.width};
    b->sample = (SampleShape){.begin = begin,
                              .end = end,
                              .batch_size = batch_size,
                              .augment = AUGMENT_NONE,
                              .colour = images->channels == 3,
                              .slack_y = images->height - input.height,
                              .slack_x = images->width - input.width};
    b->steps = (uint32_t)((end - begin + (size_t)batch_size - 1) / (size_t)batch_size);
    if (!reserve(b, images, error)) {
        batches_destroy(b);
        return false;
    }
    size_t image = (size_t)images->channels * (size_t)images->height * (size_t)images->width;
    device->operations->upload(device->backend, b->pixels, images->pixels, images->count * image);
    device->operations->upload(device->backend, b->labels, images->labels, images->count);
    if (!device->operations->finish(device->backend, error)) {
        batches_destroy(b);
        return false;
    }
    return true;
}

void batches_destroy(Batches *b)
{
    if (!b->device)
        return;
    void *buffers[] = {b->pixels, b->labels, b->indices, b->augmentations, b->clock, b->totals};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        b->device->operations->release(b->device->backend, buffers[i]);
    *b = (Batches){0};
}

void batches_rewind(Batches *b, const Clock *clock, const Totals *totals)
{
    const Operations *ops = b->device->operations;
    ops->upload(b->device->backend, b->clock, clock, sizeof *clock);
    ops->upload(b->device->backend, b->totals, totals, sizeof *totals);
}

bool batches_read(const Batches *b, Clock *clock, Totals *totals, Error *error)
{
    const Operations *ops = b->device->operations;
    if (clock)
        ops->download(b->device->backend, clock, b->clock, sizeof *clock);
    if (totals)
        ops->download(b->device->backend, totals, b->totals, sizeof *totals);
    return ops->finish(b->device->backend, error);
}

int batches_size(const Batches *b, uint32_t step)
{
    size_t done = (size_t)step * (size_t)b->sample.batch_size, left = batches_images(b) - done;
    return left < (size_t)b->sample.batch_size ? (int)left : b->sample.batch_size;
}

int batches_fill(Batches *b, uint32_t step, Model *model)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    SampleShape sample = b->sample;
    sample.batch = batches_size(b, step);
    CropShape crop = b->crop;
    crop.batch = sample.batch;
    ops->sample(backend, &sample, b->clock, b->indices, b->augmentations);
    ops->augment(backend, &crop, b->pixels, b->labels, b->indices, b->augmentations, model->images,
                 model->labels);
    return sample.batch;
}
