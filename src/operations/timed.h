/* A table of operations that calls those of another table and times them, waiting for each call. */
#ifndef NNMF_TIMED_H
#define NNMF_TIMED_H

#include "nnmf/device.h"

/* Time and work since timed_reset, indexed by an operation's position in the table. flops:
 * multiplications plus additions in matrix products. */
typedef struct Timing {
    double seconds[OPERATION_COUNT], flops[OPERATION_COUNT];
} Timing;

/* Display names ("NNMF backward") and names of the members ("nnmf_backward"). */
extern const char *const timed_names[OPERATION_COUNT], *const timed_members[OPERATION_COUNT];

/* Makes `timed` a device that works like `device`, on the same back end, and adds to the timing.
 * There can be only one at a time. */
void timed_open(const Device *device, Device *timed);

/* While paused, `timed` neither waits nor times: a step that is being recorded cannot be waited
 * for. */
void timed_pause(bool pause);
void timed_reset(void);
Timing timed_read(void);

#endif
