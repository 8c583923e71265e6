/*
 * Asynchronous read-back of a device's step state and totals, so that the host follows the device
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
    Transfer *transfers[READBACKS_IN_FLIGHT]; /* used alternately; NULL if memory is shared */
    void *host[READBACKS_IN_FLIGHT];          /* one snapshot per transfer, written by the device */
    uint32_t requested, received;             /* copies since the reset */
    uint32_t steps;                           /* since the last request */
    StepState last_state;                     /* the latest received */
    Totals last_totals;                       /* at the same step */
} Readback;

/* Prepares to read `state` and `totals`, device memory that must outlive the read-back. On failure
 * the read-back is empty. Errors: out of pinned memory. */
bool readback_open(const Device *device, const StepState *state, const Totals *totals,
                   Readback *readback, Error *error);

/* Does nothing for an empty read-back (all zero). */
void readback_close(Readback *readback);

/* Restarts from these host values, to which state and totals have just been set. No step may be
 * running. */
void readback_reset(Readback *readback, const StepState *state, const Totals *totals);

/* Call after `steps` more steps. Requests a copy if one is due and receives those that have
 * arrived. Blocks only while READBACKS_IN_FLIGHT copies are pending. Fails with the device's first
 * error. */
bool readback_poll(Readback *readback, uint32_t steps, Error *error);

#endif
