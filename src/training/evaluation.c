#include "training/evaluation.h"

/* Downloads the results of the batches that have just run: `count` images from `first` on. */
static void download(const Steps *steps, size_t first, size_t count, const Evaluation *e)
{
    const Model *model = steps->model;
    const Operations *ops = model->device->operations;
    if (e->probabilities)
        ops->download(model->device->backend, e->probabilities + first * DATASET_CLASSES,
                      model_probabilities(model),
                      count * DATASET_CLASSES * sizeof *e->probabilities);
    if (e->labels)
        ops->download(model->device->backend, e->labels + first, model->labels, count);
}

bool evaluate(Steps *steps, Watch watch, Evaluation *e, Error *error)
{
    const Batches *batches = steps->batches;
    Totals totals;
    size_t done = 0;
    e->stopped = false;
    steps_restart(steps);
    while (!steps_ended(steps)) {
        if (watch.stop && watch.stop(watch.context, steps->readback.last_state.step)) {
            e->stopped = true;
            return true;
        }
        size_t count = (size_t)batches_size(batches, steps->next) * (size_t)steps_ahead(steps);
        if (!step_run(steps, error))
            return false;
        download(steps, done, count, e);
        done += count;
    }
    if (!steps_read(steps, NULL, &totals, error))
        return false;
    if (totals.first_nonfinite_step)
        return fail(error, "loss not finite: test batch %lld: the weights cannot be tested",
                    (long long)totals.first_nonfinite_step - 1);
    e->correct = totals.correct;
    return true;
}

int evaluation_class(const float *probabilities)
{
    int best = 0;
    for (int c = 1; c < DATASET_CLASSES; c++)
        if (probabilities[c] > probabilities[best])
            best = c;
    return best;
}
