#include "training/steps.h"

bool steps_rehearse(Model *model, bool training, Error *error)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    if (!ops->available)
        return true;
    Clock *clock = ops->allocate(backend, sizeof *clock, "the clock", error);
    Totals *totals = clock ? ops->allocate(backend, sizeof *totals, "the totals", error) : NULL;
    if (totals) {
        model_forward(model, model->batch_size);
        if (training)
            model_backward(model, model->batch_size, clock, totals);
        else
            model_loss(model, model->batch_size, clock, totals);
    }
    bool good = totals && ops->finish(backend, error);
    ops->release(backend, clock);
    ops->release(backend, totals);
    return good;
}

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
    if (!batches_bring(s->batches, step, error))
        return false;
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
