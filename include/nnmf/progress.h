/* What training says on the terminal between the lines of an epoch: a line that is overwritten,
 * with images per second and the time left; nothing where standard output is no terminal. */
#ifndef NNMF_PROGRESS_H
#define NNMF_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Progress {
    bool shown; /* is standard output a terminal? */
    const char *name;
    uint32_t epoch, steps, first; /* first: step at the start */
    int batch_size;
    double started, last; /* seconds; `last` of the last line */
} Progress;

/* Monotonic seconds. */
double seconds_now(void);

/* For `steps` steps of which `first` are done. */
void progress_start(Progress *progress, const char *name, uint32_t epoch, uint32_t steps,
                    uint32_t first, int batch_size);

/* Before step `step`; a few lines a second at most. */
void progress_show(Progress *progress, uint32_t step);

/* Wipes the line. */
void progress_end(Progress *progress);

/* "3 h 20 min", "45 s": for people. */
const char *duration_text(double seconds, char buffer[32]);

#endif
