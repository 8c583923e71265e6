#include "run/resume.h"

#include "settings/options.h"
#include "settings/settings_weights.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* A run that was killed at its start has a configuration but no checkpoint. */
static bool check_started(const RunFolder *folder, Error *error)
{
    if (access(folder->last, F_OK) == 0)
        return true;
    return fail(error, "no checkpoint: %s: %s: remove the folder and start the run again",
                folder->last, strerror(errno));
}

bool resume_open(Settings *settings, RunFolder *folder, Resume *resume, Error *error)
{
    return run_folder_open(settings, folder, &resume->config, error) &&
           check_started(folder, error) && safetensors_read(folder->last, &resume->last, error) &&
           weights_options_read(&resume->last, folder->last, &resume->options, error) &&
           settings_check_edits(settings, resume->options, folder->config, folder->last, error);
}

void resume_close(Resume *resume)
{
    json_decref(resume->config);
    json_decref(resume->options);
    tensor_file_free(&resume->last);
    *resume = (Resume){0};
}

/* ---- the state ---- */

static const char *const rate_options[GROUPS] = {
    [GROUP_CNN_TOP] = "lr-cnn-top", [GROUP_NNMF] = "lr-nnmf", [GROUP_BATCHNORM] = "lr-batchnorm"};

/* Returns whether the learning rate was given or differs from the one the checkpoint was trained
 * with. A checkpoint of version 0.1.0 does not record that one; there the rate has changed if no
 * number of reductions leads from it to the schedule's. */
static bool rate_changed(const Resume *resume, const Settings *settings, const char *name,
                         double rate, const Schedule *schedule)
{
    if (option_given(settings, option_find(name, strlen(name))))
        return true;
    if (resume->options)
        return weights_option_differs(settings, resume->options, name);
    return !schedule_comes_from(schedule, rate);
}

static void change_rates(const Resume *resume, const Settings *settings, TrainingState *state)
{
    const double rates[GROUPS] = {[GROUP_CNN_TOP] = settings->lr_cnn_top,
                                  [GROUP_NNMF] = settings->lr_nnmf,
                                  [GROUP_BATCHNORM] = settings->lr_batchnorm};
    for (int i = 0; i < GROUPS; i++) {
        Schedule *schedule = &state->schedules[i];
        if (rate_changed(resume, settings, rate_options[i], rates[i], schedule))
            schedule_set_rate(schedule, rates[i]);
    }
}

/* Converts the losses of version 0.1.0, which summed the batches' means without weighting a smaller
 * last batch. */
static void convert_loss(const Settings *settings, size_t train_images, TrainingState *state)
{
    double images = (double)train_images, batch = fmin((double)settings->batch_size, images);
    state->totals.loss *= batch;
    for (int i = 0; i < GROUPS; i++)
        state->schedules[i].best *= images / batch / ceil(images / batch);
}

bool resume_state(const Resume *resume, const Settings *settings, const RunFolder *folder,
                  size_t train_images, Model *model, TrainingState *state, Error *error)
{
    if (!checkpoint_load(&resume->last, folder->last, model, state, error))
        return false;
    if (!resume->options && settings->loss == LOSS_CROSS_ENTROPY)
        convert_loss(settings, train_images, state);
    change_rates(resume, settings, state);
    return true;
}

/* ---- the best weights ---- */

static bool check_best(const char *path, Error *error)
{
    TensorFile file;
    if (!safetensors_read(path, &file, error))
        return false;
    tensor_file_free(&file);
    return true;
}

bool resume_best(const RunFolder *folder, TrainingState *state, bool *missing, Error *error)
{
    *missing = false;
    if (state->epoch == 0)
        return true;
    *missing = access(folder->best, F_OK) != 0 && errno == ENOENT;
    if (!*missing)
        return check_best(folder->best, error);
    bool between_epochs = state->step == 0;
    uint32_t epoch = between_epochs ? state->epoch - 1 : state->epoch;
    warn("no best weights: %s: %s: those after epoch %" PRIu32 " replace them", folder->best,
         strerror(ENOENT), epoch);
    if (between_epochs) {
        state->best_epoch = epoch;
        state->best_correct = state->last_correct;
    }
    return true;
}

/* ---- changes since the run was started ---- */

static void warn_data(const json_t *before, const json_t *now, const char *split)
{
    char images[32], checksum[32];
    snprintf(images, sizeof images, "%s_images", split);
    snprintf(checksum, sizeof checksum, "%s_checksum", split);
    const json_t *known = json_object_get(before, images);
    json_int_t count[] = {json_integer_value(known),
                          json_integer_value(json_object_get(now, images))};
    const char *sum[] = {json_string_value(json_object_get(before, checksum)),
                         json_string_value(json_object_get(now, checksum))};
    bool same = count[0] == count[1] && (!sum[0] || strcmp(sum[0], sum[1]) == 0);
    if (!json_is_integer(known))
        warn("unknown data: %s images: the configuration does not record them", split);
    else if (!same)
        warn("data changed: %s: %" JSON_INTEGER_FORMAT
             " %s images, checksum %s: the run had %" JSON_INTEGER_FORMAT ", checksum %s",
             json_string_value(json_object_get(now, "folder")), count[1], split, sum[1], count[0],
             sum[0] ? sum[0] : "unknown");
}

/* Length of "CPU, avx2, 2 threads" without the threads, which do not affect results. */
static int length_without_threads(const char *device)
{
    const char *last = strrchr(device, ',');
    return last && strstr(last, " thread") ? (int)(last - device) : (int)strlen(device);
}

static void warn_device(const char *before, const char *now)
{
    int old = length_without_threads(before), new = length_without_threads(now);
    if (old != new || strncmp(before, now, (size_t)old) != 0)
        warn("device changed: %.*s: the run used %.*s: results may differ in the last bits", new,
             now, old, before);
}

void resume_warn(const Resume *resume, const json_t *config)
{
    const json_t *before = json_object_get(resume->config, "data");
    const json_t *now = json_object_get(config, "data");
    warn_data(before, now, "train");
    warn_data(before, now, "test");
    const char *device = json_string_value(json_object_get(resume->config, "device"));
    if (device)
        warn_device(device, json_string_value(json_object_get(config, "device")));
}
