/* Measures the population statistics of a weights file and writes them with the weights. */
#include "commands/commands.h"

#include "base/file.h"
#include "formats/safetensors.h"
#include "network/population.h"
#include "nnmf/memory.h"
#include "run/progress.h"
#include "run/run_folder.h"
#include "run/session.h"
#include "settings/settings_weights.h"
#include "training/population_pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool measure(Session *session, Error *error)
{
    const Batches *batches = &session->batches[SPLIT_TRAIN];
    Progress progress;
    bool stopped;
    progress_start(&progress, "Statistics", 0, batches->steps, 0, batches->sampler.batch_size);
    bool good =
        population_measure(&session->model, batches, progress_watch(&progress), &stopped, error);
    progress_end(&progress);
    return good;
}

/* Sets *text to the current options as text for the metadata; free it with free(). NULL for a
 * checkpoint without options, of version 0.1.0, because options would mark it as a newer one. */
static bool make_options(const Settings *settings, const TensorFile *file, char **text,
                         Error *error)
{
    json_t *options = NULL, *now = NULL;
    bool checkpoint = checkpoint_is(file);
    *text = NULL;
    bool good = weights_options_read(file, settings->weights, &options, error) &&
                (now = weights_options_now(settings, options, error));
    if (good && checkpoint && options && !json_equal(options, now))
        good =
            fail_usage(error,
                       "checkpoint of another network: %s: a checkpoint keeps the options of its "
                       "run: for other options use best.safetensors",
                       settings->weights);
    if (good && (options || !checkpoint))
        good = (*text = weights_options_text(now, error)) != NULL;
    json_decref(now);
    json_decref(options);
    return good;
}

/* Returns the metadata of the weights file with `options` instead of its own, unless that is NULL.
 * Free it with memory_free. */
static const char **change_metadata(const TensorFile *file, const char *options, size_t *count,
                                    Error *error)
{
    const char **metadata =
        memory_allocate(2 * (file->metadata_count + 1), sizeof *metadata, "metadata", error);
    *count = 0;
    for (size_t i = 0; metadata && i < file->metadata_count; i++) {
        if (options && strcmp(file->metadata[2 * i], CHECKPOINT_OPTIONS) == 0)
            continue;
        metadata[2 * *count] = file->metadata[2 * i];
        metadata[2 * *count + 1] = file->metadata[2 * i + 1];
        ++*count;
    }
    if (metadata && options) {
        metadata[2 * *count] = CHECKPOINT_OPTIONS;
        metadata[2 * *count + 1] = options;
        ++*count;
    }
    return metadata;
}

/* Writes all tensors of the weights file, including a checkpoint's moments, with the measured
 * statistics instead of its own. */
static bool write_file(const Settings *settings, const Session *session, const TensorFile *file,
                       const char *options, Error *error)
{
    const Network *network = &session->network;
    char names[MAX_POPULATION_TENSORS][POPULATION_NAME];
    Tensor *tensors = memory_allocate(file->tensor_count + MAX_POPULATION_TENSORS, sizeof *tensors,
                                      "tensors", error);
    float *host = memory_allocate(network->population_elements, sizeof *host, "statistics", error);
    size_t count = 0, statistics, metadata_count;
    const char **metadata = change_metadata(file, options, &metadata_count, error);
    bool good = tensors && host && metadata;
    for (size_t i = 0; good && i < file->tensor_count; i++)
        if (!population_has_tensor(network, file->tensors[i].name))
            tensors[count++] = file->tensors[i];
    good = good &&
           population_tensors(&session->model, host, names, tensors + count, &statistics, error) &&
           safetensors_write(settings->out, tensors, count + statistics, metadata, metadata_count,
                             error);
    memory_free(metadata);
    memory_free(host);
    memory_free(tensors);
    return good;
}

static bool measure_and_write(const Settings *settings, Session *session, Error *error)
{
    TensorFile file;
    if (!safetensors_read(settings->weights, &file, error))
        return false;
    char *options = NULL;
    bool good = make_options(settings, &file, &options, error) && measure(session, error) &&
                write_file(settings, session, &file, options, error);
    free(options);
    tensor_file_free(&file);
    return good;
}

/* If `out` is a weights file of a run, locks the run, because training writes that file too and one
 * of the two results would be lost. */
static bool lock_run(const char *out, RunLock *lock, Error *error)
{
    const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out;
    char folder[SETTINGS_PATH] = ".", config[SETTINGS_PATH];
    *lock = (RunLock){.held = false};
    if (strcmp(name, RUN_LAST) != 0 && strcmp(name, RUN_BEST) != 0)
        return true;
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", (int)(name - out), out);
    return file_join(config, sizeof config, folder, RUN_CONFIG, error) &&
           (access(config, F_OK) != 0 || run_lock_take(lock, folder, error));
}

static bool run_statistics(const Settings *settings, Error *error)
{
    Settings train = *settings;
    train.split = SPLIT_TRAIN;
    Session session;
    if (!session_open_split(&train, settings->train_range, &session, error))
        return false;
    const Batches *batches = &session.batches[SPLIT_TRAIN];
    bool good = measure_and_write(settings, &session, error);
    if (good)
        printf("Statistics of %zu images in batches of %d: %s\n", batches_images(batches),
               batches->sampler.batch_size, settings->out);
    session_close(&session);
    return good;
}

bool command_statistics(const Settings *settings, int *status, Error *error)
{
    (void)status;
    if (!settings->out[0])
        return fail_usage(error, "option missing: --out: a file to write was expected");
    RunLock lock;
    if (!lock_run(settings->out, &lock, error))
        return false;
    bool good = run_statistics(settings, error);
    run_lock_release(&lock);
    return good;
}
