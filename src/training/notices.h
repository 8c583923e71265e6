/*
 * How far the device has come, told to the host without stopping the device: now and then it copies
 * the step state and the totals to the host, which looks whether a copy has arrived. Where the
 * device's memory is the host's there is a notice of every step.
 */
#ifndef NNMF_NOTICES_H
#define NNMF_NOTICES_H

#include "nnmf/device.h"

enum {
    NOTICE_STEPS = 32, /* from one notice to the next */
    NOTICES_ASKED = 2, /* at most, that have not arrived: the host is so many ahead, no more */
};

typedef struct Notice {
    StepState state;
    Totals totals;
} Notice;

typedef struct Notices {
    const Device *device;
    const StepState *state; /* device memory, as are the totals */
    const Totals *totals;
    Transfer *transfers[NOTICES_ASKED]; /* in turns; none where memory is the host's */
    void *host[NOTICES_ASKED];          /* a Notice each, which the device writes */
    uint32_t asked, taken;
    uint32_t steps; /* since the last was asked for */
    Notice last;    /* that has arrived */
} Notices;

/* Of this state and these totals, device memory that outlives the notices. On failure they are
 * empty. */
bool notices_open(const Device *device, const StepState *state, const Totals *totals,
                  Notices *notices, Error *error);

/* Also fine on empty notices (all zero). */
void notices_close(Notices *notices);

/* After state and totals were set to `now`, and with nothing under way on the device. */
void notices_restart(Notices *notices, Notice now);

/* To be called after each step, or `steps` of them: asks for a notice if it is time, and takes
 * those that have arrived into `last`. Waits only to keep the host from running too far ahead of
 * the device. False with the device's first failure. */
bool notices_step(Notices *notices, uint32_t steps, Error *error);

#endif
