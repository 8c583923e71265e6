#include "base/time.h"

#include <stdio.h>
#include <time.h>

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *duration_text(double seconds, char buffer[32])
{
    long long whole = (long long)(seconds + 0.5);
    if (whole < 120)
        snprintf(buffer, 32, "%lld s", whole);
    else if (whole < 7200)
        snprintf(buffer, 32, "%lld min %02lld s", whole / 60, whole % 60);
    else
        snprintf(buffer, 32, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
    return buffer;
}
