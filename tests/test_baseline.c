/* The CNN baseline: compares its gradients with finite differences of the loss. */
#include "nnmf/memory.h"
#include "small_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct Probe {
    Model model;
    float *host;
    StepState *step_state;
    Totals *totals;
} Probe;

static double loss_at(Probe *p)
{
    const Operations *ops = p->model.device->operations;
    Backend *backend = p->model.device->backend;
    Error error = {0};
    Totals totals = {0};
    assert_true(model_write(&p->model, p->model.parameters, p->host, &error));
    ops->upload(backend, p->totals, &totals, sizeof totals);
    model_forward(&p->model, BATCH);
    model_loss(&p->model, BATCH, 0, p->step_state, p->totals);
    ops->download(backend, &totals, p->totals, sizeof totals);
    return totals.batch_loss;
}

/* The four-point rule, with a step for a derivative of about `size`. Returns false near a ReLU's
 * kink, where two step sizes, or the slopes on both sides, disagree. */
static bool difference(Probe *p, float *x, double size, double *derivative)
{
    float centre = *x;
    double estimates[2], bend = 0.0, value = loss_at(p);
    for (int i = 0; i < 2; i++) {
        double step = 1e-3 / ((1 + i) * (1.0 + size)), values[4];
        static const double at[4] = {-2.0, -1.0, 1.0, 2.0};
        for (int j = 0; j < 4; j++) {
            *x = (float)(centre + at[j] * step);
            values[j] = loss_at(p);
        }
        bend = fabs(values[2] + values[1] - 2.0 * value) / step;
        estimates[i] = (8.0 * (values[2] - values[1]) - (values[3] - values[0])) / (12.0 * step);
    }
    *x = centre;
    *derivative = estimates[0];
    double allowed = 1e-3 + 0.01 * fabs(estimates[0]);
    return fabs(estimates[0] - estimates[1]) < allowed && bend < 3.0 * allowed;
}

static void check_gradients(Probe *p, const Network *network, double tolerance)
{
    enum { MAX_CHECKED = 40 };
    Error error = {0};
    float *gradients = new_buffer(network);
    loss_at(p);
    model_backward(&p->model, BATCH, p->step_state, p->totals, NULL);
    assert_true(model_read(&p->model, p->model.gradients, gradients, &error));
    for (int i = 0; i < network->parameter_count; i++) {
        const Parameter *parameter = &network->parameters[i];
        double off = 0.0, size = 0.0;
        size_t every = (parameter->elements + MAX_CHECKED - 1) / MAX_CHECKED, seen = 0, smooth = 0;
        for (size_t e = 0; e < parameter->elements; e += every, seen++) {
            double expected, found = (double)gradients[parameter->offset + e];
            if (!difference(p, &p->host[parameter->offset + e], fabs(found), &expected))
                continue;
            off += (found - expected) * (found - expected);
            size += expected * expected;
            smooth++;
        }
        assert_true(3 * smooth > seen);
        /* A bias before a batch norm has gradient 0: the bound 0.1 hides rounding errors. */
        assert_close("baseline", parameter->name, sqrt(off) / fmax(sqrt(size), 0.1), tolerance);
    }
    memory_free(gradients);
}

/* The same for the images' gradient. */
static void check_images(Probe *p, double tolerance)
{
    static float dimages[INPUTS];
    double off = 0.0, size = 0.0;
    int seen = 0, smooth = 0;
    loss_at(p);
    model_backward(&p->model, BATCH, p->step_state, p->totals, dimages);
    for (int e = 0; e < INPUTS; e += 7, seen++) {
        double expected, found = (double)dimages[e];
        if (!difference(p, &p->model.images[e], fabs(found), &expected))
            continue;
        off += (found - expected) * (found - expected);
        size += expected * expected;
        smooth++;
    }
    assert_true(3 * smooth > seen);
    assert_close("baseline", "images", sqrt(off / size), tolerance);
}

static void the_baseline_has_its_derivative(void **state)
{
    (void)state;
    static const LossKind losses[] = {LOSS_SBS, LOSS_CROSS_ENTROPY};
    for (size_t i = 0; i < 2 * COUNT(losses); i++) {
        NetworkOptions options = baseline_options();
        options.loss = losses[i / 2];
        Network network;
        Device device;
        Probe p;
        Error error = {0};
        open_model(&options, &network, &device, &p.model);
        disturb(&p.model);
        p.host = new_buffer(&network);
        assert_true(model_read(&p.model, p.model.parameters, p.host, &error));
        float images[INPUTS];
        for (uint32_t e = 0; e < INPUTS; e++)
            images[e] = (float)noise(700000 + e);
        const uint8_t labels[BATCH] = {3, 0, 9, 3, 5};
        memcpy(p.model.images, images, sizeof images); /* the plain device's memory is the host's */
        memcpy(p.model.labels, labels, sizeof labels);
        p.step_state = memory_allocate(1, sizeof *p.step_state, "step_state", &error);
        p.totals = memory_allocate(1, sizeof *p.totals, "totals", &error);
        assert_true(p.step_state && p.totals);
        /* Different logits, so that gradients are not all small. */
        const Parameter *last = &network.parameters[network.parameter_count - 1];
        for (size_t e = 0; e < last->elements; e++)
            p.host[last->offset + e] *= 30.0f;
        if (i % 2)
            give_statistics(&p.model);
        /* Differences are kinks that were not detected; the operations are tested to 1e-4. */
        check_gradients(&p, &network, 3e-2);
        check_images(&p, 3e-2);
        memory_free(p.step_state);
        memory_free(p.totals);
        memory_free(p.host);
        close_model(&device, &p.model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_baseline_has_its_derivative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
