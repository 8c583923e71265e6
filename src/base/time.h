/* Time: a monotonic clock, durations as text, the median of measurements. */
#ifndef NNMF_TIME_H
#define NNMF_TIME_H

#include <stddef.h>

/* Monotonic seconds. */
double seconds_now(void);

/* "3 h 20 min", "45 s": for people. */
const char *duration_text(double seconds, char buffer[32]);

/* Of one value or more, which it sorts; of an even number the larger of the two in the middle. */
double median(double *values, size_t count);

#endif
