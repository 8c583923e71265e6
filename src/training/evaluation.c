#include "training/evaluation.h"

bool evaluate(Steps *steps, uint64_t *correct, float *probabilities,
              bool (*stop)(void *context, uint32_t step), void *context, bool *stopped,
              Error *error)
{
    Batches *batches = steps->batches;
    const Device *device = batches->device;
    size_t left = batches_images(batches), batch = (size_t)batches->sample.batch_size;
    Totals totals;
    *stopped = false;
    batches_rewind(batches, &(StepState){0}, &(Totals){0});
    for (uint32_t step = 0, count; step < batches->steps; step += count) {
        count = (uint32_t)steps_at_once(steps, step);
        if (stop && stop(context, batches->notices.last.state.step)) {
            *stopped = true;
            return true;
        }
        if (!steps_make(steps, step, error))
            return false;
        size_t images = left < batch ? left : count * batch;
        left -= images;
        if (probabilities) {
            size_t elements = images * DATASET_CLASSES;
            device->operations->download(device->backend, probabilities,
                                         model_probabilities(steps->model),
                                         elements * sizeof *probabilities);
            probabilities += elements;
        }
        if (!notices_step(&batches->notices, count, error))
            return false;
    }
    if (!batches_read(batches, NULL, &totals, error))
        return false;
    if (totals.first_nonfinite_step)
        return fail(error, "loss not finite: test batch %lld: the weights cannot be tested",
                    (long long)totals.first_nonfinite_step - 1);
    *correct = totals.correct;
    return true;
}
