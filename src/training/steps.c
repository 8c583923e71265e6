#include "nnmf/steps.h"

static void make(void *context)
{
    Steps *s = context;
    Batches *b = s->batches;
    int batch = batches_fill(b, s->step, s->model);
    model_forward(s->model, batch);
    if (s->training) {
        model_backward(s->model, batch, b->clock, b->totals);
        model_update(s->model, b->clock);
    } else {
        model_loss(s->model, batch, b->clock, b->totals);
        b->device->operations->advance(b->device->backend, b->clock);
    }
}

bool steps_make(Steps *s, uint32_t step, Error *error)
{
    const Operations *ops = s->batches->device->operations;
    Backend *backend = s->batches->device->backend;
    int size = batches_size(s->batches, step) < s->batches->sample.batch_size;
    s->step = step;
    if (!ops->record || !s->done[size]) {
        make(s);
        s->done[size] = true;
        return true;
    }
    if (!s->recordings[size] && !ops->record(backend, make, s, &s->recordings[size], error))
        return false;
    ops->replay(backend, s->recordings[size]);
    return true;
}

void steps_forget(Steps *s)
{
    for (int size = 0; size < STEP_SIZES; size++)
        if (s->recordings[size])
            s->batches->device->operations->forget(s->batches->device->backend,
                                                   s->recordings[size]);
    *s = (Steps){0};
}
