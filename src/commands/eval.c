#include "commands/commands.h"

#include "formats/npy.h"
#include "nnmf/memory.h"
#include "run/report.h"
#include "run/session.h"

#include <inttypes.h>
#include <stdio.h>

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
    size_t images = batches_images(&session->batches[settings->split]);
    Evaluation result = {.probabilities = NULL};
    if (settings->probabilities[0] &&
        !(result.probabilities = memory_allocate(
              images, DATASET_CLASSES * sizeof *result.probabilities, "probabilities", error)))
        return false;
    bool good = session_evaluate(session, settings->split, STEP_TEST, &result, error);
    if (good && result.probabilities)
        good = npy_write_f32(settings->probabilities, result.probabilities, images, DATASET_CLASSES,
                             error);
    memory_free(result.probabilities);
    return good && print_result(settings, result.correct, images, error);
}

bool command_eval(const Settings *settings, int *status, Error *error)
{
    (void)status;
    Session session;
    if (!session_open_split(settings, (Range){0}, &session, error))
        return false;
    bool good = test(settings, &session, error);
    session_close(&session);
    return good;
}
