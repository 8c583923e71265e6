#include "training/readback.h"

#include <stddef.h>
#include <time.h>

/* Contents of one copy. */
typedef struct Snapshot {
    StepState state;
    Totals totals;
} Snapshot;

bool readback_open(const Device *device, const StepState *state, const Totals *totals, Readback *r,
                   Error *error)
{
    const Operations *ops = device->operations;
    *r = (Readback){.device = device, .state = state, .totals = totals};
    for (int i = 0; ops->open_transfer && i < READBACKS_IN_FLIGHT; i++) {
        r->transfers[i] = ops->open_transfer(device->backend, sizeof(Snapshot), "the read-back",
                                             &r->host[i], error);
        if (!r->transfers[i]) {
            readback_close(r);
            return false;
        }
    }
    return true;
}

void readback_close(Readback *r)
{
    for (int i = 0; i < READBACKS_IN_FLIGHT; i++)
        if (r->transfers[i])
            r->device->operations->close_transfer(r->device->backend, r->transfers[i]);
    *r = (Readback){0};
}

void readback_reset(Readback *r, const StepState *state, const Totals *totals)
{
    r->requested = r->received = 0;
    r->steps = READBACK_STEPS - 1; /* requests a copy after the first step */
    r->last_state = *state;
    r->last_totals = *totals;
}

static bool read_now(Readback *r, Error *error)
{
    const Operations *ops = r->device->operations;
    ops->download(r->device->backend, &r->last_state, r->state, sizeof *r->state);
    ops->download(r->device->backend, &r->last_totals, r->totals, sizeof *r->totals);
    return ops->finish(r->device->backend, error);
}

/* Waits until the oldest pending copy has arrived. Does not stop the device. */
static bool wait_for_oldest(const Readback *r, Error *error)
{
    const struct timespec pause = {.tv_nsec = 50000}; /* much less than a step takes */
    Transfer *oldest = r->transfers[r->received % READBACKS_IN_FLIGHT];
    bool arrived = false, good;
    while ((good = r->device->operations->arrived(r->device->backend, oldest, &arrived, error)) &&
           !arrived)
        nanosleep(&pause, NULL);
    return good;
}

static bool take_arrived(Readback *r, Error *error)
{
    bool arrived = true;
    while (r->received != r->requested) {
        uint32_t slot = r->received % READBACKS_IN_FLIGHT;
        if (!r->device->operations->arrived(r->device->backend, r->transfers[slot], &arrived,
                                            error))
            return false;
        if (!arrived)
            return true;
        const Snapshot *snapshot = r->host[slot];
        r->last_state = snapshot->state;
        r->last_totals = snapshot->totals;
        r->received++;
    }
    return true;
}

static void request(Readback *r)
{
    const Operations *ops = r->device->operations;
    Transfer *transfer = r->transfers[r->requested % READBACKS_IN_FLIGHT];
    ops->fetch(r->device->backend, transfer, offsetof(Snapshot, state), r->state, sizeof *r->state);
    ops->fetch(r->device->backend, transfer, offsetof(Snapshot, totals), r->totals,
               sizeof *r->totals);
    r->requested++;
    r->steps = 0;
}

bool readback_poll(Readback *r, uint32_t steps, Error *error)
{
    if (!r->device->operations->fetch)
        return read_now(r, error);
    r->steps += steps;
    if (r->steps >= READBACK_STEPS) {
        if (r->requested - r->received == READBACKS_IN_FLIGHT && !wait_for_oldest(r, error))
            return false;
        if (!take_arrived(r, error))
            return false;
        request(r);
    }
    return take_arrived(r, error);
}
