#include "nnmf/training.h"

#include "nnmf/batches.h"
#include "nnmf/checkpoint.h"
#include "nnmf/csv.h"
#include "nnmf/evaluation.h"
#include "nnmf/interrupt.h"
#include "nnmf/model.h"
#include "nnmf/progress.h"
#include "nnmf/run_folder.h"
#include "nnmf/safetensors.h"
#include "nnmf/steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MEASURED_STEPS = 10, PUBLISHED_EPOCHS = 370 };

typedef struct Run {
    Settings settings;
    RunFolder files;
    Network network;
    Device device;
    Model model;
    Batches train, test;
    Steps train_steps, test_steps;
    TrainingState state;
    CsvLog metrics, steps;
    uint64_t max_updates;
    bool estimated; /* has the duration been told? */
    bool ended;     /* by a signal or --max-steps, in the middle of an epoch */
} Run;

static bool save(Run *run, Error *error)
{
    return csv_write(&run->steps, error) && csv_write(&run->metrics, error) &&
           checkpoint_write(run->files.last, &run->model, &run->state, error);
}

/* ---- starting ---- */

static Range whole_if_empty(Range range, size_t count)
{
    return range.end ? range : (Range){.begin = 0, .end = count};
}

static bool load_split(Run *run, DatasetSplit split, Range range, Batches *batches, Error *error)
{
    const Settings *s = &run->settings;
    char folder[SETTINGS_PATH];
    ImageSet images;
    if (!dataset_load((DatasetKind)s->dataset, split,
                      settings_data_folder(s, folder, sizeof folder), &images, error))
        return false;
    if (range.end > images.count) {
        fail_usage(error, "range outside the data: --%s-range %zu:%zu: there are %zu images",
                   split == SPLIT_TRAIN ? "train" : "test", range.begin, range.end, images.count);
        image_set_free(&images);
        return false;
    }
    range = whole_if_empty(range, images.count);
    bool created = batches_create(&run->device, &images, range.begin, range.end, run->network.input,
                                  (int)s->batch_size, batches, error);
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
        return checkpoint_read(run->files.last, &run->model, &run->state, error);
    run->state.schedules[GROUP_CNN_TOP] = schedule_start(s->lr_cnn_top);
    run->state.schedules[GROUP_NNMF] = schedule_start(s->lr_nnmf);
    run->state.schedules[GROUP_BATCHNORM] = schedule_start(s->lr_batchnorm);
    return load_initial_weights(run, error);
}

static bool open_logs(Run *run, Error *error)
{
    const Settings *s = &run->settings;
    return csv_open(&run->metrics, run->files.metrics,
                    "epoch,lr_cnn_top,lr_nnmf,lr_batchnorm,train_loss,train_correct,test_correct,"
                    "train_seconds,test_seconds",
                    run->state.epoch, error) &&
           (!s->log_steps[0] ||
            csv_open(&run->steps, s->log_steps, "step,loss,correct", run->state.updates, error));
}

static void print_start(const Run *run)
{
    network_print(&run->network, stdout);
    printf("Device: %s\nData: %s, %zu training and %zu test images, batches of %d\nRun: %s\n",
           run->device.description, dataset_name((DatasetKind)run->settings.dataset),
           batches_images(&run->train), batches_images(&run->test), run->train.sample.batch_size,
           run->files.folder);
    fflush(stdout);
}

static bool start(Run *run, Error *error)
{
    Settings *s = &run->settings;
    if (s->resume[0] && !run_folder_open(s, &run->files, error))
        return false;
    NetworkOptions options = settings_network(s);
    if (!network_for_dataset((DatasetKind)s->dataset, &options, &run->network, error) ||
        !settings_open_device(s, &run->device, error) ||
        !load_split(run, SPLIT_TRAIN, s->train_range, &run->train, error) ||
        !load_split(run, SPLIT_TEST, s->test_range, &run->test, error) ||
        !model_create(&run->network, &run->device, (int)s->batch_size, &run->model, error) ||
        !start_state(run, error))
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
    /* Last, so that what is wrong with the input leaves no folder behind. */
    if (!s->resume[0] && !run_folder_create(s, &run->files, error))
        return false;
    bool good =
        open_logs(run, error) &&
        run_folder_write_config(&run->files, s, run->device.description,
                                batches_images(&run->train), batches_images(&run->test), error) &&
        interrupt_catch(error) && (s->resume[0] || save(run, error));
    if (!good && !s->resume[0])
        run_folder_remove(&run->files);
    return good;
}

static void finish(Run *run)
{
    csv_close(&run->metrics);
    csv_close(&run->steps);
    steps_forget(&run->train_steps);
    steps_forget(&run->test_steps);
    batches_destroy(&run->train);
    batches_destroy(&run->test);
    model_destroy(&run->model);
    device_close(&run->device);
}

/* ---- an epoch ---- */

/* Once, after the first steps: how long all of it will take here. */
static void tell_duration(Run *run, double step_seconds)
{
    int64_t epochs = run->settings.epochs;
    bool open_ended = epochs > PUBLISHED_EPOCHS;
    double forward_share = 0.9; /* of a step's time that a test batch takes */
    double epoch = step_seconds * (run->train.steps + forward_share * run->test.steps);
    double all = epoch * (double)(open_ended ? PUBLISHED_EPOCHS : epochs);
    char text[32];
    printf("Expected: about %s for %" PRId64 " epoch%s%s (%.3f s a step)\n",
           duration_text(all, text), open_ended ? (int64_t)PUBLISHED_EPOCHS : epochs,
           epochs == 1 ? "" : "s", open_ended ? ", after which the published schedule ended" : "",
           step_seconds);
    fflush(stdout);
    run->estimated = true;
}

static bool check_loss(const Run *run, const Totals *totals, Error *error)
{
    if (!totals->bad_step)
        return true;
    return fail(error, "loss not finite: epoch %" PRIu32 ", step %lld: %s is the last good state",
                run->state.epoch, (long long)totals->bad_step - 1, run->files.last);
}

/* One step's row of --log-steps; also where a loss that is not finite is noticed early. */
static bool log_step(Run *run, Error *error)
{
    Totals totals;
    return batches_read(&run->train, NULL, &totals, error) && check_loss(run, &totals, error) &&
           csv_append(&run->steps, error, "%" PRIu64 ",%.9f,%" PRIu64, run->state.updates,
                      totals.batch_loss, totals.batch_correct);
}

/* Trains to the end of the epoch, or until the run is to end. */
static bool train_epoch(Run *run, Error *error)
{
    TrainingState *state = &run->state;
    Clock clock = {.epoch = state->epoch, .step = state->step, .updates = state->updates};
    for (int i = 0; i < GROUPS; i++)
        clock.learning_rates[i] = state->schedules[i].learning_rate;
    batches_rewind(&run->train, &clock, &state->totals);

    Progress progress;
    progress_start(&progress, "Training", state->epoch, run->train.steps, state->step,
                   run->train.sample.batch_size);
    double started = seconds_now(), looked = started;
    uint32_t first = state->step;
    for (; state->step < run->train.steps; state->step++, state->updates++) {
        if (interrupt_signal() || state->updates >= run->max_updates) {
            run->ended = true;
            break;
        }
        if (!steps_make(&run->train_steps, state->step, error))
            return false;

        double now = seconds_now();
        bool look = now - looked > 1.0; /* reading waits for the device: not in every step */
        if ((look || run->steps.path) && !log_step(run, error))
            return false;
        looked = look ? now : looked;
        if (!run->estimated && state->step - first == MEASURED_STEPS)
            tell_duration(run, (now - started) / (MEASURED_STEPS + 1));
        progress_show(&progress, state->step + 1);
    }
    progress_end(&progress);
    if (!batches_read(&run->train, NULL, &state->totals, error))
        return false;
    state->train_seconds += seconds_now() - started;
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

static void print_epoch(const Run *run, double train_loss, double test_seconds)
{
    const TrainingState *state = &run->state;
    printf("\nEpoch: %" PRIu32 "\nActual lr:", state->epoch);
    for (int i = 0; i < GROUPS; i++)
        printf("  %.4e", state->schedules[i].learning_rate);
    printf("\nTraining: Loss=%.5f Correct=%.2f%%\n", train_loss,
           100.0 * (double)state->totals.correct / (double)batches_images(&run->train));
    printf("Testing: Correct=%.2f%%\n",
           100.0 * (double)state->last_correct / (double)batches_images(&run->test));
    printf("Time: Training=%.1fsec, Testing=%.1fsec\n", state->train_seconds, test_seconds);
    fflush(stdout);
}

/* What follows a whole epoch: the schedules, the lines, the files. */
static bool conclude_epoch(Run *run, double test_seconds, Error *error)
{
    TrainingState *state = &run->state;
    double train_loss = state->totals.loss / (double)batches_images(&run->train);
    for (int i = 0; i < GROUPS; i++)
        schedule_step(&state->schedules[i], state->totals.loss);
    print_epoch(run, train_loss, test_seconds);
    if (!csv_append(&run->metrics, error,
                    "%" PRIu32 ",%.17g,%.17g,%.17g,%.9f,%" PRIu64 ",%" PRIu64 ",%.3f,%.3f",
                    state->epoch, state->schedules[GROUP_CNN_TOP].learning_rate,
                    state->schedules[GROUP_NNMF].learning_rate,
                    state->schedules[GROUP_BATCHNORM].learning_rate, train_loss,
                    state->totals.correct, state->last_correct, state->train_seconds, test_seconds))
        return false;
    if (state->epoch == 0 || state->last_correct > state->best_correct) {
        state->best_correct = state->last_correct;
        state->best_epoch = state->epoch;
        if (!checkpoint_write_weights(run->files.best, &run->model, state->epoch,
                                      state->best_correct, error))
            return false;
    }
    state->epoch++;
    state->step = 0;
    state->totals = (Totals){0};
    state->train_seconds = 0.0;
    return save(run, error);
}

static void print_end(const Run *run)
{
    const TrainingState *state = &run->state;
    double images = (double)batches_images(&run->test);
    if (state->epoch > 0)
        printf("\nBest: %.2f%% after epoch %" PRIu32 ", last: %.2f%%\nFiles: %s\n",
               100.0 * (double)state->best_correct / images, state->best_epoch,
               100.0 * (double)state->last_correct / images, run->files.folder);
    if (run->ended)
        printf("\nEnded in epoch %" PRIu32 " after %" PRIu32 " of %" PRIu32
               " steps. To go on: nnmf-train --resume %s\n",
               state->epoch, state->step, run->train.steps, run->files.folder);
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

bool training_run(const Settings *settings, int *signal, Error *error)
{
    Run run = {.settings = *settings};
    *signal = 0;
    bool good = start(&run, error);
    if (good) {
        print_start(&run);
        good = train(&run, error);
    }
    if (good) {
        print_end(&run);
        *signal = run.ended ? interrupt_signal() : 0;
    } else if (run.steps.path) {
        Error unsaid; /* the steps before the failure are worth having; its own error is told */
        csv_write(&run.steps, &unsaid);
    }
    finish(&run);
    return good;
}
