#include "run/progress.h"

#include "base/time.h"
#include "run/output.h"

#include <stdio.h>
#include <unistd.h>

static bool forbidden;

void progress_forbid(void)
{
    forbidden = true;
}

void progress_start(Progress *progress, const char *name, uint32_t epoch, uint32_t steps,
                    uint32_t first, int batch_size)
{
    double now = seconds_now();
    *progress = (Progress){.shown = !forbidden && isatty(STDOUT_FILENO),
                           .name = name,
                           .epoch = epoch,
                           .steps = steps,
                           .first = first,
                           .batch_size = batch_size,
                           .started = now,
                           .last = now,
                           .done = first,
                           .warm = first};
}

/* Measures from the second call on, because the first steps take longer. */
static void measure(Progress *p, uint32_t done, double now)
{
    if (done == p->done)
        return;
    if (p->done == p->first) {
        p->warm = done;
        p->warm_at = now;
    }
    p->done = done;
    p->done_at = now;
}

double progress_step_seconds(const Progress *p, uint32_t minimum)
{
    return p->done - p->warm < minimum ? 0.0 : (p->done_at - p->warm_at) / (p->done - p->warm);
}

void progress_show(Progress *p, uint32_t done)
{
    const double interval = 0.2;
    double now = seconds_now();
    measure(p, done, now);
    if (!p->shown || done == p->first || now - p->last < interval)
        return;
    p->last = now;
    double rate = (done - p->first) / (now - p->started);
    char left[32];
    printf("\r\033[K%s epoch %u: %u of %u steps, %.0f images/s, %s left", p->name, p->epoch, done,
           p->steps, rate * p->batch_size, duration_text((p->steps - done) / rate, left));
    output_flush();
}

static bool show(void *context, uint32_t step)
{
    progress_show(context, step);
    return false;
}

Watch progress_watch(Progress *p)
{
    return (Watch){.stop = show, .context = p};
}

void progress_end(Progress *p)
{
    if (p->shown) {
        printf("\r\033[K");
        output_flush();
    }
}
