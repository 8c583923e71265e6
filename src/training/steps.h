/*
 * Steps of training or testing: a batch through the model, as often as one likes, or in testing
 * several batches at once. A device that can record runs each size of a step once, records it the
 * second time and replays it from then on, so that a step costs the host one call.
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

/* Recordings by the number of full batches at once; 0: the smaller batch at the end. */
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

    bool done[STEP_SIZES]; /* has run once */
    void *recordings[STEP_SIZES];
} Steps;

/* At the start of epoch 0, with learning rates and totals of 0. Model and batches outlive the
 * steps. On failure the steps are empty. Errors: out of memory. */
bool steps_create(Model *model, const Batches *batches, StepKind kind, Steps *steps, Error *error);

/* Does nothing for empty steps (all zero). */
void steps_destroy(Steps *steps);

/* Runs one full-size step on whatever the model's buffers hold, so that every operation allocates
 * its workspace, and too little memory is found before training begins. Parameters, moments, state
 * and totals stay as they are. Does nothing on devices that share the host's memory. False with the
 * device's first failure. */
bool steps_warm_up(Steps *steps, Error *error);

/* Continues from `state` with the sums of `totals`. */
void steps_reset(Steps *steps, const StepState *state, const Totals *totals);

/* To the start of epoch 0, with learning rates and totals of 0. */
void steps_restart(Steps *steps);

/* Reads state or totals (NULL: not wanted) after all steps so far; false with the device's first
 * failure. */
bool steps_read(const Steps *steps, StepState *state, Totals *totals, Error *error);

/* Are all steps of the epoch done? */
static inline bool steps_ended(const Steps *steps)
{
    return steps->next == steps->batches->steps;
}

/* Number of steps that the next step_run runs at once: 1 in training, otherwise batches_ahead. */
int steps_ahead(const Steps *steps);

/* Runs the next step, or the next `steps_ahead` at once, and polls the read-back. False with the
 * device's first failure that is known by then. */
bool step_run(Steps *steps, Error *error);

/* The same without recording, replaying or polling: for timing each operation. */
void step_run_unrecorded(Steps *steps);

/* Loads the next batch into the model and computes nothing with it: for callers that do. Returns
 * its number of images. */
int step_load(Steps *steps);

#endif
