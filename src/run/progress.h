/* The progress line on the terminal: step, images per second and time left, overwritten in place.
 * Prints nothing if standard output is not a terminal. */
#ifndef NNMF_PROGRESS_H
#define NNMF_PROGRESS_H

#include "training/evaluation.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Progress {
    bool shown; /* whether to print */
    const char *name;
    uint32_t epoch, steps, first; /* `first` steps were done at the start */
    int batch_size;
    double started, last; /* times in seconds: of the start and of the last line */

    /* Steps done at the latest and at the first report of new ones, and their times in seconds. */
    uint32_t done, warm;
    double done_at, warm_at;
} Progress;

/* Disables all progress lines, for --quiet and JSON. */
void progress_forbid(void);

/* Starts a line "`name` epoch `epoch`" for `steps` steps, `first` of which are done. */
void progress_start(Progress *progress, const char *name, uint32_t epoch, uint32_t steps,
                    uint32_t first, int batch_size);

/* Reports that `done` steps are complete; repeated values are allowed. Redraws at most five times a
 * second. */
void progress_show(Progress *progress, uint32_t done);

/* Returns the mean seconds of a step, without the first ones, or 0 if fewer than `minimum` > 0 have
 * been measured. */
double progress_step_seconds(const Progress *progress, uint32_t minimum);

/* Returns a watch that shows the progress of a pass (evaluate) and never stops it. */
Watch progress_watch(Progress *progress);

/* Clears the line. */
void progress_end(Progress *progress);

#endif
