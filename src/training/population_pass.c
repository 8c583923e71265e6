#include "training/population_pass.h"

bool population_measure(Model *model, const Batches *batches, Watch watch, bool *stopped,
                        Error *error)
{
    Batches ordered = batches_in_order(batches);
    Steps steps = {0};
    Evaluation pass = {0}; /* unused: the batch norms accumulate the sums */
    model->has_population = false;
    bool good = steps_create(model, &ordered, STEP_TEST, &steps, error) &&
                population_begin(model, error) && evaluate(&steps, watch, &pass, error);
    steps_destroy(&steps);
    *stopped = pass.stopped;
    bool complete = good && !pass.stopped;
    return population_end(model, complete ? batches_images(batches) : 0, error) && good;
}
