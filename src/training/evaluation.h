/* A pass over a split without training: what the published program calls testing. */
#ifndef NNMF_EVALUATION_H
#define NNMF_EVALUATION_H

#include "training/steps.h"

/* Called before every step of a pass, or before several that run at once. `step`: number of steps
 * known to be done. Returns true to stop the pass. All zero: never stops. */
typedef struct Watch {
    bool (*stop)(void *context, uint32_t step);
    void *context;
} Watch;

typedef struct Evaluation {
    float *probabilities; /* in: NULL, or host memory (images, 10) to be filled */
    uint8_t *labels;      /* in: NULL, or host memory (images) to be filled */
    uint64_t correct;     /* out: images; STEP_FORWARD: 0 */
    bool stopped;         /* out: the watch stopped the pass; the rest is incomplete */
} Evaluation;

/* Runs all batches of `steps` (STEP_TEST or STEP_FORWARD) in order. Errors: a loss that is not
 * finite, or the device's first failure. */
bool evaluate(Steps *steps, Watch watch, Evaluation *evaluation, Error *error);

/* Returns the predicted class of an image: the first of its 10 probabilities that is the maximum,
 * as in the loss operation. */
int evaluation_class(const float *probabilities);

#endif
