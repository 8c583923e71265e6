/* 1x1 convolution. */
#include "checker.h"
#include "definition.h"

#include <math.h>
#include <stdio.h>

static const ConvolutionShape convolution_shapes[] = {
    {1, 1, 1, 1},     {1, 3, 100, 1},  {7, 100, 1, 1}, {47, 16, 17, 1},   {1152, 32, 32, 1},
    {128, 64, 64, 1}, {2, 96, 96, 1},  {2, 10, 10, 1}, {1152, 75, 32, 1}, {128, 800, 64, 1},
    {2, 1024, 96, 1}, {2, 96, 10, 1}, /* the shapes of the NNMF layers */
    {144, 75, 32, 3}, {56, 64, 64, 7},
};

static bool next_convolution(Checker *checker, int number, ConvolutionShape *shape, char *text)
{
    int known = COUNT(convolution_shapes);
    *shape = (ConvolutionShape){(size_t)between(checker, 1, 250), between(checker, 1, 100),
                                between(checker, 1, 100), 1};
    if (number % 4 == 1) {
        shape->batches = between(checker, 2, 4);
        shape->rows *= (size_t)shape->batches;
    }
    if (number < known)
        *shape = convolution_shapes[number];
    else if (number < known + MANY)
        *shape = (ConvolutionShape){3, number - known + 7, many[number - known], 1};
    else if (number - known - MANY >= random_trials(checker, 40, 8))
        return false;
    snprintf(text, sizeof((Trial *)NULL)->shape, "rows %zu of %d batches, in %d, out %d",
             shape->rows, shape->batches, shape->in, shape->out);
    return true;
}

static void call_convolution_forward(const Operations *ops, Backend *backend, const void *arguments,
                                     void *const *b)
{
    ops->convolution_forward(backend, arguments, b[0], b[1], b[2], b[3]); /* b[2] may be NULL */
}

static void check_convolution_forward(Checker *checker)
{
    ConvolutionShape s;
    Trial trial = {.arguments = &s, .call = call_convolution_forward};
    for (int i = 0; next_convolution(checker, i, &s, trial.shape); i++) {
        size_t in = (size_t)s.in, out = (size_t)s.out;
        trial_random(checker, &trial, "in", s.rows * in, -1.0, 1.0);
        trial_random(checker, &trial, "weight", out * in, -1.0, 1.0);
        if (i % 3 == 1)
            trial_absent(&trial, "bias");
        else
            trial_random(checker, &trial, "bias", out, -1.0, 1.0);
        trial_result(&trial, "out", s.rows * out, sqrt((double)in) / 3.0);
        check_trial(checker, &trial);
    }
}

static void call_convolution_backward(const Operations *ops, Backend *backend,
                                      const void *arguments, void *const *b)
{
    ops->convolution_backward(backend, arguments, b[0], b[1], b[2], b[3], b[4], b[5]);
}

static void check_convolution_backward(Checker *checker)
{
    ConvolutionShape s;
    Trial trial = {.arguments = &s, .call = call_convolution_backward};
    for (int i = 0; next_convolution(checker, i, &s, trial.shape); i++) {
        size_t in = (size_t)s.in, out = (size_t)s.out;
        double root_rows = sqrt((double)s.rows);
        trial_random(checker, &trial, "in", s.rows * in, -1.0, 1.0);
        trial_random(checker, &trial, "weight", out * in, -1.0, 1.0);
        trial_random(checker, &trial, "dout", s.rows * out, -1.0, 1.0);
        if (i % 4 == 2)
            trial_absent(&trial, "din");
        else
            trial_result(&trial, "din", s.rows * in, sqrt((double)out) / 3.0);
        trial_result(&trial, "dweight", out * in, root_rows / 3.0);
        if (i % 3 == 1)
            trial_absent(&trial, "dbias");
        else
            trial_result(&trial, "dbias", out, root_rows / sqrt(3.0));
        check_trial(checker, &trial);
    }
}

/* ---- the derivative ---- */

enum { CONV_ROWS = 5, CONV_IN = 4, CONV_OUT = 3 };

typedef struct ConvolutionContext {
    ConvolutionShape shape;
    float in[CONV_ROWS * CONV_IN], weight[CONV_OUT * CONV_IN], bias[CONV_OUT];
    float dout[CONV_ROWS * CONV_OUT];
} ConvolutionContext;

static double convolution_value(const void *context)
{
    const ConvolutionContext *c = context;
    float out[CONV_ROWS * CONV_OUT];
    definition.operations->convolution_forward(definition.backend, &c->shape, c->in, c->weight,
                                               c->bias, out);
    return dot(out, c->dout, CONV_ROWS * CONV_OUT);
}

static void convolution_has_its_derivative(void **state)
{
    (void)state;
    definition_open();
    ConvolutionContext c = {.shape = {CONV_ROWS, CONV_IN, CONV_OUT, 1}};
    float din[CONV_ROWS * CONV_IN], dweight[CONV_OUT * CONV_IN], dbias[CONV_OUT];
    fill(c.in, CONV_ROWS * CONV_IN, 0.0, 1.0);
    fill(c.weight, CONV_OUT * CONV_IN, 0.0, 1.0);
    fill(c.bias, CONV_OUT, 0.0, 1.0);
    fill(c.dout, CONV_ROWS * CONV_OUT, 0.0, 1.0);
    definition.operations->convolution_backward(definition.backend, &c.shape, c.in, c.weight,
                                                c.dout, din, dweight, dbias);
    assert_derivative("of a convolution's input", c.in, din, CONV_ROWS * CONV_IN, 0.1, 1e-4,
                      convolution_value, &c);
    assert_derivative("of a convolution's weight", c.weight, dweight, CONV_OUT * CONV_IN, 0.1, 1e-4,
                      convolution_value, &c);
    assert_derivative("of a convolution's bias", c.bias, dbias, CONV_OUT, 0.1, 1e-4,
                      convolution_value, &c);
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"convolution_forward", check_convolution_forward, 1e-6, 5e-6, 1e-3, 4e-3},
    {"convolution_backward", check_convolution_backward, 1.2e-6, 5e-6, 2e-3, 5e-3},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(convolution_has_its_derivative),
};

const OperationFamily convolution_family = {cases, COUNT(cases), tests, COUNT(tests)};
