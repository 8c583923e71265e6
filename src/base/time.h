/* Time: a monotonic clock, and durations as text. */
#ifndef NNMF_TIME_H
#define NNMF_TIME_H

/* Monotonic seconds. */
double seconds_now(void);

/* "3 h 20 min", "45 s": for people. */
const char *duration_text(double seconds, char buffer[32]);

#endif
