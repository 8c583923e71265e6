/* Runs of a trial and their comparison; private to the checker. */
#ifndef OPERATIONS_RUN_H
#define OPERATIONS_RUN_H

#include "checker.h"

typedef struct Run {
    uint8_t *frames[MAX_BUFFERS];
    void *after[MAX_BUFFERS]; /* contents after the run, within the frames */
    bool finished;
    Error error;
} Run;

/* Counts a failure of the current case on `device`; keeps the first, prints the first few. */
void report(Checker *checker, const char *device, const Trial *trial, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Runs the trial; if `starved`, memory is exhausted while the operation runs. Reports writes
 * outside the buffers and to inputs. Returns false if the trial could not be run. */
bool run_trial(Checker *checker, const Device *device, const char *name, const Trial *trial,
               bool starved, Run *run);
void free_run(Run *run);

/* Reports results that differ from those of plain by more than the case allows. */
void compare(Checker *checker, int candidate, const char *name, const Trial *trial, const Run *run,
             const Run *plain);

/* Reports results that are not bit-identical to those with one thread. */
void compare_threads(Checker *checker, const char *name, const Trial *trial, const Run *run,
                     const Run *one_thread);

#endif
