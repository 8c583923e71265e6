/* A table of operations that times those of another table: every call waits until it is done. */
#ifndef NNMF_TIMED_H
#define NNMF_TIMED_H

#include "nnmf/device.h"

/* Time and work since timed_reset, indexed by an operation's position in the table. flops:
 * multiplications and additions of matrix products. */
typedef struct Timing {
    double seconds[OPERATION_COUNT], flops[OPERATION_COUNT];
} Timing;

/* "NNMF backward" for people, "nnmf_backward" as in the table. */
extern const char *const timed_names[OPERATION_COUNT], *const timed_members[OPERATION_COUNT];

/* `timed` works as `device` does, on its backend, and adds to the timing. One at a time. */
void timed_open(const Device *device, Device *timed);

/* While paused, `timed` neither waits nor times: recorded steps cannot be waited for within. */
void timed_pause(bool pause);
void timed_reset(void);
Timing timed_read(void);

#endif
