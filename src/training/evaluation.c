#include "nnmf/evaluation.h"

bool evaluate(Model *model, Batches *batches, uint64_t *correct, float *probabilities,
              bool (*stop)(void *context, uint32_t step), void *context, bool *stopped,
              Error *error)
{
    const Device *device = model->device;
    Totals totals;
    *stopped = false;
    batches_rewind(batches, &(Clock){0}, &(Totals){0});
    for (uint32_t step = 0; step < batches->steps; step++) {
        if (stop && stop(context, step)) {
            *stopped = true;
            return true;
        }
        int batch = batches_fill(batches, step, model);
        const float *output = model_forward(model, batch);
        model_loss(model, batch, batches->clock, batches->totals);
        device->operations->advance(device->backend, batches->clock);
        if (probabilities) {
            size_t elements = (size_t)batch * DATASET_CLASSES;
            device->operations->download(device->backend, probabilities, output,
                                         elements * sizeof *probabilities);
            probabilities += elements;
        }
    }
    if (!batches_read(batches, NULL, &totals, error))
        return false;
    if (totals.bad_step)
        return fail(error, "loss not finite: test batch %lld: the weights cannot be tested",
                    (long long)totals.bad_step - 1);
    *correct = totals.correct;
    return true;
}
