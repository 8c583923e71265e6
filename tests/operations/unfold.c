/* ReLU, unfold and L1 norm. */
#include "checker.h"
#include "definition.h"

#include <math.h>
#include <stdio.h>

static const UnfoldShape unfold_real[] = {
    {.batch = 2, .height = 28, .width = 28, .channels = 3, .kernel = 5, .stride = 1},
    {.batch = 2, .height = 24, .width = 24, .channels = 32, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 12, .width = 12, .channels = 32, .kernel = 5, .stride = 1},
    {.batch = 2, .height = 8, .width = 8, .channels = 64, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 4, .width = 4, .channels = 64, .kernel = 4, .stride = 1},
    {.batch = 2, .height = 1, .width = 1, .channels = 96, .kernel = 1, .stride = 1},
};

static const UnfoldShape unfold_special[] = {
    {.batch = 1, .height = 1, .width = 1, .channels = 1, .kernel = 1, .stride = 1},
    {.batch = 3, .height = 1, .width = 1, .channels = 5, .kernel = 1, .stride = 1},
    {.batch = 1, .height = 7, .width = 7, .channels = 1, .kernel = 7, .stride = 1},
    {.batch = 2, .height = 3, .width = 9, .channels = 2, .kernel = 3, .stride = 2},
    {.batch = 2, .height = 6, .width = 5, .channels = 3, .kernel = 2, .stride = 3}, /* gaps */
    {.batch = 1, .height = 9, .width = 4, .channels = 17, .kernel = 4, .stride = 3},
    /* every pixel in one window: rows that fit into the registers of a team, and larger ones */
    {.batch = 3, .height = 6, .width = 9, .channels = 1, .kernel = 3, .stride = 3},
    {.batch = 2, .height = 3, .width = 3, .channels = 7, .kernel = 3, .stride = 5},
    {.batch = 3, .height = 2, .width = 3, .channels = 256, .kernel = 1, .stride = 1},
    {.batch = 3, .height = 2, .width = 3, .channels = 257, .kernel = 1, .stride = 1},
    {.batch = 2, .height = 6, .width = 12, .channels = 28, .kernel = 6, .stride = 6}, /* 1008 */
    {.batch = 3, .height = 1, .width = 1, .channels = 1025, .kernel = 1, .stride = 1},
    {.batch = 2, .height = 11, .width = 11, .channels = 17, .kernel = 11, .stride = 1}, /* 2057 */
    /* some in none: right, below, both, though as many windows as kernels would fit */
    {.batch = 2, .height = 4, .width = 7, .channels = 3, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 7, .width = 4, .channels = 3, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 6, .width = 6, .channels = 5, .kernel = 3, .stride = 2},
};

static UnfoldShape random_unfold(Checker *checker)
{
    UnfoldShape s = {.batch = between(checker, 1, 3),
                     .height = between(checker, 1, 11),
                     .width = between(checker, 1, 11),
                     .channels = between(checker, 1, 40)};
    s.kernel = between(checker, 1, s.height < s.width ? s.height : s.width);
    s.stride = between(checker, 1, s.kernel + 1);
    return s;
}

/* Returns special, real and random shapes, then the special ones again with a NaN in the image. */
static bool next_unfold(Checker *checker, int number, UnfoldShape *shape, Trial *trial)
{
    int random = random_trials(checker, 40, 8);
    trial->has_nan = false;
    if (number < COUNT(unfold_special))
        *shape = unfold_special[number];
    else if ((number -= COUNT(unfold_special)) < COUNT(unfold_real))
        *shape = unfold_real[number];
    else if ((number -= COUNT(unfold_real)) < random)
        *shape = random_unfold(checker);
    else if ((number -= random) < COUNT(unfold_special)) {
        *shape = unfold_special[number];
        trial->has_nan = true;
    } else
        return false;
    shape->out_height = (shape->height - shape->kernel) / shape->stride + 1;
    shape->out_width = (shape->width - shape->kernel) / shape->stride + 1;
    snprintf(trial->shape, sizeof trial->shape, "batch %d, %d x %d x %d, kernel %d, stride %d%s",
             shape->batch, shape->height, shape->width, shape->channels, shape->kernel,
             shape->stride, trial->has_nan ? ", a NaN" : "");
    return true;
}

static size_t unfold_inputs(const UnfoldShape *s)
{
    return (size_t)s->batch * (size_t)s->height * (size_t)s->width * (size_t)s->channels;
}

/* Adds an image of positive and negative numbers and zeros; sometimes with no positive number in a
 * long run, so that whole windows are empty; with a NaN if trial->has_nan. */
static float *unfold_image(Checker *checker, Trial *trial, const UnfoldShape *s)
{
    size_t count = unfold_inputs(s);
    float *in = trial_random(checker, trial, "in", count, -0.5, 1.0);
    for (size_t i = 0; i < count; i++)
        if (between(checker, 0, 15) == 0)
            in[i] = 0.0f;
    if (between(checker, 0, 2) == 0)
        for (size_t i = count / 3; i < count; i++)
            in[i] = -fabsf(in[i]);
    if (trial->has_nan)
        in[between(checker, 0, (int)count - 1)] = NAN;
    return in;
}

static void call_unfold_forward(const Operations *ops, Backend *backend, const void *arguments,
                                void *const *b)
{
    ops->unfold_forward(backend, arguments, b[0], b[1], b[2]);
}

static void check_unfold_forward(Checker *checker)
{
    UnfoldShape s;
    Trial trial = {.arguments = &s, .call = call_unfold_forward};
    for (int i = 0; next_unfold(checker, i, &s, &trial); i++) {
        unfold_image(checker, &trial, &s);
        trial_result(&trial, "x", unfold_rows(&s) * unfold_features(&s), 0.0);
        trial_result(&trial, "scale", unfold_rows(&s), 0.0);
        check_trial(checker, &trial);
    }
}

static void call_unfold_backward(const Operations *ops, Backend *backend, const void *arguments,
                                 void *const *b)
{
    ops->unfold_backward(backend, arguments, b[0], b[1], b[2], b[3], b[4]);
}

static void check_unfold_backward(Checker *checker)
{
    UnfoldShape s;
    Trial trial = {.arguments = &s, .call = call_unfold_backward};
    for (int i = 0; next_unfold(checker, i, &s, &trial); i++) {
        size_t rows = unfold_rows(&s), features = unfold_features(&s);
        const float *in = unfold_image(checker, &trial, &s);
        float *x = trial_floats(&trial, "x", INPUT, rows * features);
        float *scale = trial_floats(&trial, "scale", INPUT, rows);
        checker->plain.operations->unfold_forward(checker->plain.backend, &s, in, x, scale);
        trial_random(checker, &trial, "dx", rows * features, -1.0, 1.0);
        /* A derivative is a difference of terms dx * scale; empty windows do not contribute. */
        double squares = 0.0;
        for (size_t row = 0; row < rows; row++)
            squares += scale[row] < 1e10f ? (double)scale[row] * scale[row] : 0.0;
        trial_result(&trial, "din", unfold_inputs(&s), sqrt(squares / (double)rows / 3.0));
        check_trial(checker, &trial);
    }
}

/* ---- the derivative ---- */

typedef struct UnfoldContext {
    UnfoldShape shape;
    float *in, *x, *scale, *dx;
} UnfoldContext;

static double unfold_value(const void *context)
{
    const UnfoldContext *c = context;
    definition.operations->unfold_forward(definition.backend, &c->shape, c->in, c->x, c->scale);
    return dot(c->x, c->dx, unfold_rows(&c->shape) * unfold_features(&c->shape));
}

static void unfold_has_its_derivative(void **state)
{
    (void)state;
    definition_open();
    static const UnfoldShape shapes[] = {
        {2, 6, 5, 2, 3, 1, 4, 3}, {1, 4, 6, 3, 2, 2, 2, 3}, {2, 3, 3, 2, 3, 1, 1, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        enum { MAX_SIZE = 4096 };
        static float in[MAX_SIZE], x[MAX_SIZE], scale[MAX_SIZE], dx[MAX_SIZE], din[MAX_SIZE];
        UnfoldContext c = {shapes[i], in, x, scale, dx};
        size_t inputs = (size_t)(c.shape.batch * c.shape.height * c.shape.width * c.shape.channels);
        fill(in, inputs, 0.2, 1.0);
        fill(dx, unfold_rows(&c.shape) * unfold_features(&c.shape), 0.0, 1.0);
        unfold_value(&c);
        definition.operations->unfold_backward(definition.backend, &c.shape, in, x, scale, dx, din);
        assert_derivative("of unfold", in, din, inputs, 0.01, 1e-4, unfold_value, &c);
    }
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"unfold_forward", check_unfold_forward, 8e-7, 2e-6, 0.0, 0.0},
    {"unfold_backward", check_unfold_backward, 4e-7, 4e-6, 0.0, 0.0},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(unfold_has_its_derivative),
};

const OperationFamily unfold_family = {cases, COUNT(cases), tests, COUNT(tests)};
