#include "commands/show.h"

#include "nnmf/memory.h"
#include "pictures/sheets.h"
#include "run/session.h"

#include <inttypes.h>
#include <stdio.h>

enum { CLASSES = DATASET_CLASSES };

typedef struct Confusion {
    uint64_t counts[CLASSES][CLASSES]; /* [true][predicted] */
    uint64_t correct, images;
} Confusion;

static bool count(Session *session, DatasetSplit split, Confusion *confusion, Error *error)
{
    size_t images = batches_images(&session->batches[split]);
    Evaluation test = {.probabilities =
                           memory_allocate(images, CLASSES * sizeof(float), "probabilities", error),
                       .labels = memory_allocate(images, 1, "labels", error)};
    bool good = test.probabilities && test.labels &&
                session_evaluate(session, split, STEP_TEST, &test, error);
    for (size_t i = 0; good && i < images; i++)
        confusion->counts[test.labels[i]][evaluation_class(test.probabilities + i * CLASSES)]++;
    confusion->correct = test.correct;
    confusion->images = images;
    memory_free(test.probabilities);
    memory_free(test.labels);
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
    if (!session_open_split(settings, (Range){0}, &session, error))
        return false;
    Confusion confusion = {.correct = 0};
    bool done = count(&session, settings->split, &confusion, error);
    session_close(&session);
    if (!done)
        return false;
    const char *const *names = dataset_class_names(settings->dataset);
    char caption[SHEET_TEXT];
    snprintf(caption, sizeof caption, "%s, %" PRIu64 " %s images: %" PRIu64 " correct (%.2f%%)",
             dataset_name(settings->dataset), confusion.images,
             settings->split == SPLIT_TEST ? "test" : "training", confusion.correct,
             100.0 * (double)confusion.correct / (double)confusion.images);
    done = sheet_confusion(caption, confusion.counts, names, picture, error);
    if (done)
        print(&confusion, names);
    return done;
}
