/* What the checker's own files share: runs of a trial, and their comparison. */
#ifndef OPERATIONS_RUN_H
#define OPERATIONS_RUN_H

#include "checker.h"

typedef struct Run {
    uint8_t *frames[MAX_BUFFERS];
    void *after[MAX_BUFFERS]; /* contents afterwards, within the frames */
    bool finished;
    Error error;
} Run;

/* Counts a failure of the case at hand on `device`; keeps the first, prints some. */
void report(Checker *checker, const char *device, const Trial *trial, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Runs the trial; while the operation itself runs memory is exhausted if `starved`. Reports writes
 * outside of the buffers and to inputs. False: it could not be run. */
bool run_trial(Checker *checker, const Device *device, const char *name, const Trial *trial,
               bool starved, Run *run);
void free_run(Run *run);

/* Reports results that differ from plain's by more than the case allows. */
void compare(Checker *checker, int candidate, const char *name, const Trial *trial, const Run *run,
             const Run *plain);

/* Bit for bit: the number of threads must not show. */
void compare_threads(Checker *checker, const char *name, const Trial *trial, const Run *run,
                     const Run *one_thread);

#endif
