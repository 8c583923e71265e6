/*
 * The learning rate schedule of a parameter group: reduces the rate on a plateau like PyTorch's
 * ReduceLROnPlateau with factor 0.1, patience 10, relative threshold 1e-4, no cooldown and eps
 * 1e-10, given the sum of an epoch's batch losses.
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

/* Sets another learning rate. Keeps the lowest loss and resets the count of bad epochs. */
void schedule_set_rate(Schedule *schedule, double learning_rate);

/* Returns whether zero or more reductions of `learning_rate` give the current rate. */
bool schedule_comes_from(const Schedule *schedule, double learning_rate);

/* Updates the schedule after an epoch. Returns whether it reduced the learning rate. */
bool schedule_step(Schedule *schedule, double loss);

/* Returns whether training is over: the maximum rate, rounded to float32 as in the published
 * program, is below `limit`. */
bool schedule_finished(const Schedule *schedules, int count, double limit);

#endif
