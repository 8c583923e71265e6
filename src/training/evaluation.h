/* A pass over a split without training: what the published program calls testing. */
#ifndef NNMF_EVALUATION_H
#define NNMF_EVALUATION_H

#include "training/steps.h"

/* Asked before every step of a pass, or before the steps that run at once: `step` steps are known
 * to be done. Returns whether the pass is to stop there. All zero: never. */
typedef struct Watch {
    bool (*stop)(void *context, uint32_t step);
    void *context;
} Watch;

typedef struct Evaluation {
    float *probabilities; /* in: NULL, or host memory (images, 10) to be filled */
    uint8_t *labels;      /* in: NULL, or host memory (images) to be filled */
    uint64_t correct;     /* out: images; STEP_FORWARD: 0 */
    bool stopped;         /* out: by the watch, and nothing else is set */
} Evaluation;

/* Runs all batches of `steps` (STEP_TEST or STEP_FORWARD) in order. Errors: a loss that is not
 * finite, or the device's first failure. */
bool evaluate(Steps *steps, Watch watch, Evaluation *evaluation, Error *error);

/* The answer to an image: the first of its 10 probabilities that is the largest, as the loss
 * operation counts. */
int evaluation_class(const float *probabilities);

#endif
