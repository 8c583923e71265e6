/*
 * Reduce on plateau, one for each parameter group, as PyTorch's ReduceLROnPlateau with factor 0.1,
 * patience 10, relative threshold 1e-4, no cooldown, eps 1e-10, fed with the sum of an epoch's
 * batch losses.
 */
#ifndef NNMF_SCHEDULE_H
#define NNMF_SCHEDULE_H

#include <stdbool.h>

typedef struct Schedule {
    double learning_rate;
    double best;    /* lowest loss so far, INFINITY at the start */
    int bad_epochs; /* since the best */
} Schedule;

Schedule schedule_start(double learning_rate);

/* Goes on with another learning rate; the lowest loss stays, the epochs since are counted anew. */
void schedule_set_rate(Schedule *schedule, double learning_rate);

/* Is its learning rate one that began with `learning_rate`? */
bool schedule_comes_from(const Schedule *schedule, double learning_rate);

/* After an epoch; true when the learning rate was reduced. */
bool schedule_step(Schedule *schedule, double loss);

/* Is training over: is the largest rate, rounded to float32 as the published program does, below
 * `limit`? */
bool schedule_finished(const Schedule *schedules, int count, double limit);

#endif
