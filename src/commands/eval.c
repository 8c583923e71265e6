#include "commands/commands.h"

#include "formats/npy.h"
#include "nnmf/memory.h"
#include "run/progress.h"
#include "run/report.h"
#include "run/session.h"
#include "training/evaluation.h"

#include <inttypes.h>
#include <stdio.h>

static bool show_progress(void *context, uint32_t step)
{
    progress_show(context, step);
    return false;
}

static bool print_result(const Settings *settings, uint64_t correct, size_t images, Error *error)
{
    double accuracy = (double)correct / (double)images;
    if (settings->log_format == LOG_JSON)
        return report_json(json_pack("{s:s, s:I, s:I, s:f}", "event", "test", "correct",
                                     (json_int_t)correct, "images", (json_int_t)images, "accuracy",
                                     accuracy),
                           error);
    printf("Testing: Correct=%.2f%% (%" PRIu64 " of %zu)\n", 100.0 * accuracy, correct, images);
    return true;
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
    memory_free(probabilities);
    return good && print_result(settings, correct, images, error);
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
