/* Measures the population statistics of a weights file and writes a file with both. */
#include "commands/commands.h"

#include "formats/safetensors.h"
#include "run/progress.h"
#include "run/session.h"
#include "training/checkpoint.h"
#include "training/population_pass.h"

#include <stdio.h>

static bool show_progress(void *context, uint32_t step)
{
    progress_show(context, step);
    return false;
}

static bool measure(Session *session, Error *error)
{
    Progress progress;
    bool stopped;
    progress_start(&progress, "Statistics", 0, session->batches.steps, 0,
                   session->batches.sample.batch_size);
    bool good = population_measure(&session->model, &session->batches, show_progress, &progress,
                                   &stopped, error);
    progress_end(&progress);
    return good;
}

/* The weights' own metadata stay with them. */
static bool write(const Settings *settings, const Session *session, Error *error)
{
    TensorFile file;
    if (!safetensors_read(settings->weights, &file, error))
        return false;
    bool good =
        checkpoint_write_tensors(settings->out, &session->model, (const char *const *)file.metadata,
                                 file.metadata_count, error);
    tensor_file_free(&file);
    return good;
}

bool command_statistics(const Settings *settings, int *status, Error *error)
{
    (void)status;
    if (!settings->out[0])
        return fail_usage(error, "option missing: --out: a file to write was expected");
    Settings of_training = *settings;
    of_training.split = SPLIT_TRAIN;
    Session session;
    if (!session_open(&of_training, settings->train_range, &session, error))
        return false;
    bool good = measure(&session, error) && write(settings, &session, error);
    if (good)
        printf("Statistics of %zu images in batches of %d: %s\n", batches_images(&session.batches),
               session.batches.sample.batch_size, settings->out);
    session_close(&session);
    return good;
}
