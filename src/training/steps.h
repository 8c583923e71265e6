/*
 * The steps of training or testing: a batch through the model, as often as one likes, or in testing
 * several batches at once. A device that can record does each size once, records it the second
 * time, and from then on replays it, so that a step costs the host one call.
 */
#ifndef NNMF_STEPS_H
#define NNMF_STEPS_H

#include "network/model.h"
#include "training/batches.h"

/* By the number of full batches; 0: the smaller one at the end of a range. */
enum { STEP_SIZES = MAX_BATCHES_AT_ONCE + 1 };

typedef struct Steps {
    Model *model;
    Batches *batches;
    bool training; /* forward, backward and an optimiser step; else forward and loss */

    bool done[STEP_SIZES];
    void *recordings[STEP_SIZES];
    uint32_t step; /* the one that is being made, or the first of them */
} Steps;

/* Goes through a step of the model's full batch, forward and if `training` backward, and through a
 * test of as many as it holds, on whatever lies in its buffers, so that the operations take their
 * work space: what a device with memory of its own then has left is free for images. Parameters and
 * moments stay as they are. False with the device's first failure, such as too little memory. */
bool steps_rehearse(Model *model, bool training, Error *error);

/* How many steps steps_make makes that begins with `step`: 1 in training, else batches_from. */
int steps_at_once(const Steps *steps, uint32_t step);

/* Makes step number `step` of the epoch of the batches' state and those that go with it, and moves
 * the step state on by as many. */
bool steps_make(Steps *steps, uint32_t step, Error *error);

/* Gives up the recordings; before the model and the batches go. */
void steps_forget(Steps *steps);

#endif
