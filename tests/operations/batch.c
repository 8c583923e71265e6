/* Drawing a batch and augmenting it. */
#include "checker.h"

#include <stdio.h>

static void call_sample(const Operations *ops, Backend *backend, const void *arguments,
                        void *const *b)
{
    ops->sample(backend, arguments, b[0], b[1], b[2]);
}

static void check_sample(Checker *checker)
{
    Sampler s;
    Trial trial = {.arguments = &s, .call = call_sample};
    for (int i = 0; i < random_trials(checker, 48, 4); i++) {
        int count = between(checker, 1, i % 4 ? 300 : 50000);
        int batch_size = between(checker, 1, count < 60 ? count : 60);
        int steps = (count + batch_size - 1) / batch_size, step = between(checker, 0, steps - 1);
        if (i % 5 == 0)
            step = steps - 1; /* may be incomplete */
        int left = count - step * batch_size, batch = left < batch_size ? left : batch_size;
        if (i % 4 == 3 && 3 * batch_size <= left)
            batch =
                3 * batch_size; /* several full batches at once, one after the other in memory */
        s = (Sampler){.begin = (size_t)between(checker, 0, 10),
                      .batch = batch,
                      .batch_size = batch_size,
                      .shuffle = i % 2 == 0,
                      .augment = (AugmentKind)(i / 2 % 3),
                      .colour = i / 6 % 2 == 0,
                      .slack_y = between(checker, 0, 8),
                      .slack_x = between(checker, 0, 8),
                      .seed = (uint64_t)between(checker, 0, 1 << 30) << 20};
        s.end = s.begin + (size_t)count;
        snprintf(trial.shape, sizeof trial.shape,
                 "images %zu..%zu, batch %d of %d, step %d, shuffle %d, augment %d, colour %d",
                 s.begin, s.end, s.batch, s.batch_size, step, s.shuffle, (int)s.augment, s.colour);
        StepState *step_state = trial_bytes(&trial, "step_state", INPUT, BYTES, sizeof *step_state);
        step_state->epoch = (uint32_t)between(checker, 0, 400);
        step_state->step = (uint32_t)step;
        trial_bytes(&trial, "indices", OUTPUT, BYTES, (size_t)s.batch * sizeof(uint32_t));
        trial_bytes(&trial, "augmentations", OUTPUT, BYTES, (size_t)s.batch * sizeof(Augmentation));
        check_trial(checker, &trial);
    }
}

/* ---- augment ---- */

static void call_augment(const Operations *ops, Backend *backend, const void *arguments,
                         void *const *b)
{
    ops->augment(backend, arguments, b[0], b[1], b[2], b[3], b[4], b[5]);
}

static void check_augment(Checker *checker)
{
    CropShape s;
    Trial trial = {.arguments = &s, .call = call_augment};
    for (int i = 0; i < random_trials(checker, 24, 4); i++) {
        s = (CropShape){.batch = between(checker, 1, 9), .channels = i % 3 == 2 ? 1 : 3};
        s.crop_height = i == 0 ? 1 : between(checker, 1, 28);
        s.crop_width = i == 0 ? 1 : between(checker, 1, 28);
        s.height = s.crop_height + between(checker, 0, 5);
        s.width = s.crop_width + between(checker, 0, 5);
        int stored = between(checker, 1, 6), kind = i % 4 ? AUGMENT_IMAGE : i / 4 % 3;
        snprintf(trial.shape, sizeof trial.shape, "batch %d of %d, %d x %d x %d to %d x %d",
                 s.batch, stored, s.channels, s.height, s.width, s.crop_height, s.crop_width);
        size_t batch = (size_t)s.batch, channels = (size_t)s.channels;
        size_t pixel_count = (size_t)stored * channels * (size_t)s.height * (size_t)s.width;
        uint8_t *pixels = trial_bytes(&trial, "pixels", INPUT, BYTES, pixel_count);
        for (size_t p = 0; p < pixel_count; p++)
            pixels[p] = (uint8_t)between(checker, 0, 255);
        uint8_t *labels = trial_bytes(&trial, "labels", INPUT, BYTES, (size_t)stored);
        for (int n = 0; n < stored; n++)
            labels[n] = (uint8_t)between(checker, 0, 9);
        uint32_t *indices = trial_bytes(&trial, "indices", INPUT, BYTES, batch * sizeof *indices);
        Augmentation *a = trial_bytes(&trial, "augmentations", INPUT, BYTES, batch * sizeof *a);
        for (size_t n = 0; n < batch; n++) {
            indices[n] = (uint32_t)between(checker, 0, stored - 1);
            a[n] = augment_draw((AugmentKind)kind, checker->seed, (uint32_t)i, 0, (uint32_t)n,
                                s.height - s.crop_height, s.width - s.crop_width, s.channels == 3);
        }
        trial_result(&trial, "images",
                     batch * channels * (size_t)s.crop_height * (size_t)s.crop_width, 0.0);
        trial_bytes(&trial, "batch labels", OUTPUT, BYTES, batch);
        check_trial(checker, &trial);
    }
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"sample", check_sample, 0.0, 0.0, 0.0, 0.0},
    {"augment", check_augment, 1e-6, 5e-6, 0.0, 0.0},
};

const OperationFamily batch_family = {.cases = cases, .case_count = COUNT(cases)};
