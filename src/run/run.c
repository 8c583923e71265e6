#include "run/run.h"

#include "base/file.h"
#include "run/interrupt.h"
#include "run/tensorboard.h"

#include <inttypes.h>

/* ---- saving ---- */

bool run_save_last(Run *run, Error *error)
{
    return run_folder_keep(&run->files, error) &&
           checkpoint_write(run->files.last, &run->session.model, &run->state, run->options.of_last,
                            error);
}

bool run_save_best(Run *run, Error *error)
{
    return run_folder_keep(&run->files, error) &&
           checkpoint_write_weights(run->files.best, &run->session.model, run->state.best_epoch,
                                    run->state.best_correct, run->options.of_best, error);
}

bool run_save(Run *run, Error *error)
{
    return csv_write(&run->step_log, error) && run_folder_keep(&run->files, error) &&
           csv_write(&run->metrics, error) && event_file_flush(&run->board, error) &&
           run_save_last(run, error);
}

/* ---- opening ---- */

static bool open_session(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    Session *session = &run->session;
    const Sampling sampling = {.shuffle = !s->no_shuffle, .augment = s->augment, .seed = s->seed};
    return session_open(s, (int)s->batch_size, session, error) &&
           session_load(s, SPLIT_TRAIN, s->train_range, sampling, session, error) &&
           session_load(s, SPLIT_TEST, s->test_range, (Sampling){0}, session, error) &&
           steps_create(&session->model, &session->batches[SPLIT_TRAIN], STEP_TRAIN, &run->train,
                        error) &&
           steps_create(&session->model, &session->batches[SPLIT_TEST], STEP_TEST, &run->test,
                        error) &&
           steps_warm_up(&run->train, error);
}

static bool start_state(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    TrainingState *state = &run->state;
    state->schedules[GROUP_CNN_TOP] = schedule_start(s->lr_cnn_top);
    state->schedules[GROUP_NNMF] = schedule_start(s->lr_nnmf);
    state->schedules[GROUP_BATCHNORM] = schedule_start(s->lr_batchnorm);
    return s->init[0] ? model_load_file(&run->session.model, s->init, error)
                      : model_initialise(&run->session.model, s->seed, error);
}

static bool resume(Run *run, Error *error)
{
    size_t images = batches_images(run->train.batches);
    if (!resume_state(&run->resume, &run->settings, &run->files, images, &run->session.model,
                      &run->state, error) ||
        !resume_best(&run->files, &run->state, &run->no_best, error))
        return false;
    if (run->state.step > run->train.batches->steps)
        return fail(error, "not a checkpoint of this run: %s: step %" PRIu32 " of %" PRIu32,
                    run->files.last, run->state.step, run->train.batches->steps);
    return true;
}

static bool open_logs(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    const char *files[] = {run->files.config, run->files.metrics, run->files.last, run->files.best,
                           run->files.lock.path};
    for (size_t i = 0; s->log_steps[0] && i < sizeof files / sizeof *files; i++)
        if (file_same(s->log_steps, files[i]))
            return fail_usage(
                error,
                "output would replace a file of the run: --log-steps %s: another file was expected",
                s->log_steps);
    return metrics_open(&run->metrics, run->files.metrics, run->state.epoch, error) &&
           (!s->log_steps[0] ||
            step_log_open(&run->step_log, s->log_steps, run->state.updates, error));
}

/* Writes config.json and adds it to TensorBoard. A resumed run continues in a new event file,
 * created by the first save; events after the last checkpoint are removed from the old files. */
static bool write_description(Run *run, Error *error)
{
    bool resumed = run->settings.resume[0] != '\0';
    uint32_t epoch = run->state.epoch;
    json_t *config =
        run_folder_config(&run->files, &run->settings, run->options.data, &run->session, error);
    if (config && resumed)
        resume_warn(&run->resume, config);
    bool good = config && run_folder_write_config(&run->files, config, error) &&
                (!resumed || event_files_cut(run->files.folder, epoch, error)) &&
                event_file_open(&run->board, run->files.folder, error) &&
                (!resumed || event_file_restart(&run->board, epoch, error)) &&
                tensorboard_add_options(&run->board, epoch, config, error) &&
                (epoch > 0 ||
                 tensorboard_add_samples(&run->board, run->settings.dataset, &run->train, error));
    json_decref(config);
    return good;
}

/* Replaces missing best weights by the model's, if these are the weights after an epoch. */
static bool restore_best(Run *run, Error *error)
{
    if (!run->no_best || run->state.step > 0)
        return true;
    run->no_best = false;
    return run_save_best(run, error);
}

static bool open_new(Run *run, Error *error)
{
    if (!run_options_make(&run->settings, &run->options, error) || !open_session(run, error) ||
        !start_state(run, error) || !interrupt_catch(error) ||
        !run_folder_create(&run->settings, &run->files, error))
        return false;
    if (open_logs(run, error) && write_description(run, error) && run_save(run, error))
        return true;
    event_file_remove(&run->board);
    run_folder_remove(&run->files);
    return false;
}

static bool open_resumed(Run *run, Error *error)
{
    return resume_open(&run->settings, &run->files, &run->resume, error) &&
           run_options_make(&run->settings, &run->options, error) && open_session(run, error) &&
           resume(run, error) && interrupt_catch(error) && open_logs(run, error) &&
           write_description(run, error) && restore_best(run, error);
}

bool run_open(const Settings *settings, Run *run, Error *error)
{
    *run = (Run){.settings = *settings};
    return settings->resume[0] ? open_resumed(run, error) : open_new(run, error);
}

void run_close(Run *run)
{
    resume_close(&run->resume);
    run_options_free(&run->options);
    csv_close(&run->metrics);
    csv_close(&run->step_log);
    event_file_close(&run->board);
    steps_destroy(&run->train);
    steps_destroy(&run->test);
    session_close(&run->session);
    run_folder_close(&run->files);
}
