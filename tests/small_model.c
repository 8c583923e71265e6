#include "small_model.h"

#include "nnmf/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const Block small_blocks[] = {{5, 3, 1, true}, {4, 2, 2, false}, {10, 0, 1, true}};
static const Extent small_input = {8, 8, 2};

void build_small(const NetworkOptions *options, Network *network)
{
    Error error = {0};
    if (!network_build(small_input, small_blocks, (int)COUNT(small_blocks), options, network,
                       &error))
        fail_msg("%s", error.text);
}

void open_model(const NetworkOptions *options, Network *network, Device *device, Model *model)
{
    Error error = {0};
    build_small(options, network);
    assert_true(device_open_plain(device, &error));
    if (!model_create(network, device, BATCH, 1, model, &error))
        fail_msg("%s", error.text);
}

void close_model(Device *device, Model *model)
{
    model_destroy(model);
    device_close(device);
}

float *new_buffer(const Network *network)
{
    Error error = {0};
    float *buffer = memory_allocate(network->buffer_elements, sizeof(float), "a test", &error);
    assert_non_null(buffer);
    return buffer;
}

long fail_in_turn(bool (*work)(void *, Error *), void *context)
{
    enum { ENOUGH = 1000 };
    for (long allocations = 0; allocations < ENOUGH; allocations++) {
        Error error = {0};
        memory_fail_after(allocations);
        bool worked = work(context, &error);
        memory_fail_after(-1);
        if (worked) {
            assert_int_equal(error.status, STATUS_OK);
            return allocations;
        }
        assert_int_equal(error.status, STATUS_FAILED);
        assert_non_null(strstr(error.text, "out of memory"));
    }
    fail_msg("no end of allocations");
    return 0;
}

NetworkOptions baseline_options(void)
{
    NetworkOptions options = network_default_options;
    options.architecture = ARCHITECTURE_CNN;
    return options;
}

double noise(uint32_t number)
{
    return (double)philox_uniform(draw(8, DRAW_WEIGHTS, 1, 0, number).v[0]);
}

void disturb(Model *model)
{
    Error error = {0};
    float *host = new_buffer(model->network);
    assert_true(model_initialise(model, 3, &error));
    assert_true(model_read(model, model->parameters, host, &error));
    for (int i = 0; i < model->network->parameter_count; i++) {
        const Parameter *p = &model->network->parameters[i];
        for (size_t e = 0; e < p->elements; e++)
            host[p->offset + e] += (float)(0.3 * noise((uint32_t)(p->offset + e)));
    }
    assert_true(model_write(model, model->parameters, host, &error));
    memory_free(host);
}

void give_statistics(Model *model)
{
    Error error = {0};
    assert_true(population_begin(model, &error));
    model_forward(model, BATCH);
    assert_true(population_end(model, BATCH, &error));
    for (size_t e = 0; e < model->network->population_elements; e++)
        model->population[e] *= 0.9f + 0.2f * (float)noise((uint32_t)(200000 + e));
    assert_true(population_use(model, STATISTICS_POPULATION, "a test", &error));
}

void open_weights(Weights *w)
{
    Error error = {0};
    memset(w, 0, sizeof *w);
    open_model(&network_default_options, &w->network, &w->device, &w->model);
    assert_true(model_initialise(&w->model, 4, &error));
    w->host = new_buffer(&w->network);
    assert_true(model_read(&w->model, w->model.parameters, w->host, &error));
    assert_true(model_tensors(&w->model, "", w->host, w->tensors, &error));
    w->file =
        (TensorFile){.tensor_count = (size_t)w->network.parameter_count, .tensors = w->tensors};
}

void close_weights(Weights *w)
{
    model_free_tensors(&w->model, w->tensors);
    memory_free(w->host);
    close_model(&w->device, &w->model);
}

void assert_refused(Weights *w, const char *expected)
{
    Error error = {0};
    float *before = new_buffer(&w->network), *after = new_buffer(&w->network);
    assert_true(model_read(&w->model, w->model.parameters, before, &error));
    assert_false(model_load_weights(&w->model, &w->file, "some/file", &error));
    assert_int_equal(error.status, STATUS_FAILED);
    if (!strstr(error.text, expected) || !strstr(error.text, "some/file"))
        fail_msg("'%s', expected '%s'", error.text, expected);
    error = (Error){0};
    assert_true(model_read(&w->model, w->model.parameters, after, &error));
    assert_memory_equal(before, after, w->network.buffer_elements * sizeof *before);
    memory_free(before);
    memory_free(after);
}

bool load(void *context, Error *error)
{
    Weights *w = context;
    return model_load_weights(&w->model, &w->file, "some/file", error);
}

double distance(const float *a, const float *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum);
}

double norm(const float *a, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)a[i];
    return sqrt(sum);
}

void assert_close(const char *device, const char *what, double off, double allowed)
{
    if (getenv("NNMF_TEST_VERBOSE"))
        printf("%s: %s: %.1e\n", device, what, off);
    if (!(off <= allowed))
        fail_msg("%s: %s off by %.2g, allowed %.2g", device, what, off, allowed);
}
