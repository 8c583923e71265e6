#include "training/steps.h"

bool steps_create(Model *model, const Batches *batches, StepKind kind, Steps *s, Error *error)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    *s = (Steps){.kind = kind, .model = model, .batches = batches};
    if ((s->state = ops->allocate(backend, sizeof *s->state, "the step state", error)) &&
        (s->totals = ops->allocate(backend, sizeof *s->totals, "the totals", error)) &&
        readback_open(model->device, s->state, s->totals, &s->readback, error)) {
        steps_restart(s);
        return true;
    }
    steps_destroy(s);
    return false;
}

void steps_destroy(Steps *s)
{
    if (!s->model)
        return;
    const Operations *ops = s->model->device->operations;
    Backend *backend = s->model->device->backend;
    for (int size = 0; size < STEP_SIZES; size++)
        if (s->recordings[size])
            ops->forget(backend, s->recordings[size]);
    readback_close(&s->readback);
    ops->release(backend, s->totals);
    ops->release(backend, s->state);
    *s = (Steps){0};
}

/* Runs a step on the batches in the model's buffers. */
static void compute(Steps *s, int batch, int count)
{
    const Operations *ops = s->model->device->operations;
    model_forward_several(s->model, batch, count);
    if (s->kind == STEP_TRAIN) {
        model_backward(s->model, batch, s->state, s->totals, NULL);
        model_update(s->model, s->state);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (s->kind == STEP_TEST)
            model_loss(s->model, batch, i, s->state, s->totals);
        ops->advance(s->model->device->backend, s->state);
    }
}

bool steps_warm_up(Steps *s, Error *error)
{
    const Operations *ops = s->model->device->operations;
    Model *model = s->model;
    if (!ops->record)
        return true;
    if (s->kind == STEP_TRAIN) {
        model_forward(model, model->batch_size);
        model_backward(model, model->batch_size, s->state, s->totals, NULL);
    }
    if (s->kind != STEP_TRAIN || model->batches > 1)
        model_forward_several(model, model->batch_size, model->batches);
    if (s->kind == STEP_TEST)
        model_loss(model, model->batch_size, 0, s->state, s->totals);
    steps_restart(s);
    return ops->finish(model->device->backend, error);
}

void steps_reset(Steps *s, const StepState *state, const Totals *totals)
{
    const Operations *ops = s->model->device->operations;
    Backend *backend = s->model->device->backend;
    ops->upload(backend, s->state, state, sizeof *state);
    ops->upload(backend, s->totals, totals, sizeof *totals);
    readback_reset(&s->readback, state, totals);
    s->next = state->step;
}

void steps_restart(Steps *s)
{
    steps_reset(s, &(StepState){0}, &(Totals){0});
}

bool steps_read(const Steps *s, StepState *state, Totals *totals, Error *error)
{
    const Operations *ops = s->model->device->operations;
    Backend *backend = s->model->device->backend;
    if (state)
        ops->download(backend, state, s->state, sizeof *state);
    if (totals)
        ops->download(backend, totals, s->totals, sizeof *totals);
    return ops->finish(backend, error);
}

int steps_ahead(const Steps *s)
{
    return s->kind == STEP_TRAIN ? 1 : batches_ahead(s->batches, s->next);
}

static void run_next(void *context)
{
    Steps *s = context;
    int count = steps_ahead(s);
    compute(s, batches_load(s->batches, s->next, count, s->state, s->model), count);
}

bool step_run(Steps *s, Error *error)
{
    const Operations *ops = s->model->device->operations;
    Backend *backend = s->model->device->backend;
    int count = steps_ahead(s);
    bool full = batches_size(s->batches, s->next) == s->batches->sampler.batch_size;
    int size = full ? count : 0;
    if (!ops->record || !s->done[size]) {
        run_next(s);
        s->done[size] = true;
    } else {
        if (!s->recordings[size] && !ops->record(backend, run_next, s, &s->recordings[size], error))
            return false;
        ops->replay(backend, s->recordings[size]);
    }
    s->next += (uint32_t)count;
    return readback_poll(&s->readback, (uint32_t)count, error);
}

void step_run_unrecorded(Steps *s)
{
    int count = steps_ahead(s);
    run_next(s);
    s->next += (uint32_t)count;
}

int step_load(Steps *s)
{
    int batch = batches_load(s->batches, s->next, 1, s->state, s->model);
    s->model->device->operations->advance(s->model->device->backend, s->state);
    s->next++;
    return batch;
}
