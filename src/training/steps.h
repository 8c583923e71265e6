/*
 * The steps of training or testing: a batch through the model, as often as one likes. A device that
 * can record does each size of batch once, records it the second time, and from then on replays it,
 * so that a step costs the host one call.
 */
#ifndef NNMF_STEPS_H
#define NNMF_STEPS_H

#include "network/model.h"
#include "training/batches.h"

enum { STEP_SIZES = 2 }; /* full batches, and the smaller one at the end of a range */

typedef struct Steps {
    Model *model;
    Batches *batches;
    bool training; /* forward, backward and an optimiser step; else forward and loss */

    bool done[STEP_SIZES];
    void *recordings[STEP_SIZES];
    uint32_t step; /* the one that is being made */
} Steps;

/* Goes through a step of the model's full batch, forward and if `training` backward, on whatever
 * lies in its buffers, so that the operations take their work space: what a device with memory of
 * its own then has left is free for images. Parameters and moments stay as they are. False with the
 * device's first failure, such as too little memory. */
bool steps_rehearse(Model *model, bool training, Error *error);

/* Makes step number `step` of the epoch of the batches' clock, and moves the clock on. */
bool steps_make(Steps *steps, uint32_t step, Error *error);

/* Gives up the recordings; before the model and the batches go. */
void steps_forget(Steps *steps);

#endif
