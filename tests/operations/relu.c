/* ReLU. */
#include "checker.h"
#include "definition.h"

#include <stdio.h>

static bool next_count(Checker *checker, int number, size_t *count, char *text)
{
    static const size_t counts[] = {1, 2, 255, 256, 257, 36864};
    *count = number < COUNT(counts) ? counts[number] : (size_t)between(checker, 1, 3000);
    snprintf(text, sizeof((Trial *)NULL)->shape, "%zu elements", *count);
    return number < COUNT(counts) + random_trials(checker, 16, 8);
}

static void relu_input(Checker *checker, Trial *trial, size_t count)
{
    float *in = trial_random(checker, trial, "in", count, -1.0, 1.0);
    for (size_t i = 0; i < count; i++)
        if (between(checker, 0, 15) == 0)
            in[i] = 0.0f;
}

static void call_relu_forward(const Operations *ops, Backend *backend, const void *arguments,
                              void *const *b)
{
    ops->relu_forward(backend, *(const size_t *)arguments, b[0], b[1]);
}

static void check_relu_forward(Checker *checker)
{
    size_t count;
    Trial trial = {.arguments = &count, .call = call_relu_forward};
    for (int i = 0; next_count(checker, i, &count, trial.shape); i++) {
        relu_input(checker, &trial, count);
        trial_result(&trial, "out", count, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_relu_backward(const Operations *ops, Backend *backend, const void *arguments,
                               void *const *b)
{
    ops->relu_backward(backend, *(const size_t *)arguments, b[0], b[1], b[2]);
}

/* din is dout. */
static void call_relu_backward_in_place(const Operations *ops, Backend *backend,
                                        const void *arguments, void *const *b)
{
    ops->relu_backward(backend, *(const size_t *)arguments, b[0], b[1], b[1]);
}

static void check_relu_backward(Checker *checker)
{
    size_t count;
    Trial trial = {.arguments = &count};
    for (int i = 0; next_count(checker, i, &count, trial.shape); i++) {
        bool in_place = i % 2 == 1;
        trial.call = in_place ? call_relu_backward_in_place : call_relu_backward;
        relu_input(checker, &trial, count);
        float *dout = trial_floats(&trial, "dout", in_place ? CHANGED : INPUT, count);
        for (size_t e = 0; e < count; e++)
            dout[e] = (float)uniform(checker, -1.0, 1.0);
        if (!in_place)
            trial_result(&trial, "din", count, 0.0);
        check_trial(checker, &trial);
    }
}

/* ---- the derivative ---- */

enum { RELU_COUNT = 40 };

typedef struct ReluContext {
    float in[RELU_COUNT], dout[RELU_COUNT];
} ReluContext;

static double relu_value(const void *context)
{
    const ReluContext *c = context;
    float out[RELU_COUNT];
    definition.operations->relu_forward(definition.backend, RELU_COUNT, c->in, out);
    return dot(out, c->dout, RELU_COUNT);
}

static void relu_has_its_derivative(void **state)
{
    (void)state;
    definition_open();
    ReluContext c;
    float din[RELU_COUNT];
    fill(c.in, RELU_COUNT, 0.2, 1.0);
    fill(c.dout, RELU_COUNT, 0.0, 1.0);
    definition.operations->relu_backward(definition.backend, RELU_COUNT, c.in, c.dout, din);
    assert_derivative("of ReLU", c.in, din, RELU_COUNT, 0.05, 1e-5, relu_value, &c);
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"relu_forward", check_relu_forward, 0.0, 0.0, 0.0, 0.0},
    {"relu_backward", check_relu_backward, 0.0, 0.0, 0.0, 0.0},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(relu_has_its_derivative),
};

const OperationFamily relu_family = {cases, COUNT(cases), tests, COUNT(tests)};
