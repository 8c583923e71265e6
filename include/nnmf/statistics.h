/* The pass that measures the population statistics (population.h says what they are). */
#ifndef NNMF_STATISTICS_H
#define NNMF_STATISTICS_H

#include "nnmf/batches.h"
#include "nnmf/population.h"

/* One pass over `batches`, in file order and without augmentation, which they get back afterwards;
 * the statistics then belong to the model. stop and *stopped as in evaluation.h: a pass that was
 * stopped leaves the model without statistics. */
bool statistics_measure(Model *model, Batches *batches, bool (*stop)(void *context, uint32_t step),
                        void *context, bool *stopped, Error *error);

#endif
