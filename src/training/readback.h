/*
 * Asynchronous read-back of a device's step state and totals: the host learns how far the device is
 * without stopping it. Every READBACK_STEPS steps the device copies both to pinned host memory, and
 * the host polls whether a copy is complete. On devices that share the host's memory every step is
 * read.
 */
#ifndef NNMF_READBACK_H
#define NNMF_READBACK_H

#include "nnmf/device.h"

enum {
    READBACK_STEPS = 32,     /* between two copies */
    READBACKS_IN_FLIGHT = 2, /* maximum; bounds how far the host runs ahead */
};

typedef struct Readback {
    const Device *device;
    const StepState *state;                   /* device memory */
    const Totals *totals;                     /* device memory */
    Transfer *transfers[READBACKS_IN_FLIGHT]; /* used in turn; NULL where memory is shared */
    void *host[READBACKS_IN_FLIGHT];          /* a snapshot each, written by the device */
    uint32_t requested, received;
    uint32_t steps;       /* since the last request */
    StepState last_state; /* the latest that arrived */
    Totals last_totals;   /* at the same step */
} Readback;

/* For this state and these totals, device memory that outlives the read-back. On failure the
 * read-back is empty. Errors: out of pinned memory. */
bool readback_open(const Device *device, const StepState *state, const Totals *totals,
                   Readback *readback, Error *error);

/* Does nothing for an empty read-back (all zero). */
void readback_close(Readback *readback);

/* Starts anew from these values, which state and totals have just been set to. No step may be
 * running. */
void readback_reset(Readback *readback, const StepState *state, const Totals *totals);

/* After `steps` more steps: requests a copy if one is due, and takes those that have arrived.
 * Blocks only while READBACKS_IN_FLIGHT copies are pending. False with the device's first
 * failure. */
bool readback_poll(Readback *readback, uint32_t steps, Error *error);

#endif
