#include "training/schedule.h"

#include <math.h>

static const double FACTOR = 0.1, THRESHOLD = 1e-4, MIN_REDUCTION = 1e-10;
static const int PATIENCE = 10;

Schedule schedule_start(double learning_rate)
{
    return (Schedule){.learning_rate = learning_rate, .best = INFINITY};
}

bool schedule_step(Schedule *schedule, double loss)
{
    if (loss < schedule->best * (1.0 - THRESHOLD)) {
        schedule->best = loss;
        schedule->bad_epochs = 0;
    } else {
        schedule->bad_epochs++;
    }
    if (schedule->bad_epochs <= PATIENCE)
        return false;
    schedule->bad_epochs = 0;
    double reduced = schedule->learning_rate * FACTOR;
    if (schedule->learning_rate - reduced <= MIN_REDUCTION)
        return false;
    schedule->learning_rate = reduced;
    return true;
}

void schedule_set_rate(Schedule *schedule, double learning_rate)
{
    schedule->learning_rate = learning_rate;
    schedule->bad_epochs = 0;
}

bool schedule_comes_from(const Schedule *schedule, double learning_rate)
{
    while (learning_rate > schedule->learning_rate)
        learning_rate *= FACTOR;
    return learning_rate == schedule->learning_rate;
}

bool schedule_finished(const Schedule *schedules, int count, double limit)
{
    double largest = 0.0;
    for (int i = 0; i < count; i++)
        largest = fmax(largest, schedules[i].learning_rate);
    return (double)(float)largest < limit;
}
