/* How the operations of a batch and of the optimiser are checked. */
#include "operations_checker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int random_trials(const Checker *checker, int trials)
{
    return checker->quick ? (trials + 3) / 4 : trials;
}

/* ---- sample ---- */

static void call_sample(const Operations *ops, Backend *backend, const void *arguments,
                        void *const *b)
{
    ops->sample(backend, arguments, b[0], b[1], b[2]);
}

void check_sample(Checker *checker)
{
    SampleShape s;
    Trial trial = {.arguments = &s, .call = call_sample};
    for (int i = 0; i < random_trials(checker, 48); i++) {
        int count = between(checker, 1, i % 4 ? 300 : 50000);
        int batch_size = between(checker, 1, count < 60 ? count : 60);
        int steps = (count + batch_size - 1) / batch_size, step = between(checker, 0, steps - 1);
        if (i % 5 == 0)
            step = steps - 1; /* which may be a short one */
        int left = count - step * batch_size;
        s = (SampleShape){.begin = (size_t)between(checker, 0, 10),
                          .batch = left < batch_size ? left : batch_size,
                          .batch_size = batch_size,
                          .shuffle = i % 2 == 0,
                          .augment = (AugmentKind)(i / 2 % 3),
                          .colour = i / 6 % 2 == 0,
                          .slack_y = between(checker, 0, 8),
                          .slack_x = between(checker, 0, 8),
                          .seed = (uint64_t)between(checker, 0, 1 << 30) << 20,
                          .ring_steps = i % 3 ? 0 : (uint32_t)between(checker, 1, steps)};
        s.end = s.begin + (size_t)count;
        snprintf(
            trial.shape, sizeof trial.shape,
            "images %zu..%zu, batch %d of %d, step %d, ring %u, shuffle %d, augment %d, colour %d",
            s.begin, s.end, s.batch, s.batch_size, step, (unsigned)s.ring_steps, s.shuffle,
            (int)s.augment, s.colour);
        Clock *clock = trial_bytes(&trial, "clock", INPUT, BYTES, sizeof *clock);
        clock->epoch = (uint32_t)between(checker, 0, 400);
        clock->step = (uint32_t)step;
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

void check_augment(Checker *checker)
{
    CropShape s;
    Trial trial = {.arguments = &s, .call = call_augment};
    for (int i = 0; i < random_trials(checker, 24); i++) {
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

/* ---- softmax, loss ---- */

typedef struct SoftmaxShape {
    int batch, classes;
} SoftmaxShape;

static void call_softmax(const Operations *ops, Backend *backend, const void *arguments,
                         void *const *b)
{
    const SoftmaxShape *s = arguments;
    ops->softmax(backend, s->batch, s->classes, b[0], b[1]);
}

void check_softmax(Checker *checker)
{
    static const double ranges[] = {1.0, 5.0, 0.01, 40.0, 1000.0};
    SoftmaxShape s;
    Trial trial = {.arguments = &s, .call = call_softmax};
    for (int i = 0; i < random_trials(checker, 30); i++) {
        s = (SoftmaxShape){i % 6 == 0 ? 50 : between(checker, 1, 70),
                           i % 2 == 0 ? 10 : between(checker, 1, 40)};
        double range = ranges[i % 5];
        snprintf(trial.shape, sizeof trial.shape, "batch %d, classes %d, logits up to %g", s.batch,
                 s.classes, range);
        size_t count = (size_t)s.batch * (size_t)s.classes;
        trial_random(checker, &trial, "logits", count, -range, range);
        trial_result(&trial, "probabilities", count, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_loss(const Operations *ops, Backend *backend, const void *arguments,
                      void *const *b)
{
    ops->loss(backend, arguments, b[0], b[1], b[2], b[3], b[4]);
}

/* Fills in probabilities of a kind that depends on `number`; false: they are not finite. */
static bool loss_probabilities(Checker *checker, const LossShape *s, int number, float *p,
                               const uint8_t *labels)
{
    size_t classes = (size_t)s->classes, count = (size_t)s->batch * classes;
    double range = number % 7 == 3 ? 200.0 : 4.0; /* 200: certain, right or wrong */
    float *logits = must_allocate(count * sizeof *logits);
    for (size_t i = 0; i < count; i++)
        logits[i] = number % 7 == 5 ? 0.25f /* all equal: the first is the largest */
                                    : (float)uniform(checker, -range, range);
    checker->plain.operations->softmax(checker->plain.backend, s->batch, s->classes, logits, p);
    free(logits);
    if (number % 7 != 6)
        return true;
    p[count - classes + labels[s->batch - 1]] = INFINITY;
    return false;
}

void check_loss(Checker *checker)
{
    static const double coefficients[][2] = {{0.5, 1.0}, {1.0, 0.0}, {0.0, 2.5}, {-0.5, 1.5}};
    LossShape s;
    Trial trial = {.arguments = &s, .call = call_loss};
    for (int i = 0; i < random_trials(checker, 56); i++) {
        s = (LossShape){.batch = i % 4 == 0 ? 50 : between(checker, 1, 70),
                        .classes = i % 3 == 0 ? between(checker, 1, 40) : 10,
                        .kind = i % 2 ? LOSS_CROSS_ENTROPY : LOSS_SBS,
                        .mse = coefficients[i / 2 % 4][0],
                        .kl = coefficients[i / 2 % 4][1]};
        size_t batch = (size_t)s.batch, count = batch * (size_t)s.classes;
        float *p = trial_floats(&trial, "probabilities", INPUT, count);
        uint8_t *labels = trial_bytes(&trial, "labels", INPUT, BYTES, batch);
        for (size_t b = 0; b < batch; b++)
            labels[b] = (uint8_t)between(checker, 0, s.classes - 1);
        bool finite = loss_probabilities(checker, &s, i, p, labels);
        Clock *clock = trial_bytes(&trial, "clock", INPUT, BYTES, sizeof *clock);
        clock->step = (uint32_t)between(checker, 0, 1000);
        Totals *totals = trial_bytes(&trial, "totals", CHANGED, TOTALS, sizeof *totals);
        *totals = (Totals){.loss = uniform(checker, 0.0, 100.0),
                           .batch_loss = 7.0,
                           .correct = (uint64_t)between(checker, 0, 1000),
                           .batch_correct = 99,
                           .bad_step = i % 14 == 13 ? 5 : 0};
        if (finite && i % 5 != 4)
            trial_result(&trial, "dlogits", count, 0.0);
        else
            trial_absent(&trial, "dlogits");
        snprintf(trial.shape, sizeof trial.shape,
                 "batch %d, classes %d, kind %d, mse %g, kl %g, %s", s.batch, s.classes,
                 (int)s.kind, s.mse, s.kl, finite ? "finite" : "infinite");
        check_trial(checker, &trial);
    }
}

/* ---- optimiser ---- */

enum { SEGMENTS = 5 };

typedef struct AdamCall {
    int count;
    AdamSegment segments[SEGMENTS];
} AdamCall;

static void call_adam(const Operations *ops, Backend *backend, const void *arguments,
                      void *const *b)
{
    const AdamCall *call = arguments;
    ops->adam(backend, call->segments, call->count, b[0], b[1], b[2], b[3], b[4]);
}

static bool in_a_segment(const AdamCall *call, size_t element)
{
    for (int s = 0; s < call->count; s++)
        if (element >= call->segments[s].offset &&
            element - call->segments[s].offset < call->segments[s].elements)
            return true;
    return false;
}

static const char *gaps_are_untouched(const Trial *trial, void *const *after)
{
    enum { FIRST_CHANGED = 2 };
    for (int i = FIRST_CHANGED; i < trial->count; i++) {
        const float *was = trial->buffers[i].before, *is = after[i];
        for (size_t e = 0; e < trial->buffers[i].bytes / sizeof(float); e++)
            if (!in_a_segment(trial->arguments, e) && memcmp(&was[e], &is[e], sizeof(float)) != 0)
                return "writes into a gap between the segments";
    }
    return NULL;
}

void check_adam(Checker *checker)
{
    static const double sizes[] = {1.0, 1e-4, 1e-8, 1e-10};
    AdamCall call;
    Trial trial = {.arguments = &call, .call = call_adam, .verify = gaps_are_untouched};
    for (int i = 0; i < random_trials(checker, 40); i++) {
        size_t end = (size_t)between(checker, 0, 3) * 16;
        call = (AdamCall){.count = between(checker, 1, SEGMENTS)};
        for (int s = 0; s < call.count; s++) {
            size_t elements = (size_t)between(checker, 1, s % 2 ? 30 : 700);
            call.segments[s] =
                (AdamSegment){end, elements, between(checker, 0, LEARNING_RATES - 1)};
            end += (elements + 15) / 16 * 16 + (size_t)between(checker, 0, 2) * 16;
        }
        Clock *clock = trial_bytes(&trial, "clock", INPUT, BYTES, sizeof *clock);
        clock->updates = i % 4 == 0 ? 0 : (uint64_t)between(checker, 0, 400000);
        for (int g = 0; g < LEARNING_RATES; g++)
            clock->learning_rates[g] = pow(10.0, -between(checker, 1, 9));
        double size = sizes[i % 4];
        bool fresh = clock->updates == 0;
        snprintf(trial.shape, sizeof trial.shape,
                 "%d segments, %zu elements, %llu updates, gradients of %g", call.count, end,
                 (unsigned long long)clock->updates, size);
        trial_random(checker, &trial, "gradients", end, -size, size);
        float *parameters = trial_floats(&trial, "parameters", CHANGED, end);
        float *m = trial_floats(&trial, "m", CHANGED, end);
        float *v = trial_floats(&trial, "v", CHANGED, end);
        for (size_t e = 0; e < end; e++) {
            /* From zero the result is the step alone, which a parameter's size would hide. */
            parameters[e] = i % 2 ? (float)uniform(checker, -1.0, 1.0) : 0.0f;
            m[e] = fresh ? 0.0f : (float)uniform(checker, -size, size);
            v[e] = fresh ? 0.0f : (float)uniform(checker, 0.0, size * size);
        }
        check_trial(checker, &trial);
    }
}

static void call_advance(const Operations *ops, Backend *backend, const void *arguments,
                         void *const *b)
{
    (void)arguments;
    ops->advance(backend, b[0]);
}

void check_advance(Checker *checker)
{
    Trial trial = {.call = call_advance};
    for (int i = 0; i < 4; i++) {
        Clock *clock = trial_bytes(&trial, "clock", CHANGED, BYTES, sizeof *clock);
        *clock = (Clock){.epoch = (uint32_t)between(checker, 0, 400),
                         .step = (uint32_t)between(checker, 0, 1000),
                         .updates = i ? (uint64_t)between(checker, 0, 400000) : UINT32_MAX,
                         .learning_rates = {0.001, 0.01, uniform(checker, 0.0, 1.0)}};
        snprintf(trial.shape, sizeof trial.shape, "step %u", clock->step);
        check_trial(checker, &trial);
    }
}
