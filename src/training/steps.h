/*
 * Steps of training or testing. A step runs one batch through the model; in testing several batches
 * can run at once. Devices that support recording run each size of step directly the first time,
 * record it the second time and replay it from then on, so that a step costs the host one call.
 */
#ifndef NNMF_STEPS_H
#define NNMF_STEPS_H

#include "network/model.h"
#include "training/batches.h"
#include "training/readback.h"

typedef enum StepKind {
    STEP_FORWARD, /* forward: probabilities, no loss */
    STEP_TEST,    /* forward and loss */
    STEP_TRAIN,   /* forward, loss, backward and an optimiser step */
} StepKind;

/* Sizes of a step: the number of full batches at once, or 0 for the smaller batch at the end. */
enum { STEP_SIZES = MAX_BATCHES_AT_ONCE + 1 };

typedef struct Steps {
    StepKind kind;
    Model *model;
    const Batches *batches;
    uint32_t next; /* step of the epoch that step_run runs next */

    /* device memory */
    StepState *state;
    Totals *totals; /* of the epoch so far */

    Readback readback; /* of both */

    bool done[STEP_SIZES]; /* whether this size has run */
    void *recordings[STEP_SIZES];
} Steps;

/* Creates steps at the start of epoch 0, with learning rates and totals of 0. Model and batches
 * must outlive them. On failure the steps are empty. Errors: out of memory. */
bool steps_create(Model *model, const Batches *batches, StepKind kind, Steps *steps, Error *error);

/* Does nothing for empty steps (all zero). */
void steps_destroy(Steps *steps);

/* Runs the passes of a full-size step on the model's buffers as they are, so that every operation
 * allocates its workspace, and a lack of memory is reported before training starts. STEP_TRAIN also
 * runs a test pass of as many batches as the model holds. Does not change parameters or moments;
 * resets state and totals like steps_restart. Does nothing on devices that cannot record. Fails
 * with the device's first error. */
bool steps_warm_up(Steps *steps, Error *error);

/* Continues from `state` with the sums in `totals`. */
void steps_reset(Steps *steps, const StepState *state, const Totals *totals);

/* Returns to the start of epoch 0, with learning rates and totals of 0. */
void steps_restart(Steps *steps);

/* Reads state and totals (either may be NULL) after all steps so far. Fails with the device's first
 * error. */
bool steps_read(const Steps *steps, StepState *state, Totals *totals, Error *error);

/* Returns whether all steps of the epoch have been run. */
static inline bool steps_ended(const Steps *steps)
{
    return steps->next == steps->batches->steps;
}

/* Returns the number of steps that the next step_run runs at once: 1 in training, otherwise
 * batches_ahead. */
int steps_ahead(const Steps *steps);

/* Runs the next `steps_ahead` steps at once and polls the read-back. Fails with the device's first
 * error, if that is known by then. */
bool step_run(Steps *steps, Error *error);

/* The same without recording, replaying or polling, to time each operation. */
void step_run_unrecorded(Steps *steps);

/* Loads the next batch into the model without computing anything. Returns its number of images. */
int step_load(Steps *steps);

#endif
