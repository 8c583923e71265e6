/* A pass over a split without training: what the published program calls testing. */
#ifndef NNMF_EVALUATION_H
#define NNMF_EVALUATION_H

#include "training/steps.h"

/* Tests all of the batches of `steps` in order. correct: images. probabilities: NULL, or host
 * memory for (images, 10). `stop` (NULL: never) is asked before every batch, or before those that
 * are tested at once, `step` being how many the device is known to have done; when it says true the
 * pass ends and *stopped is set. */
bool evaluate(Steps *steps, uint64_t *correct, float *probabilities,
              bool (*stop)(void *context, uint32_t step), void *context, bool *stopped,
              Error *error);

#endif
