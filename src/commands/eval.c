#include "commands.h"

#include "nnmf/evaluation.h"
#include "nnmf/memory.h"
#include "nnmf/npy.h"
#include "nnmf/progress.h"
#include "session.h"

#include <inttypes.h>
#include <stdio.h>

static bool show_progress(void *context, uint32_t step)
{
    progress_show(context, step);
    return false;
}

static bool test(const Settings *settings, Session *session, Error *error)
{
    size_t images = batches_images(&session->batches);
    float *probabilities = NULL;
    if (settings->probabilities[0] &&
        !(probabilities = memory_allocate(images, DATASET_CLASSES * sizeof *probabilities,
                                          "probabilities", error)))
        return false;
    uint64_t correct;
    bool stopped;
    Progress progress;
    progress_start(&progress, "Testing", 0, session->batches.steps, 0,
                   session->batches.sample.batch_size);
    Steps steps = {.model = &session->model, .batches = &session->batches};
    bool good =
        evaluate(&steps, &correct, probabilities, show_progress, &progress, &stopped, error);
    steps_forget(&steps);
    progress_end(&progress);
    if (good && probabilities)
        good =
            npy_write_f32(settings->probabilities, probabilities, images, DATASET_CLASSES, error);
    if (good)
        printf("Testing: Correct=%.2f%% (%" PRIu64 " of %zu)\n",
               100.0 * (double)correct / (double)images, correct, images);
    memory_free(probabilities);
    return good;
}

bool command_eval(const Settings *settings, int *status, Error *error)
{
    (void)status;
    Session session;
    if (!session_open(settings, (Range){0}, &session, error))
        return false;
    bool good = test(settings, &session, error);
    session_close(&session);
    return good;
}
