/* A NaN anywhere in a step's inputs reaches the loss, where training notices it: on every device,
 * with every kernel and precision. */
#include "small_model.h"

#include "nnmf/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- a step on a device ---- */

typedef struct Step {
    Device device;
    Network network;
    Model model;
    StepState *step_state; /* device memory, as totals */
    Totals *totals;
    float *parameters, *images; /* host memory: the values without a NaN */
} Step;

static void must(bool good, const Error *error)
{
    if (!good)
        fail_msg("%s", error->text);
}

static void put(const Step *s, void *to, const void *from, size_t bytes)
{
    s->device.operations->upload(s->device.backend, to, from, bytes);
}

static void open_step(Step *s)
{
    Error error = {0};
    uint8_t labels[BATCH] = {3, 0, 9, 3, 5};
    const Operations *ops = s->device.operations;
    NetworkOptions options = network_default_options;
    options.iterations = 2; /* for speed */
    build_small(&options, &s->network);
    must(model_create(&s->network, &s->device, BATCH, 1, &s->model, &error), &error);
    must(model_initialise(&s->model, 3, &error), &error);
    s->step_state =
        ops->allocate(s->device.backend, sizeof *s->step_state, "the step state", &error);
    s->totals = ops->allocate(s->device.backend, sizeof *s->totals, "the totals", &error);
    assert_true(s->step_state && s->totals);
    s->parameters = new_buffer(&s->network);
    must(model_read(&s->model, s->model.parameters, s->parameters, &error), &error);
    s->images = memory_allocate(INPUTS, sizeof *s->images, "a test", &error);
    assert_non_null(s->images);
    for (uint32_t i = 0; i < INPUTS; i++)
        s->images[i] = (float)noise(i);
    put(s, s->model.labels, labels, sizeof labels);
}

static void close_step(Step *s)
{
    const Operations *ops = s->device.operations;
    ops->release(s->device.backend, s->step_state);
    ops->release(s->device.backend, s->totals);
    memory_free(s->parameters);
    memory_free(s->images);
    close_model(&s->device, &s->model);
}

static bool is_noticed(Step *s)
{
    Totals totals;
    Error error = {0};
    model_forward(&s->model, BATCH);
    model_loss(&s->model, BATCH, 0, s->step_state, s->totals);
    s->device.operations->download(s->device.backend, &totals, s->totals, sizeof totals);
    must(s->device.operations->finish(s->device.backend, &error), &error);
    assert_int_equal(totals.first_nonfinite_step != 0, !isfinite(totals.batch_loss));
    return totals.first_nonfinite_step != 0;
}

/* Restores the initial state. */
static void restart(Step *s)
{
    Error error = {0};
    StepState step_state = {.learning_rates = {1e-3, 1e-2, 1e-3}};
    put(s, s->step_state, &step_state, sizeof step_state);
    put(s, s->totals, &(Totals){0}, sizeof(Totals));
    put(s, s->model.images, s->images, INPUTS * sizeof *s->images);
    must(model_write(&s->model, s->model.parameters, s->parameters, &error), &error);
}

/* ---- places of the NaN ---- */

static void check_image(Step *s)
{
    static const size_t places[] = {0, 77, INPUTS - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        restart(s);
        put(s, s->model.images + places[i], &(float){NAN}, sizeof(float));
        if (!is_noticed(s))
            fail_msg("%s: a NaN in image element %zu is lost", s->device.description, places[i]);
    }
}

static void check_weights(Step *s)
{
    for (int i = 0; i < s->network.parameter_count; i++) {
        const Parameter *p = &s->network.parameters[i];
        restart(s);
        put(s, s->model.parameters + p->offset + p->elements / 2, &(float){NAN}, sizeof(float));
        if (!is_noticed(s))
            fail_msg("%s: a NaN in %s is lost", s->device.description, p->name);
    }
}

/* The NaN shows after one update. */
static void check_gradients(Step *s)
{
    for (int i = 0; i < s->network.parameter_count; i++) {
        const Parameter *p = &s->network.parameters[i];
        restart(s);
        model_forward(&s->model, BATCH);
        model_backward(&s->model, BATCH, s->step_state, s->totals, NULL);
        put(s, s->model.gradients + p->offset + p->elements / 2, &(float){NAN}, sizeof(float));
        model_update(&s->model, s->step_state);
        if (!is_noticed(s))
            fail_msg("%s: a NaN in the gradient of %s is lost", s->device.description, p->name);
        /* Adam's moments are NaN now. */
        float *zero = new_buffer(&s->network);
        Error error = {0};
        must(model_write(&s->model, s->model.m, zero, &error), &error);
        must(model_write(&s->model, s->model.v, zero, &error), &error);
        memory_free(zero);
    }
}

static void check_device(Step *s)
{
    open_step(s);
    restart(s);
    assert_false(is_noticed(s));
    check_image(s);
    check_weights(s);
    check_gradients(s);
    close_step(s);
}

/* ---- the devices ---- */

static void on_the_plain_device(void **state)
{
    (void)state;
    Step s = {0};
    Error error = {0};
    must(device_open_plain(&s.device, &error), &error);
    check_device(&s);
}

static void on_the_cpu(void **state)
{
    (void)state;
    for (int set = 0; cpu_instruction_set(set); set++) {
        Step s = {0};
        Error error = {0};
        must(device_open_cpu(&s.device, &(CpuOptions){cpu_instruction_set(set), 2}, &error),
             &error);
        check_device(&s);
    }
}

/* Skipped if there is none. */
static void on_the_gpu(void **state)
{
    (void)state;
    Device any;
    if (!cuda_is_built || !device_open_cuda(&any, &(CudaOptions){0}, &(Error){0}))
        skip();
    device_close(&any);
    for (int kernel = 0; nnmf_kernel_names[kernel]; kernel++)
        for (int precision = 0; precision_names[precision]; precision++) {
            Step s = {0};
            Error error = {0};
            CudaOptions options = {(NnmfKernel)kernel, (Precision)precision};
            must(device_open_cuda(&s.device, &options, &error), &error);
            check_device(&s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_the_plain_device),
        cmocka_unit_test(on_the_cpu),
        cmocka_unit_test(on_the_gpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
