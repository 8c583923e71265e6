#include "run/run.h"

#include "base/file.h"
#include "base/time.h"
#include "formats/csv.h"
#include "formats/safetensors.h"
#include "network/model.h"
#include "run/interrupt.h"
#include "run/progress.h"
#include "run/report.h"
#include "run/resume.h"
#include "run/run_folder.h"
#include "run/run_options.h"
#include "run/tensorboard.h"
#include "training/batches.h"
#include "training/checkpoint.h"
#include "training/evaluation.h"
#include "training/population_pass.h"
#include "training/steps.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MEASURED_STEPS = 10 };

typedef struct Run {
    Settings settings;
    RunFolder files;
    Resume resume; /* empty in a new run */
    RunData data;
    RunOptions options;
    Network network;
    Device device;
    Model model;
    Batches train, test;
    Steps train_steps, test_steps;
    TrainingState state;
    Report report;
    CsvLog metrics, steps;
    EventFile board;
    uint64_t max_updates;
    bool estimated; /* has the duration been told? */
    bool no_best;   /* best.safetensors, which there should be, is not */
    bool ended;     /* by a signal or --max-steps, in the middle of an epoch */
} Run;

static bool save_last(Run *run, Error *error)
{
    return run_folder_keep(&run->files, error) &&
           checkpoint_write(run->files.last, &run->model, &run->state, run->options.of_last, error);
}

static bool save_best(Run *run, Error *error)
{
    return run_folder_keep(&run->files, error) &&
           checkpoint_write_weights(run->files.best, &run->model, run->state.best_epoch,
                                    run->state.best_correct, run->options.of_best, error);
}

static bool save(Run *run, Error *error)
{
    return csv_write(&run->steps, error) && run_folder_keep(&run->files, error) &&
           csv_write(&run->metrics, error) && event_file_flush(&run->board, error) &&
           save_last(run, error);
}

/* ---- starting ---- */

static Range whole_if_empty(Range range, size_t count)
{
    return range.end ? range : (Range){.begin = 0, .end = count};
}

static bool load_split(Run *run, DatasetSplit split, Range range, Batches *batches, Error *error)
{
    const Settings *s = &run->settings;
    ImageSet images;
    if (!dataset_load((DatasetKind)s->dataset, split, run->options.data, &images, error))
        return false;
    if (range.end > images.count) {
        fail_usage(error, "range outside the data: --%s-range %zu:%zu: there are %zu images",
                   split == SPLIT_TRAIN ? "train" : "test", range.begin, range.end, images.count);
        image_set_free(&images);
        return false;
    }
    range = whole_if_empty(range, images.count);
    run->data.images[split] = range.end - range.begin;
    run->data.checksum[split] = image_set_checksum(&images);
    bool created = batches_create(&run->device, &images, range.begin, range.end, run->network.input,
                                  (int)s->batch_size, (int)s->batches_at_once, batches, error);
    image_set_free(&images);
    return created;
}

static bool load_initial_weights(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    if (!s->init[0])
        return model_initialise(&run->model, s->seed, error);
    TensorFile file;
    if (!safetensors_read(s->init, &file, error))
        return false;
    bool loaded = model_load_weights(&run->model, &file, s->init, error);
    tensor_file_free(&file);
    return loaded;
}

static bool start_state(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    if (s->resume[0])
        return resume_state(&run->resume, s, &run->files, batches_images(&run->train), &run->model,
                            &run->state, error) &&
               resume_best(&run->files, &run->state, &run->no_best, error);
    run->state.schedules[GROUP_CNN_TOP] = schedule_start(s->lr_cnn_top);
    run->state.schedules[GROUP_NNMF] = schedule_start(s->lr_nnmf);
    run->state.schedules[GROUP_BATCHNORM] = schedule_start(s->lr_batchnorm);
    return load_initial_weights(run, error);
}

static bool open_metrics(Run *run, Error *error)
{
    uint32_t epochs = run->state.epoch;
    if (!csv_open(&run->metrics, run->files.metrics,
                  "epoch,lr_cnn_top,lr_nnmf,lr_batchnorm,train_loss,train_correct,test_correct,"
                  "train_seconds,test_seconds",
                  epochs, error))
        return false;
    if (run->metrics.kept != epochs)
        warn("rows missing or repeated: %s: it has %" PRIu64 " of the epochs before, %" PRIu32
             " were expected",
             run->files.metrics, run->metrics.kept, epochs);
    return true;
}

static bool open_logs(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    const char *own[] = {run->files.config, run->files.metrics, run->files.last, run->files.best,
                         run->files.lock.path};
    for (size_t i = 0; s->log_steps[0] && i < sizeof own / sizeof *own; i++)
        if (file_same(s->log_steps, own[i]))
            return fail_usage(error, "file of the run: --log-steps %s: another was expected",
                              s->log_steps);
    return open_metrics(run, error) &&
           (!s->log_steps[0] ||
            csv_open(&run->steps, s->log_steps, "step,loss,correct", run->state.updates, error));
}

/* The best weights of a run that goes on, if they are missing and the model has others for them. */
static bool restore_best(Run *run, Error *error)
{
    if (!run->no_best || run->state.step > 0)
        return true;
    run->no_best = false;
    return save_best(run, error);
}

/* config.json and the same for TensorBoard. A run that goes on does so in a new event file, which
 * the first save makes; what was not saved leaves the old ones. */
static bool describe(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    json_t *config = run_folder_config(&run->files, s, run->device.description, run->options.data,
                                       &run->data, error);
    uint32_t epoch = run->state.epoch;
    if (config && s->resume[0])
        resume_warn(&run->resume, config);
    bool good = config && run_folder_write_config(&run->files, config, error) &&
                (!s->resume[0] || event_files_cut(run->files.folder, epoch, error)) &&
                event_file_open(&run->board, run->files.folder, error) &&
                (!s->resume[0] || event_file_restart(&run->board, epoch, error)) &&
                tensorboard_add_options(&run->board, epoch, config, error) &&
                (epoch > 0 || tensorboard_add_samples(&run->board, (DatasetKind)s->dataset,
                                                      &run->train, &run->model, error));
    json_decref(config);
    return good;
}

static Report make_report(const Run *run)
{
    const Settings *s = &run->settings;
    return (Report){.format = (LogFormat)s->log_format,
                    .quiet = s->quiet,
                    .network = &run->network,
                    .device = run->device.description,
                    .dataset = dataset_name((DatasetKind)s->dataset),
                    .folder = run->files.folder,
                    .train_images = batches_images(&run->train),
                    .test_images = batches_images(&run->test),
                    .batch_size = run->train.sample.batch_size,
                    .steps = run->train.steps,
                    .test_steps = run->test.steps,
                    .epochs = s->epochs,
                    .resumed = s->resume[0] != '\0'};
}

static bool start(Run *run, Error *error)
{
    Settings *s = &run->settings;
    if ((s->resume[0] && !resume_open(s, &run->files, &run->resume, error)) ||
        !run_options_make(s, &run->options, error))
        return false;
    NetworkOptions options = settings_network(s);
    if (!network_for_dataset((DatasetKind)s->dataset, &options, &run->network, error) ||
        !settings_open_device(s, &run->device, error) ||
        !model_create(&run->network, &run->device, (int)s->batch_size, (int)s->batches_at_once,
                      &run->model, error) ||
        !steps_rehearse(&run->model, true, error) ||
        !load_split(run, SPLIT_TRAIN, s->train_range, &run->train, error) ||
        !load_split(run, SPLIT_TEST, s->test_range, &run->test, error) || !start_state(run, error))
        return false;
    run->train.sample.shuffle = !s->no_shuffle;
    run->train.sample.augment = (AugmentKind)s->augment;
    run->train.sample.seed = s->seed;
    run->train_steps = (Steps){.model = &run->model, .batches = &run->train, .training = true};
    run->test_steps = (Steps){.model = &run->model, .batches = &run->test};
    run->max_updates = s->max_steps ? (uint64_t)s->max_steps : UINT64_MAX;
    if (run->state.step > run->train.steps)
        return fail(error, "not a checkpoint of this run: %s: step %" PRIu32 " of %" PRIu32,
                    run->files.last, run->state.step, run->train.steps);
    /* Last, so that what is wrong with the input leaves no folder behind; signals before it, so
     * that a folder is one that can be resumed. */
    if (!interrupt_catch(error) || (!s->resume[0] && !run_folder_create(s, &run->files, error)))
        return false;
    bool good = open_logs(run, error) && describe(run, error) &&
                (s->resume[0] ? restore_best(run, error) : save(run, error));
    if (!good && !s->resume[0]) {
        event_file_remove(&run->board);
        run_folder_remove(&run->files);
    }
    return good;
}

static void finish(Run *run)
{
    resume_close(&run->resume);
    run_options_free(&run->options);
    csv_close(&run->metrics);
    csv_close(&run->steps);
    event_file_close(&run->board);
    steps_forget(&run->train_steps);
    steps_forget(&run->test_steps);
    batches_destroy(&run->train);
    batches_destroy(&run->test);
    model_destroy(&run->model);
    device_close(&run->device);
    run_folder_close(&run->files);
}

/* ---- an epoch ---- */

static bool check_loss(const Run *run, const Totals *totals, Error *error)
{
    if (!totals->first_nonfinite_step)
        return true;
    return fail(error, "loss not finite: epoch %" PRIu32 ", step %lld: %s is the last good state",
                run->state.epoch, (long long)totals->first_nonfinite_step - 1, run->files.last);
}

/* One step's row of --log-steps, which has to be waited for. */
static bool log_step(Run *run, Notice *now, Error *error)
{
    return batches_read(&run->train, &now->state, &now->totals, error) &&
           csv_append(&run->steps, error, "%" PRIu64 ",%.9f,%" PRIu64, run->state.updates,
                      now->totals.batch_loss, now->totals.batch_correct);
}

/* After each step: how far the device is. A loss that is not finite is noticed here, early. */
static bool follow(Run *run, Progress *progress, Error *error)
{
    Notice *last = &run->train.notices.last;
    bool known =
        run->steps.path ? log_step(run, last, error) : notices_step(&run->train.notices, 1, error);
    if (!known || !check_loss(run, &last->totals, error))
        return false;
    progress_show(progress, last->state.step);
    double seconds = progress_step_seconds(progress, MEASURED_STEPS);
    if (!run->estimated && seconds > 0.0) {
        report_duration(&run->report, seconds);
        run->estimated = true;
    }
    return true;
}

/* Trains to the end of the epoch, or until the run is to end. */
static bool train_epoch(Run *run, Error *error)
{
    TrainingState *state = &run->state;
    StepState first = {.epoch = state->epoch, .step = state->step, .updates = state->updates};
    for (int i = 0; i < GROUPS; i++)
        first.learning_rates[i] = state->schedules[i].learning_rate;
    batches_rewind(&run->train, &first, &state->totals);

    Progress progress;
    progress_start(&progress, "Training", state->epoch, run->train.steps, state->step,
                   run->train.sample.batch_size);
    for (; state->step < run->train.steps; state->step++, state->updates++) {
        if (interrupt_signal() || state->updates >= run->max_updates) {
            run->ended = true;
            break;
        }
        if (!steps_make(&run->train_steps, state->step, error) || !follow(run, &progress, error))
            return false;
    }
    progress_end(&progress);
    if (!batches_read(&run->train, NULL, &state->totals, error))
        return false;
    state->train_seconds += seconds_now() - progress.started;
    return check_loss(run, &state->totals, error);
}

static bool stop_testing(void *context, uint32_t step)
{
    progress_show(context, step);
    return interrupt_signal() != 0;
}

static bool test_epoch(Run *run, double *seconds, Error *error)
{
    Progress progress;
    progress_start(&progress, "Testing", run->state.epoch, run->test.steps, 0,
                   run->test.sample.batch_size);
    bool stopped;
    bool good = evaluate(&run->test_steps, &run->state.last_correct, NULL, stop_testing, &progress,
                         &stopped, error);
    progress_end(&progress);
    *seconds = seconds_now() - progress.started;
    run->ended = run->ended || stopped;
    return good;
}

/* The sum of the batches' losses as published, which the schedules go by: of cross entropy the sum
 * of their means, where a smaller last batch counts as the part of a batch that it is. */
static double schedule_loss(const Run *run)
{
    double images = (double)batches_images(&run->train), batch = run->train.sample.batch_size;
    bool means = run->network.options.loss == LOSS_CROSS_ENTROPY;
    return run->state.totals.loss / (means ? fmin(batch, images) : 1.0);
}

/* What follows a whole epoch: the schedules, the lines, the files. */
static bool conclude_epoch(Run *run, double test_seconds, Error *error)
{
    TrainingState *state = &run->state;
    double train_loss = state->totals.loss / (double)batches_images(&run->train);
    for (int i = 0; i < GROUPS; i++)
        schedule_step(&state->schedules[i], schedule_loss(run));
    EpochResult result = {.train_loss = train_loss,
                          .train_seconds = state->train_seconds,
                          .test_seconds = test_seconds,
                          .train_correct = state->totals.correct,
                          .test_correct = state->last_correct};
    if (!report_epoch(&run->report, state, &result, error) ||
        !csv_append(&run->metrics, error,
                    "%" PRIu32 ",%.17g,%.17g,%.17g,%.9f,%" PRIu64 ",%" PRIu64 ",%.3f,%.3f",
                    state->epoch, state->schedules[GROUP_CNN_TOP].learning_rate,
                    state->schedules[GROUP_NNMF].learning_rate,
                    state->schedules[GROUP_BATCHNORM].learning_rate, train_loss,
                    state->totals.correct, state->last_correct, state->train_seconds,
                    test_seconds) ||
        !tensorboard_add_scalars(&run->board, state, batches_images(&run->train),
                                 batches_images(&run->test), test_seconds, error) ||
        !tensorboard_add_weights(&run->board, &run->model, state->epoch, error))
        return false;
    if (state->epoch == 0 || run->no_best || state->last_correct > state->best_correct) {
        run->no_best = false;
        state->best_correct = state->last_correct;
        state->best_epoch = state->epoch;
        if (!save_best(run, error))
            return false;
    }
    state->epoch++;
    state->step = 0;
    state->totals = (Totals){0};
    state->train_seconds = 0.0;
    return save(run, error);
}

static bool train(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    while ((int64_t)run->state.epoch < s->epochs &&
           !schedule_finished(run->state.schedules, GROUPS, s->lr_limit)) {
        double test_seconds;
        if (!train_epoch(run, error))
            return false;
        if (!run->ended && !test_epoch(run, &test_seconds, error))
            return false;
        if (run->ended)
            return save(run, error);
        if (!conclude_epoch(run, test_seconds, error))
            return false;
    }
    return true;
}

/* ---- the end of the run ---- */

static bool measure_population(Run *run, Error *error)
{
    Progress progress;
    bool stopped;
    progress_start(&progress, "Statistics", run->state.epoch - 1, run->train.steps, 0,
                   run->train.sample.batch_size);
    bool good =
        population_measure(&run->model, &run->train, stop_testing, &progress, &stopped, error);
    progress_end(&progress);
    run->ended = run->ended || stopped;
    return good;
}

/* The model takes the best weights: nothing is trained after that. */
static bool load_best(Run *run, Error *error)
{
    TensorFile file;
    if (!safetensors_read(run->files.best, &file, error))
        return false;
    bool loaded = model_load_weights(&run->model, &file, run->files.best, error);
    tensor_file_free(&file);
    return loaded;
}

/* Adds the population statistics to the run's files; a signal ends that, and what is not yet there
 * is added when the run is resumed. */
static bool add_population(Run *run, Error *error)
{
    TrainingState *state = &run->state;
    if (run->ended || run->settings.no_population || state->epoch == 0)
        return true;
    if (!run->model.has_population &&
        (!measure_population(run, error) || (!run->ended && !save_last(run, error))))
        return false;
    if (run->ended)
        return true;
    if (state->best_epoch + 1 != state->epoch) {
        if (!load_best(run, error))
            return false;
        if (!run->model.has_population && !measure_population(run, error))
            return false;
    }
    return run->ended || save_best(run, error);
}

bool run_train(const Settings *settings, int *signal, Error *error)
{
    Run run = {.settings = *settings};
    *signal = 0;
    bool good = start(&run, error);
    if (good) {
        batches_tell_streamed(&run.train, &run.test);
        run.report = make_report(&run);
        good = report_start(&run.report, &run.state, error) && train(&run, error) &&
               add_population(&run, error);
    }
    if (good) {
        *signal = run.ended ? interrupt_signal() : 0;
        good = report_end(&run.report, &run.state, run.ended, *signal, error);
    } else if (run.steps.path) {
        Error unsaid; /* the steps before the failure are worth having; its own error is told */
        csv_write(&run.steps, &unsaid);
    }
    finish(&run);
    return good;
}
