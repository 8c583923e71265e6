#include "training/population_pass.h"

#include "training/evaluation.h"

bool population_measure(Model *model, Batches *batches, bool (*stop)(void *context, uint32_t step),
                        void *context, bool *stopped, Error *error)
{
    bool shuffle = batches->sample.shuffle;
    AugmentKind augment = batches->sample.augment;
    batches->sample.shuffle = false;
    batches->sample.augment = AUGMENT_NONE;
    model->has_population = false;
    *stopped = false;

    /* What a test computes, but for the sums. */
    Steps steps = {.model = model, .batches = batches};
    uint64_t correct;
    bool good = population_begin(model, error) &&
                evaluate(&steps, &correct, NULL, stop, context, stopped, error);
    steps_forget(&steps);
    bool whole = good && !*stopped;
    good = population_end(model, whole ? batches_images(batches) : 0, error) && good;
    batches->sample.shuffle = shuffle;
    batches->sample.augment = augment;
    return good;
}
