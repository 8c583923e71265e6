/* The pass that measures the population statistics (population.h says what they are). */
#ifndef NNMF_POPULATION_PASS_H
#define NNMF_POPULATION_PASS_H

#include "network/population.h"
#include "training/evaluation.h"

/* Makes one pass over `batches`, in file order and without augmentation; the statistics then belong
 * to the model. A pass that the watch stopped (*stopped) leaves the model without statistics.
 * Errors: as of evaluate. */
bool population_measure(Model *model, const Batches *batches, Watch watch, bool *stopped,
                        Error *error);

#endif
