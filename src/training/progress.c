#include "nnmf/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

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

void progress_start(Progress *progress, const char *name, uint32_t epoch, uint32_t steps,
                    uint32_t first, int batch_size)
{
    double now = seconds_now();
    *progress = (Progress){.shown = isatty(STDOUT_FILENO),
                           .name = name,
                           .epoch = epoch,
                           .steps = steps,
                           .first = first,
                           .batch_size = batch_size,
                           .started = now,
                           .last = now};
}

void progress_show(Progress *p, uint32_t step)
{
    const double interval = 0.2;
    if (!p->shown || step == p->first)
        return;
    double now = seconds_now();
    if (now - p->last < interval)
        return;
    p->last = now;
    double rate = (step - p->first) / (now - p->started);
    char left[32];
    printf("\r\033[K%s epoch %u: %u of %u steps, %.0f images/s, %s left", p->name, p->epoch, step,
           p->steps, rate * p->batch_size, duration_text((p->steps - step) / rate, left));
    fflush(stdout);
}

void progress_end(Progress *p)
{
    if (p->shown) {
        printf("\r\033[K");
        fflush(stdout);
    }
}
