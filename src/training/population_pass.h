/* The pass that measures the population statistics (population.h says what they are). */
#ifndef NNMF_POPULATION_PASS_H
#define NNMF_POPULATION_PASS_H

#include "network/population.h"
#include "training/batches.h"

/* One pass over `batches`, in file order and without augmentation, which they get back afterwards;
 * the statistics then belong to the model. stop and *stopped as in evaluation.h: a pass that was
 * stopped leaves the model without statistics. */
bool population_measure(Model *model, Batches *batches, bool (*stop)(void *context, uint32_t step),
                        void *context, bool *stopped, Error *error);

#endif
