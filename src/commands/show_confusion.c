#include "commands/show.h"

#include "nnmf/memory.h"
#include "pictures/sheets.h"
#include "run/progress.h"
#include "run/session.h"
#include "training/steps.h"

#include <inttypes.h>
#include <stdio.h>

enum { CLASSES = DATASET_CLASSES };

typedef struct Confusion {
    uint64_t counts[CLASSES][CLASSES]; /* [true][predicted] */
    uint64_t correct, images;
} Confusion;

/* Adds so many images. The first largest probability is the answer, as for the loss operation. */
static void add(Confusion *confusion, size_t images, const float *probabilities,
                const uint8_t *labels)
{
    for (size_t i = 0; i < images; i++, probabilities += CLASSES) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            if (probabilities[c] > probabilities[best])
                best = c;
        confusion->counts[labels[i]][best]++;
        confusion->correct += best == labels[i];
        confusion->images++;
    }
}

static bool run(Session *session, Steps *steps, float *probabilities, uint8_t *labels,
                Confusion *confusion, Error *error)
{
    const Operations *ops = session->device.operations;
    Backend *backend = session->device.backend;
    Batches *batches = &session->batches;
    Progress progress;
    bool good = true;
    progress_start(&progress, "Testing", 0, batches->steps, 0, batches->sample.batch_size);
    batches_rewind(batches, &(StepState){0}, &(Totals){0});
    for (uint32_t step = 0, count; good && step < batches->steps; step += count) {
        count = (uint32_t)steps_at_once(steps, step);
        size_t images = count * (size_t)batches_size(batches, step);
        progress_show(&progress, step);
        good = steps_make(steps, step, error);
        if (!good)
            break;
        ops->download(backend, probabilities, model_probabilities(&session->model),
                      images * CLASSES * sizeof *probabilities);
        ops->download(backend, labels, session->model.labels, images);
        good = ops->finish(backend, error);
        if (good)
            add(confusion, images, probabilities, labels);
    }
    progress_end(&progress);
    return good;
}

static bool count(Session *session, Confusion *confusion, Error *error)
{
    size_t most = (size_t)session->batches.sample.batch_size * (size_t)session->batches.at_once;
    float *probabilities =
        memory_allocate(most, CLASSES * sizeof *probabilities, "probabilities", error);
    uint8_t *labels = probabilities ? memory_allocate(most, 1, "labels", error) : NULL;
    bool good = false;
    if (labels) {
        Steps steps = {.model = &session->model, .batches = &session->batches};
        good = run(session, &steps, probabilities, labels, confusion, error);
        steps_forget(&steps);
    }
    Totals totals;
    good = good && batches_read(&session->batches, NULL, &totals, error);
    if (good && totals.first_nonfinite_step)
        good = fail(error, "loss not finite: test batch %lld: the weights cannot be tested",
                    (long long)totals.first_nonfinite_step - 1);
    memory_free(probabilities);
    memory_free(labels);
    return good;
}

static void print(const Confusion *confusion, const char *const *names)
{
    printf("%-12s", "true \\ as");
    for (int i = 0; i < CLASSES; i++)
        printf(" %11s", names[i]);
    printf("\n");
    for (int i = 0; i < CLASSES; i++) {
        printf("%-12s", names[i]);
        for (int j = 0; j < CLASSES; j++)
            printf(" %11" PRIu64, confusion->counts[i][j]);
        printf("\n");
    }
    printf("Testing: Correct=%.2f%% (%" PRIu64 " of %" PRIu64 ")\n",
           100.0 * (double)confusion->correct / (double)confusion->images, confusion->correct,
           confusion->images);
}

bool show_confusion(const Settings *settings, Picture *picture, Error *error)
{
    Session session;
    if (!session_open(settings, (Range){0}, &session, error))
        return false;
    Confusion confusion = {.correct = 0};
    bool done = count(&session, &confusion, error);
    session_close(&session);
    if (!done)
        return false;
    const char *const *names = dataset_class_names((DatasetKind)settings->dataset);
    char caption[SHEET_TEXT];
    snprintf(caption, sizeof caption, "%s, %" PRIu64 " %s images: %" PRIu64 " correct (%.2f%%)",
             dataset_name((DatasetKind)settings->dataset), confusion.images,
             settings->split == SPLIT_TEST ? "test" : "training", confusion.correct,
             100.0 * (double)confusion.correct / (double)confusion.images);
    done = sheet_confusion(caption, confusion.counts, names, picture, error);
    if (done)
        print(&confusion, names);
    return done;
}
