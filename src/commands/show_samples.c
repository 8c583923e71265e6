#include "commands/show.h"

#include "nnmf/memory.h"
#include "pictures/sheets.h"
#include "run/session.h"

#include <inttypes.h>
#include <stdio.h>

enum { COLUMNS = 10 };

typedef struct Samples {
    SampleSheet sheet;
    float *images;
    uint8_t *labels;
    Augmentation *augmentations; /* of the first image of each row */
    char (*texts)[SHEET_TEXT];
} Samples;

static bool reserve(const Session *session, size_t count, size_t rows, Samples *s, Error *error)
{
    size_t image = extent_elements(session->network.input) * sizeof *s->images;
    return (s->images = memory_allocate(count, image, "samples", error)) &&
           (s->labels = memory_allocate(count, 1, "samples", error)) &&
           (s->augmentations = memory_allocate(rows, sizeof *s->augmentations, "samples", error)) &&
           (s->texts = memory_allocate(rows, sizeof *s->texts, "samples", error));
}

static void release(Samples *s)
{
    memory_free(s->images);
    memory_free(s->labels);
    memory_free(s->augmentations);
    memory_free(s->texts);
}

/* Downloads the first images of each step, `count` in all. */
static bool collect(Steps *steps, size_t columns, size_t count, Samples *s, Error *error)
{
    const Model *model = steps->model;
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    size_t elements = extent_elements(model->network->input);
    for (size_t row = 0, done = 0; done < count; row++, done += columns) {
        size_t images = count - done < columns ? count - done : columns;
        step_load(steps);
        ops->download(backend, s->images + done * elements, model->images,
                      images * elements * sizeof *s->images);
        ops->download(backend, s->labels + done, model->labels, images);
        ops->download(backend, &s->augmentations[row], steps->batches->augmentations,
                      sizeof *s->augmentations);
    }
    return ops->finish(backend, error);
}

/* Describes the augmentation of a row's images, in the order in which it was applied. */
static void describe(const Augmentation *a, AugmentKind kind, bool colour, size_t step,
                     char text[SHEET_TEXT])
{
    int length = snprintf(text, SHEET_TEXT, "step %zu: ", step);
    if (kind != AUGMENT_REFERENCE) {
        snprintf(text + length, (size_t)(SHEET_TEXT - length), "%s",
                 kind == AUGMENT_NONE ? "centre crop" : "an augmentation for each image");
        return;
    }
    length += snprintf(text + length, (size_t)(SHEET_TEXT - length), "crop at row %d, column %d%s",
                       a->top, a->left, a->flip ? ", flipped" : "");
    static const char *const names[] = {"", "brightness", "contrast", "saturation", "hue"};
    const float values[] = {0, a->brightness, a->contrast, a->saturation, a->hue};
    for (int i = 0; i < COLOUR_OPERATIONS && colour; i++)
        length += snprintf(text + length, (size_t)(SHEET_TEXT - length),
                           a->order[i] == COLOUR_HUE ? ", %s %+.2f" : ", %s x%.2f",
                           names[a->order[i]], (double)values[a->order[i]]);
}

static bool draw_sheet(const Settings *settings, Session *session, size_t columns, Picture *picture,
                       Error *error)
{
    Samples s = {.images = NULL};
    size_t count = (size_t)settings->samples, rows = (count + columns - 1) / columns;
    const Batches *batches = &session->batches[SPLIT_TRAIN];
    Steps steps = {.model = NULL};
    bool done = reserve(session, count, rows, &s, error) &&
                steps_create(&session->model, batches, STEP_FORWARD, &steps, error) &&
                collect(&steps, columns, count, &s, error);
    steps_destroy(&steps);
    if (done) {
        for (size_t row = 0; row < rows; row++)
            describe(&s.augmentations[row], settings->augment, batches->sampler.colour, row,
                     s.texts[row]);
        s.sheet = (SampleSheet){
            .extent = session->network.input,
            .columns = (int)columns,
            .count = count,
            .images = s.images,
            .labels = s.labels,
            .class_names = dataset_class_names(settings->dataset),
            .row_texts = (const char(*)[SHEET_TEXT])s.texts,
        };
        snprintf(s.sheet.caption, SHEET_TEXT,
                 "%s: training images as the network sees them, the first of each step of epoch 0 "
                 "(seed %" PRIu64 ")",
                 dataset_name(settings->dataset), settings->seed);
        done = sheet_samples(&s.sheet, picture, error);
    }
    release(&s);
    return done;
}

bool show_samples(const Settings *settings, Picture *picture, Error *error)
{
    Session session;
    if (settings->weights[0])
        return fail_usage(error,
                          "conflicting options: --samples and --weights: training images "
                          "need no weights");
    if (!session_open(settings, (int)settings->batch_size, &session, error))
        return false;
    const Sampling sampling = {
        .shuffle = !settings->no_shuffle, .augment = settings->augment, .seed = settings->seed};
    bool done =
        session_load(settings, SPLIT_TRAIN, settings->train_range, sampling, &session, error);
    if (done) {
        const Batches *b = &session.batches[SPLIT_TRAIN];
        size_t columns =
            (size_t)batches_size(b, 0) < COLUMNS ? (size_t)batches_size(b, 0) : COLUMNS;
        size_t last = (size_t)batches_size(b, b->steps - 1);
        size_t available = (b->steps - 1) * columns + (last < columns ? last : columns);
        done = (size_t)settings->samples <= available
                   ? draw_sheet(settings, &session, columns, picture, error)
                   : fail_usage(error,
                                "bad value: --samples: %" PRId64
                                " images: at most %zu were "
                                "expected, %zu of each step of an epoch",
                                settings->samples, available, columns);
    }
    session_close(&session);
    return done;
}
