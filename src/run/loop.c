#include "run/loop.h"

#include "base/time.h"
#include "run/interrupt.h"
#include "run/progress.h"
#include "run/report.h"
#include "run/run.h"
#include "run/tensorboard.h"
#include "training/population_pass.h"

#include <inttypes.h>
#include <math.h>

enum { MEASURED_STEPS = 10 };

typedef struct Loop {
    Run run;
    Report report;
    bool estimated; /* the expected duration has been printed */
    bool ended;     /* a signal or --max-steps has stopped the run within an epoch */
} Loop;

static Report make_report(const Run *run)
{
    const Settings *s = &run->settings;
    return (Report){.format = s->log_format,
                    .quiet = s->quiet,
                    .network = &run->session.network,
                    .device = run->session.device.description,
                    .dataset = dataset_name(s->dataset),
                    .folder = run->files.folder,
                    .train_images = batches_images(run->train.batches),
                    .test_images = batches_images(run->test.batches),
                    .batch_size = (int)s->batch_size,
                    .steps = run->train.batches->steps,
                    .test_steps = run->test.batches->steps,
                    .epochs = s->epochs,
                    .resumed = s->resume[0] != '\0'};
}

static void start_progress(Progress *progress, const char *name, uint32_t epoch, const Steps *steps,
                           uint32_t first)
{
    progress_start(progress, name, epoch, steps->batches->steps, first,
                   steps->batches->sampler.batch_size);
}

/* ---- training ---- */

static bool check_loss(const Run *run, const Totals *totals, Error *error)
{
    if (!totals->first_nonfinite_step)
        return true;
    return fail(error, "loss not finite: epoch %" PRIu32 ", step %lld: %s is the last good state",
                run->state.epoch, (long long)totals->first_nonfinite_step - 1, run->files.last);
}

/* Appends a step to the file of --log-steps. Waits for the device. */
static bool log_step(Run *run, Error *error)
{
    Readback *last = &run->train.readback;
    return steps_read(&run->train, &last->last_state, &last->last_totals, error) &&
           step_log_append(&run->step_log, run->state.updates, &last->last_totals, error);
}

/* Called after each step: shows the progress and detects a non-finite loss early. */
static bool check_progress(Loop *loop, Progress *progress, Error *error)
{
    Run *run = &loop->run;
    const Readback *last = &run->train.readback;
    if ((run->step_log.path && !log_step(run, error)) ||
        !check_loss(run, &last->last_totals, error))
        return false;
    progress_show(progress, last->last_state.step);
    double seconds = progress_step_seconds(progress, MEASURED_STEPS);
    if (!loop->estimated && seconds > 0.0) {
        report_duration(&loop->report, seconds);
        loop->estimated = true;
    }
    return true;
}

/* Trains to the end of the epoch, or until a signal or --max-steps ends the run. */
static bool train_epoch(Loop *loop, Error *error)
{
    Run *run = &loop->run;
    TrainingState *state = &run->state;
    const uint64_t max_updates =
        run->settings.max_steps ? (uint64_t)run->settings.max_steps : UINT64_MAX;
    StepState start = {.epoch = state->epoch, .step = state->step, .updates = state->updates};
    for (int i = 0; i < GROUPS; i++)
        start.learning_rates[i] = state->schedules[i].learning_rate;
    steps_reset(&run->train, &start, &state->totals);

    Progress progress;
    bool good = true;
    start_progress(&progress, "Training", state->epoch, &run->train, state->step);
    for (; good && !steps_ended(&run->train); state->step++, state->updates++) {
        loop->ended = interrupt_signal() || state->updates >= max_updates;
        if (loop->ended)
            break;
        good = step_run(&run->train, error) && check_progress(loop, &progress, error);
    }
    progress_end(&progress);
    if (!good || !steps_read(&run->train, NULL, &state->totals, error))
        return false;
    state->train_seconds += seconds_now() - progress.started;
    return check_loss(run, &state->totals, error);
}

/* ---- testing ---- */

static bool stop_at_signal(void *context, uint32_t step)
{
    progress_show(context, step);
    return interrupt_signal() != 0;
}

static bool test_epoch(Loop *loop, double *seconds, Error *error)
{
    Run *run = &loop->run;
    Progress progress;
    Evaluation result = {.correct = 0};
    start_progress(&progress, "Testing", run->state.epoch, &run->test, 0);
    bool good = evaluate(&run->test, (Watch){stop_at_signal, &progress}, &result, error);
    progress_end(&progress);
    *seconds = seconds_now() - progress.started;
    loop->ended = loop->ended || result.stopped;
    if (good && !result.stopped)
        run->state.last_correct = result.correct;
    return good;
}

/* ---- the end of an epoch ---- */

/* Returns the loss for the schedules, as published: the sum of the batches' losses. With cross
 * entropy these are means over a batch, and a smaller last batch counts in proportion. */
static double schedule_loss(const Run *run)
{
    double images = (double)batches_images(run->train.batches);
    double batch = run->train.batches->sampler.batch_size;
    bool means = run->session.network.options.loss == LOSS_CROSS_ENTROPY;
    return run->state.totals.loss / (means ? fmin(batch, images) : 1.0);
}

static EpochResult step_schedules(Run *run, double test_seconds)
{
    TrainingState *state = &run->state;
    EpochResult result = {.epoch = state->epoch,
                          .train_loss =
                              state->totals.loss / (double)batches_images(run->train.batches),
                          .train_correct = state->totals.correct,
                          .test_correct = state->last_correct,
                          .train_seconds = state->train_seconds,
                          .test_seconds = test_seconds};
    for (int i = 0; i < GROUPS; i++) {
        schedule_step(&state->schedules[i], schedule_loss(run));
        result.learning_rates[i] = state->schedules[i].learning_rate;
    }
    return result;
}

static bool save_if_best(Run *run, Error *error)
{
    TrainingState *state = &run->state;
    if (state->epoch > 0 && !run->no_best && state->last_correct <= state->best_correct)
        return true;
    run->no_best = false;
    state->best_correct = state->last_correct;
    state->best_epoch = state->epoch;
    return run_save_best(run, error);
}

static bool conclude_epoch(Loop *loop, double test_seconds, Error *error)
{
    Run *run = &loop->run;
    TrainingState *state = &run->state;
    const Report *report = &loop->report;
    const EpochResult result = step_schedules(run, test_seconds);
    if (!report_epoch(report, &result, error) || !metrics_append(&run->metrics, &result, error) ||
        !tensorboard_add_scalars(&run->board, &result, report->train_images, report->test_images,
                                 error) ||
        !tensorboard_add_weights(&run->board, &run->session.model, result.epoch, error) ||
        !save_if_best(run, error))
        return false;
    state->epoch++;
    state->step = 0;
    state->totals = (Totals){0};
    state->train_seconds = 0.0;
    return run_save(run, error);
}

static bool run_epochs(Loop *loop, Error *error)
{
    Run *run = &loop->run;
    const Settings *s = &run->settings;
    while ((int64_t)run->state.epoch < s->epochs &&
           !schedule_finished(run->state.schedules, GROUPS, s->lr_limit)) {
        double test_seconds;
        if (!train_epoch(loop, error) || (!loop->ended && !test_epoch(loop, &test_seconds, error)))
            return false;
        if (loop->ended)
            return run_save(run, error);
        if (!conclude_epoch(loop, test_seconds, error))
            return false;
    }
    return true;
}

/* ---- the end of the run ---- */

static bool measure_population(Loop *loop, Error *error)
{
    Run *run = &loop->run;
    Progress progress;
    bool stopped;
    start_progress(&progress, "Statistics", run->state.epoch - 1, &run->train, 0);
    bool good = population_measure(&run->session.model, run->train.batches,
                                   (Watch){stop_at_signal, &progress}, &stopped, error);
    progress_end(&progress);
    loop->ended = loop->ended || stopped;
    return good;
}

/* Adds the population statistics to the run's files. After a signal, resuming the run adds what is
 * missing. */
static bool add_population(Loop *loop, Error *error)
{
    Run *run = &loop->run;
    Model *model = &run->session.model;
    const TrainingState *state = &run->state;
    if (loop->ended || run->settings.no_population || state->epoch == 0)
        return true;
    if (!model->has_population &&
        (!measure_population(loop, error) || (!loop->ended && !run_save_last(run, error))))
        return false;
    if (loop->ended)
        return true;
    if (state->best_epoch + 1 != state->epoch) {
        /* Training has ended, so the best weights may replace the model's. */
        if (!model_load_file(model, run->files.best, error))
            return false;
        if (!model->has_population && !measure_population(loop, error))
            return false;
    }
    return loop->ended || run_save_best(run, error);
}

bool loop_train(const Settings *settings, int *signal, Error *error)
{
    Loop loop = {.ended = false};
    Run *run = &loop.run;
    *signal = 0;
    bool good = run_open(settings, run, error);
    if (good) {
        loop.report = make_report(run);
        good = report_start(&loop.report, &run->state, error) && run_epochs(&loop, error) &&
               add_population(&loop, error);
    }
    if (good) {
        *signal = loop.ended ? interrupt_signal() : 0;
        good = report_end(&loop.report, &run->state, loop.ended, *signal, error);
    } else if (run->step_log.path) {
        Error unused; /* keeps the steps before the failure, which is the error to report */
        csv_write(&run->step_log, &unused);
    }
    run_close(run);
    return good;
}
