#include "training/steps.h"

bool steps_rehearse(Model *model, bool training, Error *error)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    if (!ops->available)
        return true;
    StepState *state = ops->allocate(backend, sizeof *state, "the step state", error);
    Totals *totals = state ? ops->allocate(backend, sizeof *totals, "the totals", error) : NULL;
    if (totals && training) {
        model_forward(model, model->batch_size);
        model_backward(model, model->batch_size, state, totals);
    }
    if (totals && (!training || model->batches > 1)) {
        model_forward_several(model, model->batch_size, model->batches);
        model_loss(model, model->batch_size, 0, state, totals);
    }
    bool good = totals && ops->finish(backend, error);
    ops->release(backend, state);
    ops->release(backend, totals);
    return good;
}

int steps_at_once(const Steps *s, uint32_t step)
{
    return s->training ? 1 : batches_from(s->batches, step);
}

static void make(void *context)
{
    Steps *s = context;
    Batches *b = s->batches;
    int count = steps_at_once(s, s->step);
    int batch = batches_fill_several(b, s->step, count, s->model);
    model_forward_several(s->model, batch, count);
    if (s->training) {
        model_backward(s->model, batch, b->state, b->totals);
        model_update(s->model, b->state);
        return;
    }
    for (int i = 0; i < count; i++) {
        model_loss(s->model, batch, i, b->state, b->totals);
        b->device->operations->advance(b->device->backend, b->state);
    }
}

bool steps_make(Steps *s, uint32_t step, Error *error)
{
    const Operations *ops = s->batches->device->operations;
    Backend *backend = s->batches->device->backend;
    bool full = batches_size(s->batches, step) == s->batches->sample.batch_size;
    int size = full ? steps_at_once(s, step) : 0;
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
