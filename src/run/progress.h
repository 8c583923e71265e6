/* What training says on the terminal between the lines of an epoch: a line that is overwritten,
 * with images per second and the time left; nothing where standard output is no terminal. */
#ifndef NNMF_PROGRESS_H
#define NNMF_PROGRESS_H

#include "training/evaluation.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Progress {
    bool shown; /* is standard output a terminal? */
    const char *name;
    uint32_t epoch, steps, first; /* first: step at the start */
    int batch_size;
    double started, last; /* seconds; `last` of the last line */

    uint32_t done, warm;     /* steps that are, and that were when this was first told */
    double done_at, warm_at; /* seconds, when that was told */
} Progress;

/* From now on no progress is shown, not even on a terminal: for --quiet and lines of JSON. */
void progress_forbid(void);

/* For `steps` steps of which `first` are done. */
void progress_start(Progress *progress, const char *name, uint32_t epoch, uint32_t steps,
                    uint32_t first, int batch_size);

/* Steps 0 .. done - 1 are done, as was told before if nothing is new; a few lines a second at
 * most. */
void progress_show(Progress *progress, uint32_t done);

/* Seconds that a step takes, without the first ones; 0 where fewer than `least` > 0 are measured.
 */
double progress_step_seconds(const Progress *progress, uint32_t least);

/* For a pass (evaluate): shows its progress and never stops it. */
Watch progress_watch(Progress *progress);

/* Wipes the line. */
void progress_end(Progress *progress);

#endif
