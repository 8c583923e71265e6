/* The pass that measures the population statistics (population.h). */
#ifndef NNMF_POPULATION_PASS_H
#define NNMF_POPULATION_PASS_H

#include "network/population.h"
#include "training/evaluation.h"

/* Runs one pass over `batches`, in file order and without augmentation, and stores the statistics
 * in the model. If the watch stops the pass (*stopped), or on failure, the model has no statistics.
 * Errors: those of evaluate, out of memory. */
bool population_measure(Model *model, const Batches *batches, Watch watch, bool *stopped,
                        Error *error);

#endif
