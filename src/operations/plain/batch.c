#include "operations/plain/plain.h"

static void sample(Backend *backend, const Sampler *sampler, const StepState *state,
                   uint32_t *indices, Augmentation *augmentations)
{
    (void)backend;
    for (int i = 0; i < sampler->batch; i++) {
        indices[i] = sample_image(sampler, state->epoch, state->step, (uint32_t)i);
        augmentations[i] = sample_augmentation(sampler, state->epoch, state->step, (uint32_t)i);
    }
}

/* Augments one image: crop and flip, then each colour operation on all pixels. */
static void augment_image(const CropShape *s, const uint8_t *pixels, const Augmentation *a,
                          float *image)
{
    size_t plane = (size_t)s->height * (size_t)s->width;
    for (int y = 0; y < s->crop_height; y++)
        for (int x = 0; x < s->crop_width; x++) {
            int column = a->left + (a->flip ? s->crop_width - 1 - x : x);
            const uint8_t *from = pixels + (size_t)(a->top + y) * (size_t)s->width + column;
            float *to = image + (y * s->crop_width + x) * s->channels;
            for (int c = 0; c < s->channels; c++)
                to[c] = (float)from[(size_t)c * plane] / 255.0f;
        }
    if (s->channels != 3)
        return;

    int positions = s->crop_height * s->crop_width;
    for (int i = 0; i < COLOUR_OPERATIONS; i++) {
        float mean_grey = 0.0f;
        if (a->order[i] == COLOUR_CONTRAST) {
            double sum = 0.0;
            for (int p = 0; p < positions; p++)
                sum += augment_grey(image + p * 3);
            mean_grey = (float)(sum / positions);
        }
        if (a->order[i] != COLOUR_NOTHING)
            for (int p = 0; p < positions; p++)
                augment_colour(a, a->order[i], mean_grey, image + p * 3);
    }
}

static void augment(Backend *backend, const CropShape *s, const uint8_t *pixels,
                    const uint8_t *labels, const uint32_t *indices,
                    const Augmentation *augmentations, float *images, uint8_t *batch_labels)
{
    (void)backend;
    size_t stored = (size_t)s->channels * (size_t)s->height * (size_t)s->width;
    size_t cropped = (size_t)s->channels * (size_t)s->crop_height * (size_t)s->crop_width;
/* Images are independent, so the result does not depend on the threads. */
#pragma omp parallel for schedule(static)
    for (int i = 0; i < s->batch; i++) {
        augment_image(s, pixels + indices[i] * stored, &augmentations[i],
                      images + (size_t)i * cropped);
        batch_labels[i] = labels[indices[i]];
    }
}

void plain_batch_table(Operations *table)
{
    table->sample = sample;
    table->augment = augment;
}
