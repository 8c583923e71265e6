/* Batch norm. */
#include "checker.h"
#include "definition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct RowShape {
    size_t rows; /* of all batches */
    int channels, batches;
} RowShape;

/* The last two: one chunk of rows with columns for several blocks, more than are summed at once;
 * and more rows than the threads of a kernel keep in registers. */
static const RowShape row_shapes[] = {
    {1, 1, 1},    {1, 5, 1},    {2, 1, 1},   {3, 17, 1},   {1152, 32, 1},
    {288, 32, 1}, {128, 64, 1}, {32, 64, 1}, {40, 300, 1}, {70000, 3, 1},
};

static bool next_rows(Checker *checker, int number, RowShape *shape, char *text)
{
    int known = COUNT(row_shapes);
    *shape = (RowShape){(size_t)between(checker, 1, 300), between(checker, 1, 100), 1};
    if (number < known)
        *shape = row_shapes[number];
    else if (number < known + MANY)
        *shape = (RowShape){3 + (size_t)number, many[number - known], 1};
    else if (number - known - MANY >= random_trials(checker, 32, 8))
        return false;
    snprintf(text, sizeof((Trial *)NULL)->shape, "rows %zu, channels %d", shape->rows,
             shape->channels);
    return true;
}

/* Like next_rows, with two to four such batches in some trials. */
static bool next_batches(Checker *checker, int number, RowShape *shape, char *text)
{
    if (!next_rows(checker, number, shape, text))
        return false;
    if (number % 3 == 1 && shape->rows <= 1152) {
        shape->batches = between(checker, 2, 4);
        shape->rows *= (size_t)shape->batches;
        snprintf(text, sizeof((Trial *)NULL)->shape, "rows %zu of %d batches, channels %d",
                 shape->rows, shape->batches, shape->channels);
    }
    return true;
}

/* Adds an input whose channels each have their own mean and standard deviation. */
static const float *channels_input(Checker *checker, Trial *trial, const RowShape *s)
{
    size_t width = (size_t)s->channels;
    float *in = trial_random(checker, trial, "in", s->rows * width, -1.0, 1.0);
    for (size_t c = 0; c < width; c++) {
        double mean = uniform(checker, -1.0, 1.0), size = uniform(checker, 0.2, 2.0);
        for (size_t row = 0; row < s->rows; row++)
            in[row * width + c] = (float)(mean + size * in[row * width + c]);
    }
    return in;
}

static void call_batchnorm_forward(const Operations *ops, Backend *backend, const void *arguments,
                                   void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_forward(backend, s->rows, s->channels, s->batches, b[0], b[1], b[2], b[3], b[4],
                           b[5]);
}

static void check_batchnorm_forward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s, .call = call_batchnorm_forward};
    for (int i = 0; next_batches(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels;
        const float *in = channels_input(checker, &trial, &s);
        trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        trial_random(checker, &trial, "bias", width, -1.0, 1.0);
        trial_result(&trial, "out", s.rows * width, 1.0);
        size_t each = s.rows / (size_t)s.batches, norms = width * (size_t)s.batches;
        trial_result(&trial, "mean", norms, rms(in, s.rows * width) / sqrt((double)each));
        trial_result(&trial, "rstd", norms, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_batchnorm_backward(const Operations *ops, Backend *backend, const void *arguments,
                                    void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4], b[5], b[6],
                            b[7]);
}

/* din is dout. */
static void call_batchnorm_backward_in_place(const Operations *ops, Backend *backend,
                                             const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4], b[4], b[5],
                            b[6]);
}

static void check_batchnorm_backward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels, count = s.rows * width;
        bool in_place = i % 2 == 1;
        trial.call = in_place ? call_batchnorm_backward_in_place : call_batchnorm_backward;
        const float *in = channels_input(checker, &trial, &s);
        const float *weight = trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        float *mean = trial_floats(&trial, "mean", INPUT, width);
        float *rstd = trial_floats(&trial, "rstd", INPUT, width);
        float *out = must_allocate(count * sizeof *out);
        checker->plain.operations->batchnorm_forward(checker->plain.backend, s.rows, s.channels, 1,
                                                     in, weight, weight, out, mean, rstd);
        free(out);
        float *dout = trial_floats(&trial, "dout", in_place ? CHANGED : INPUT, count);
        for (size_t e = 0; e < count; e++)
            dout[e] = (float)uniform(checker, -1.0, 1.0);
        double terms = rms(dout, count) * rms(weight, width) * rms(rstd, width);
        if (in_place)
            trial.buffers[trial.count - 1].typical = terms;
        else
            trial_result(&trial, "din", count, terms);
        trial_result(&trial, "dweight", width, rms(dout, count) * sqrt((double)s.rows));
        trial_result(&trial, "dbias", width, rms(dout, count) * sqrt((double)s.rows));
        check_trial(checker, &trial);
    }
}

static void call_batchnorm_accumulate(const Operations *ops, Backend *backend,
                                      const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_accumulate(backend, s->rows, s->channels, s->batches, b[0], b[1]);
}

static void check_batchnorm_accumulate(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s, .call = call_batchnorm_accumulate};
    for (int i = 0; next_batches(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels;
        if (s.rows > 2000)
            continue; /* with so many rows the errors of the plain sums exceed the limit too */
        channels_input(checker, &trial, &s);
        double *sums = trial_bytes(&trial, "sums", CHANGED, DOUBLES, 2 * width * sizeof *sums);
        for (size_t c = 0; c < 2 * width; c++)
            sums[c] = uniform(checker, 0.0, 1e3);
        trial.buffers[trial.count - 1].typical = (double)s.rows;
        check_trial(checker, &trial);
    }
}

/* Adds means and variances other than those of the rows. */
static void frozen_statistics(Checker *checker, Trial *trial, size_t width)
{
    trial_random(checker, trial, "mean", width, -1.0, 1.0);
    float *variance = trial_random(checker, trial, "variance", width, 0.01, 2.0);
    if (between(checker, 0, 3) == 0)
        variance[width / 2] = 0.0f;
}

static void call_batchnorm_frozen_forward(const Operations *ops, Backend *backend,
                                          const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_frozen_forward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4],
                                  b[5]);
}

static void check_batchnorm_frozen_forward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s, .call = call_batchnorm_frozen_forward};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels;
        channels_input(checker, &trial, &s);
        trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        trial_random(checker, &trial, "bias", width, -1.0, 1.0);
        frozen_statistics(checker, &trial, width);
        trial_result(&trial, "out", s.rows * width, 1.0);
        check_trial(checker, &trial);
    }
}

static void call_batchnorm_frozen_backward(const Operations *ops, Backend *backend,
                                           const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_frozen_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4],
                                   b[5], b[6], b[7]);
}

static void call_batchnorm_frozen_backward_in_place(const Operations *ops, Backend *backend,
                                                    const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_frozen_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4],
                                   b[4], b[5], b[6]);
}

static void check_batchnorm_frozen_backward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels, count = s.rows * width;
        bool in_place = i % 2 == 1;
        trial.call =
            in_place ? call_batchnorm_frozen_backward_in_place : call_batchnorm_frozen_backward;
        const float *in = channels_input(checker, &trial, &s);
        trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        frozen_statistics(checker, &trial, width);
        const float *variance = trial.buffers[trial.count - 1].before;
        float *dout = trial_floats(&trial, "dout", in_place ? CHANGED : INPUT, count);
        for (size_t e = 0; e < count; e++)
            dout[e] = (float)uniform(checker, -1.0, 1.0);
        double min_variance = variance[0];
        for (size_t c = 1; c < width; c++)
            min_variance = fmin(min_variance, variance[c]);
        if (!in_place)
            trial_result(&trial, "din", count, 0.0);
        /* The terms are dout times the normalised input. */
        double root_rows = sqrt((double)s.rows);
        trial_result(&trial, "dweight", width,
                     root_rows * (1.0 + rms(in, count)) / sqrt(min_variance + 1e-5));
        trial_result(&trial, "dbias", width, root_rows);
        check_trial(checker, &trial);
    }
}

/* ---- the derivative ---- */

enum { NORM_ROWS = 7, NORM_CHANNELS = 3, NORM_COUNT = NORM_ROWS * NORM_CHANNELS };

typedef struct NormContext {
    float in[NORM_COUNT], weight[NORM_CHANNELS], bias[NORM_CHANNELS], dout[NORM_COUNT];
} NormContext;

static double norm_value(const void *context)
{
    const NormContext *c = context;
    float out[NORM_COUNT], mean[NORM_CHANNELS], rstd[NORM_CHANNELS];
    definition.operations->batchnorm_forward(definition.backend, NORM_ROWS, NORM_CHANNELS, 1, c->in,
                                             c->weight, c->bias, out, mean, rstd);
    return dot(out, c->dout, NORM_COUNT);
}

static void batchnorm_has_its_derivative(void **state)
{
    (void)state;
    definition_open();
    NormContext c;
    float out[NORM_COUNT], mean[NORM_CHANNELS], rstd[NORM_CHANNELS], din[NORM_COUNT];
    float dweight[NORM_CHANNELS], dbias[NORM_CHANNELS];
    fill(c.in, NORM_COUNT, 0.0, 1.0);
    fill(c.weight, NORM_CHANNELS, 0.5, 1.5);
    fill(c.bias, NORM_CHANNELS, 0.0, 1.0);
    fill(c.dout, NORM_COUNT, 0.0, 1.0);
    definition.operations->batchnorm_forward(definition.backend, NORM_ROWS, NORM_CHANNELS, 1, c.in,
                                             c.weight, c.bias, out, mean, rstd);
    definition.operations->batchnorm_backward(definition.backend, NORM_ROWS, NORM_CHANNELS, c.in,
                                              c.weight, mean, rstd, c.dout, din, dweight, dbias);
    assert_derivative("of batch norm's input", c.in, din, NORM_COUNT, 0.01, 1e-4, norm_value, &c);
    assert_derivative("of batch norm's weight", c.weight, dweight, NORM_CHANNELS, 0.02, 1e-4,
                      norm_value, &c);
    assert_derivative("of batch norm's bias", c.bias, dbias, NORM_CHANNELS, 0.02, 1e-4, norm_value,
                      &c);
    definition_close();
}

/* ---- the derivative with frozen statistics ---- */

typedef struct FrozenContext {
    NormContext norm;
    float mean[NORM_CHANNELS], variance[NORM_CHANNELS];
} FrozenContext;

static double frozen_value(const void *context)
{
    const FrozenContext *c = context;
    float out[NORM_COUNT];
    definition.operations->batchnorm_frozen_forward(definition.backend, NORM_ROWS, NORM_CHANNELS,
                                                    c->norm.in, c->norm.weight, c->norm.bias,
                                                    c->mean, c->variance, out);
    return dot(out, c->norm.dout, NORM_COUNT);
}

static void frozen_batchnorm_has_its_derivative(void **state)
{
    (void)state;
    definition_open();
    FrozenContext c;
    float din[NORM_COUNT], dweight[NORM_CHANNELS], dbias[NORM_CHANNELS];
    fill(c.norm.in, NORM_COUNT, 0.0, 1.0);
    fill(c.norm.weight, NORM_CHANNELS, 0.5, 1.5);
    fill(c.norm.bias, NORM_CHANNELS, 0.0, 1.0);
    fill(c.norm.dout, NORM_COUNT, 0.0, 1.0);
    fill(c.mean, NORM_CHANNELS, 0.0, 1.0);
    for (int i = 0; i < NORM_CHANNELS; i++)
        c.variance[i] = (float)(0.7 + 0.5 * noise());
    definition.operations->batchnorm_frozen_backward(definition.backend, NORM_ROWS, NORM_CHANNELS,
                                                     c.norm.in, c.norm.weight, c.mean, c.variance,
                                                     c.norm.dout, din, dweight, dbias);
    assert_derivative("of frozen batch norm's input", c.norm.in, din, NORM_COUNT, 0.05, 1e-4,
                      frozen_value, &c);
    assert_derivative("of frozen batch norm's weight", c.norm.weight, dweight, NORM_CHANNELS, 0.05,
                      1e-4, frozen_value, &c);
    assert_derivative("of frozen batch norm's bias", c.norm.bias, dbias, NORM_CHANNELS, 0.05, 1e-4,
                      frozen_value, &c);
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"batchnorm_forward", check_batchnorm_forward, 2.5e-6, 4e-6, 0.0, 0.0},
    {"batchnorm_backward", check_batchnorm_backward, 6e-7, 4e-6, 0.0, 0.0},
    {"batchnorm_accumulate", check_batchnorm_accumulate, 0.0, 1e-14, 0.0, 0.0},
    {"batchnorm_frozen_forward", check_batchnorm_frozen_forward, 2.5e-6, 4e-6, 0.0, 0.0},
    {"batchnorm_frozen_backward", check_batchnorm_frozen_backward, 6e-7, 4e-6, 0.0, 0.0},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(batchnorm_has_its_derivative),
    cmocka_unit_test(frozen_batchnorm_has_its_derivative),
};

const OperationFamily batchnorm_family = {cases, COUNT(cases), tests, COUNT(tests)};
