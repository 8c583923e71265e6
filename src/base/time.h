/* Time: a monotonic clock, and durations as text. */
#ifndef NNMF_TIME_H
#define NNMF_TIME_H

/* Returns the seconds of a monotonic clock. */
double seconds_now(void);

/* Formats a duration for people, "3 h 20 min", "45 s". Returns `buffer`. */
const char *duration_text(double seconds, char buffer[32]);

#endif
