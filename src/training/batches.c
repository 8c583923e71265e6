#include "training/batches.h"

static size_t image_bytes(const ImageSet *images)
{
    return (size_t)images->channels * (size_t)images->height * (size_t)images->width;
}

static bool allocate(Batches *b, const ImageSet *images, Error *error)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    size_t batch = (size_t)b->sampler.batch_size * (size_t)b->at_once;
    return (b->pixels =
                ops->allocate(backend, images->count * image_bytes(images), "the images", error)) &&
           (b->labels = ops->allocate(backend, images->count, "the labels", error)) &&
           (b->indices = ops->allocate(backend, batch * sizeof *b->indices, "a batch", error)) &&
           (b->augmentations =
                ops->allocate(backend, batch * sizeof *b->augmentations, "a batch", error));
}

static bool upload(const Batches *b, const ImageSet *images, Error *error)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    ops->upload(backend, b->pixels, images->pixels, images->count * image_bytes(images));
    ops->upload(backend, b->labels, images->labels, images->count);
    return ops->finish(backend, error);
}

bool batches_create(const Device *device, const ImageSet *images, size_t begin, size_t end,
                    Extent input, int batch_size, int at_once, Sampling sampling, Batches *b,
                    Error *error)
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
    b->sampler = (Sampler){.begin = begin,
                           .end = end,
                           .batch_size = batch_size,
                           .shuffle = sampling.shuffle,
                           .augment = sampling.augment,
                           .seed = sampling.seed,
                           .colour = images->channels == 3,
                           .slack_y = images->height - input.height,
                           .slack_x = images->width - input.width};
    b->steps = (uint32_t)((end - begin + (size_t)batch_size - 1) / (size_t)batch_size);
    if (allocate(b, images, error) && upload(b, images, error))
        return true;
    batches_destroy(b);
    return false;
}

void batches_destroy(Batches *b)
{
    if (!b->device)
        return;
    void *buffers[] = {b->pixels, b->labels, b->indices, b->augmentations};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        b->device->operations->release(b->device->backend, buffers[i]);
    *b = (Batches){0};
}

Batches batches_in_order(const Batches *batches)
{
    Batches ordered = *batches;
    ordered.sampler.shuffle = false;
    ordered.sampler.augment = AUGMENT_NONE;
    return ordered;
}

int batches_size(const Batches *b, uint32_t step)
{
    size_t done = (size_t)step * (size_t)b->sampler.batch_size, left = batches_images(b) - done;
    return left < (size_t)b->sampler.batch_size ? (int)left : b->sampler.batch_size;
}

int batches_ahead(const Batches *b, uint32_t step)
{
    size_t full = batches_images(b) / (size_t)b->sampler.batch_size;
    if (step >= full)
        return 1;
    return full - step < (size_t)b->at_once ? (int)(full - step) : b->at_once;
}

int batches_load(const Batches *b, uint32_t step, int count, const StepState *state, Model *model)
{
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    int batch = batches_size(b, step);
    Sampler sampler = b->sampler;
    sampler.batch = batch * count;
    CropShape crop = b->crop;
    crop.batch = sampler.batch;
    ops->sample(backend, &sampler, state, b->indices, b->augmentations);
    ops->augment(backend, &crop, b->pixels, b->labels, b->indices, b->augmentations, model->images,
                 model->labels);
    return batch;
}
