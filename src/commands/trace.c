/* Runs one batch forward and backward and writes tensors under the published names: N.output
 * (batch, channels, height, width) of every layer except ReLU and unfold, where N is its index in
 * the Sequential; PARAMETER.grad; probabilities (batch, 10); loss (1). */
#include "commands/commands.h"

#include "formats/safetensors.h"
#include "nnmf/memory.h"
#include "run/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TENSORS = MAX_LAYERS + MAX_PARAMETERS + 2 };

typedef struct Trace {
    Tensor tensors[MAX_TENSORS];
    size_t count;
} Trace;

/* Adds a tensor of this shape and returns its data; NULL if out of memory. */
static float *add(Trace *trace, const char *name, int rank, const size_t *shape, Error *error)
{
    Tensor *t = &trace->tensors[trace->count];
    *t = (Tensor){.type = TENSOR_F32, .rank = rank, .elements = 1};
    for (int i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        t->elements *= shape[i];
    }
    t->name = memory_allocate(strlen(name) + 1, 1, "a trace", error);
    t->data = t->name ? memory_allocate(t->elements, sizeof(float), "a trace", error) : NULL;
    if (!t->data) {
        memory_free(t->name);
        return NULL;
    }
    strcpy(t->name, name);
    trace->count++;
    return t->data;
}

static void trace_free(Trace *trace)
{
    for (size_t i = 0; i < trace->count; i++) {
        memory_free(trace->tensors[i].name);
        memory_free(trace->tensors[i].data);
    }
}

/* Converts (batch, positions, channels) in memory to (batch, channels, positions) in the file. */
static bool add_output(Trace *trace, const Session *session, int number, int batch, Error *error)
{
    const Layer *layer = &session->network.layers[number];
    char name[32];
    snprintf(name, sizeof name, "%d.output", layer->index);
    size_t channels = (size_t)layer->out.channels, positions = extent_positions(layer->out);
    size_t elements = (size_t)batch * channels * positions;
    size_t shape[] = {(size_t)batch, channels, (size_t)layer->out.height, (size_t)layer->out.width};
    float *to = add(trace, name, 4, shape, error);
    float *from = to ? memory_allocate(elements, sizeof *from, "a trace", error) : NULL;
    if (!from)
        return false;
    const Device *device = &session->device;
    device->operations->download(device->backend, from, session->model.layers[number].out,
                                 elements * sizeof *from);
    for (size_t b = 0; b < (size_t)batch; b++)
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < positions; p++)
                *to++ = from[(b * positions + p) * channels + c];
    memory_free(from);
    return device->operations->finish(device->backend, error);
}

static bool add_gradients(Trace *trace, const Session *session, Error *error)
{
    const Network *network = &session->network;
    float *host = memory_allocate(network->buffer_elements, sizeof *host, "gradients", error);
    bool good = host && model_read(&session->model, session->model.gradients, host, error);
    for (int i = 0; good && i < network->parameter_count; i++) {
        const Parameter *p = &network->parameters[i];
        char name[48];
        snprintf(name, sizeof name, "%s.grad", p->name);
        float *to = add(trace, name, p->rank, p->shape, error);
        good = to != NULL;
        if (good)
            memcpy(to, host + p->offset, p->elements * sizeof *to);
    }
    memory_free(host);
    return good;
}

static bool add_result(Trace *trace, const Steps *steps, int batch, Error *error)
{
    const Device *device = steps->model->device;
    size_t shape[] = {(size_t)batch, DATASET_CLASSES};
    float *probabilities = add(trace, "probabilities", 2, shape, error);
    float *loss = probabilities ? add(trace, "loss", 1, (size_t[]){1}, error) : NULL;
    Totals totals;
    if (!loss || !steps_read(steps, NULL, &totals, error))
        return false;
    device->operations->download(device->backend, probabilities, model_probabilities(steps->model),
                                 shape[0] * shape[1] * sizeof *probabilities);
    *loss = (float)totals.batch_loss;
    printf("Loss=%.6f Correct=%" PRIu64 " of %d\n", totals.batch_loss, totals.batch_correct, batch);
    return device->operations->finish(device->backend, error);
}

static bool run_trace(const Settings *settings, const Session *session, Steps *steps, Trace *trace,
                      Error *error)
{
    int batch = step_load(steps);
    model_forward(steps->model, batch);
    model_backward(steps->model, batch, steps->state, steps->totals, NULL);
    for (int i = 0; i < session->network.layer_count; i++)
        if (session->network.layers[i].kind != LAYER_UNFOLD &&
            session->network.layers[i].kind != LAYER_RELU &&
            !add_output(trace, session, i, batch, error))
            return false;
    char offset[32];
    snprintf(offset, sizeof offset, "%" PRId64, settings->offset);
    const char *metadata[] = {"split", settings->split == SPLIT_TEST ? "test" : "train", "offset",
                              offset};
    return add_gradients(trace, session, error) && add_result(trace, steps, batch, error) &&
           safetensors_write(settings->out, trace->tensors, trace->count, metadata, 2, error);
}

bool command_trace(const Settings *settings, int *status, Error *error)
{
    (void)status;
    if (!settings->out[0])
        return fail_usage(error, "option missing: --out: a file to write was expected");
    Range range = {.begin = (size_t)settings->offset,
                   .end = (size_t)(settings->offset + settings->batch_size)};
    Session session;
    if (!session_open_split(settings, range, &session, error))
        return false;
    Trace trace = {.count = 0};
    Steps steps;
    bool good = steps_create(&session.model, &session.batches[settings->split], STEP_TRAIN, &steps,
                             error) &&
                run_trace(settings, &session, &steps, &trace, error);
    trace_free(&trace);
    steps_destroy(&steps);
    session_close(&session);
    return good;
}
