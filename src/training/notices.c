#include "training/notices.h"

#include "training/transfer.h"

#include <stddef.h>

bool notices_open(const Device *device, const StepState *state, const Totals *totals, Notices *r,
                  Error *error)
{
    const Operations *ops = device->operations;
    *r = (Notices){.device = device, .state = state, .totals = totals};
    for (int i = 0; ops->open_transfer && i < NOTICES_ASKED; i++) {
        r->transfers[i] =
            ops->open_transfer(device->backend, sizeof(Notice), "notices", &r->host[i], error);
        if (!r->transfers[i]) {
            notices_close(r);
            return false;
        }
    }
    return true;
}

void notices_close(Notices *r)
{
    for (int i = 0; i < NOTICES_ASKED; i++)
        if (r->transfers[i])
            r->device->operations->close_transfer(r->device->backend, r->transfers[i]);
    *r = (Notices){0};
}

void notices_restart(Notices *r, Notice now)
{
    r->asked = r->taken = 0;
    r->steps = NOTICE_STEPS - 1; /* the first step is told at once */
    r->last = now;
}

static bool read_now(Notices *r, Error *error)
{
    const Operations *ops = r->device->operations;
    ops->download(r->device->backend, &r->last.state, r->state, sizeof *r->state);
    ops->download(r->device->backend, &r->last.totals, r->totals, sizeof *r->totals);
    return ops->finish(r->device->backend, error);
}

static bool take_arrived(Notices *r, Error *error)
{
    bool arrived = true;
    while (r->taken != r->asked) {
        uint32_t turn = r->taken % NOTICES_ASKED;
        if (!r->device->operations->arrived(r->device->backend, r->transfers[turn], &arrived,
                                            error))
            return false;
        if (!arrived)
            return true;
        r->last = *(const Notice *)r->host[turn];
        r->taken++;
    }
    return true;
}

static void ask(Notices *r)
{
    const Operations *ops = r->device->operations;
    Transfer *transfer = r->transfers[r->asked % NOTICES_ASKED];
    ops->fetch(r->device->backend, transfer, offsetof(Notice, state), r->state, sizeof *r->state);
    ops->fetch(r->device->backend, transfer, offsetof(Notice, totals), r->totals,
               sizeof *r->totals);
    r->asked++;
    r->steps = 0;
}

bool notices_step(Notices *r, uint32_t steps, Error *error)
{
    if (!r->device->operations->fetch)
        return read_now(r, error);
    r->steps += steps;
    if (r->steps >= NOTICE_STEPS) {
        if (r->asked - r->taken == NOTICES_ASKED &&
            !transfer_wait(r->device, r->transfers[r->taken % NOTICES_ASKED], error))
            return false;
        if (!take_arrived(r, error))
            return false;
        ask(r);
    }
    return take_arrived(r, error);
}
