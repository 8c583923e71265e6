/* The weights of NNMF layers: order and normalisation. */
#include "checker.h"
#include "definition.h"

#include <math.h>
#include <stdio.h>

/* ---- order ---- */

typedef struct TransposeShape {
    int count, rows, columns;
} TransposeShape;

static void call_transpose(const Operations *ops, Backend *backend, const void *arguments,
                           void *const *b)
{
    const TransposeShape *s = arguments;
    ops->transpose(backend, s->count, s->rows, s->columns, b[0], b[1]);
}

static void check_transpose(Checker *checker)
{
    static const TransposeShape shapes[] = {
        {1, 1, 1},    {1, 5, 1},   {3, 1, 7},   {32, 3, 25},  {32, 25, 3}, {64, 32, 25},
        {96, 64, 16}, {97, 2, 3},  {100, 3, 1}, {128, 2, 2},  {256, 1, 4}, {1000, 2, 3},
        {1, 97, 100}, {2, 128, 3}, {1, 3, 256}, {1, 1000, 2},
    };
    TransposeShape s;
    Trial trial = {.arguments = &s, .call = call_transpose};
    for (int i = 0; i < COUNT(shapes) + random_trials(checker, 16, 8); i++) {
        s = (TransposeShape){between(checker, 1, 9), between(checker, 1, 40),
                             between(checker, 1, 40)};
        if (i < COUNT(shapes))
            s = shapes[i];
        size_t elements = (size_t)s.count * (size_t)s.rows * (size_t)s.columns;
        snprintf(trial.shape, sizeof trial.shape, "%d of %d x %d", s.count, s.rows, s.columns);
        trial_random(checker, &trial, "in", elements, -1.0, 1.0);
        trial_result(&trial, "out", elements, 0.0);
        check_trial(checker, &trial);
    }
}

/* ---- normalisation ---- */

static const WeightShape weight_cases[] = {
    {.outputs = 97, .channels = 3, .window = 1},   {.outputs = 128, .channels = 2, .window = 4},
    {.outputs = 256, .channels = 1, .window = 9},  {.outputs = 1000, .channels = 2, .window = 1},
    {.outputs = 1, .channels = 1, .window = 1},    {.outputs = 1, .channels = 7, .window = 1},
    {.outputs = 3, .channels = 1, .window = 9},    {.outputs = 100, .channels = 2, .window = 4},
    {.outputs = 17, .channels = 16, .window = 1},  {.outputs = 5, .channels = 33, .window = 4},
    {.outputs = 32, .channels = 3, .window = 25},  {.outputs = 32, .channels = 32, .window = 4},
    {.outputs = 64, .channels = 32, .window = 25}, {.outputs = 64, .channels = 64, .window = 4},
    {.outputs = 96, .channels = 64, .window = 16}, {.outputs = 10, .channels = 96, .window = 1},
};

enum { PUBLISHED = 6 }; /* the last six are those of the published network */

enum { FUNCTIONS = POSITIVE_IDENTITY + 1 };

static const char *const function_names[FUNCTIONS] = {"abs", "exp", "tanh", "identity"};

/* The layers of a call. Their pointers are buffers of the trial, in the order of the structure. */
typedef struct WeightTrial {
    Trial trial;
    LayerWeights layers[MAX_WEIGHT_LAYERS];
    int count;
    char names[MAX_BUFFERS][32]; /* of the buffers */
} WeightTrial;

/* Returns the name of the next buffer. */
static const char *weight_name(WeightTrial *t, const char *what, int layer)
{
    char *name = t->names[t->trial.count];
    snprintf(name, sizeof t->names[0], "%s of layer %d", what, layer);
    return name;
}

static WeightShape random_weight(Checker *checker)
{
    static const int windows[] = {1, 4, 9, 16, 25};
    return (WeightShape){.outputs = between(checker, 1, 100),
                         .channels = between(checker, 1, 40),
                         .window = windows[between(checker, 0, COUNT(windows) - 1)]};
}

static WeightShape small_weight(Checker *checker)
{
    return (WeightShape){
        .outputs = between(checker, 1, 9), .channels = between(checker, 1, 3), .window = 4};
}

/* Describes as many layers as fit into the text. */
static void describe_weights(WeightTrial *t)
{
    char *text = t->trial.shape;
    size_t size = sizeof t->trial.shape, used = (size_t)snprintf(text, size, "layers %d", t->count);
    for (int i = 0; i < t->count && used < size; i++) {
        const WeightShape *s = &t->layers[i].shape;
        used += (size_t)snprintf(text + used, size - used, ", %s %dx%dx%d",
                                 function_names[s->function], s->outputs, s->channels, s->window);
    }
}

/* Returns the number of layers of a trial: first one, then those of the published network, then the
 * maximum, then a few. */
static int weight_count(Checker *checker, int which)
{
    int cases = COUNT(weight_cases);
    if (which < cases)
        return 1;
    if (which == cases)
        return PUBLISHED;
    return which == cases + 1 ? MAX_WEIGHT_LAYERS : between(checker, 1, 4);
}

static WeightShape weight_shape(Checker *checker, int which, int layer)
{
    int cases = COUNT(weight_cases);
    if (which < cases)
        return weight_cases[which];
    if (which == cases)
        return weight_cases[cases - PUBLISHED + layer];
    return which == cases + 1 ? small_weight(checker) : random_weight(checker);
}

/* Each of these with every positive function, then with a random function for each layer. */
static bool next_weights(Checker *checker, int number, WeightTrial *t)
{
    int which = number / (FUNCTIONS + 1), function = number % (FUNCTIONS + 1);
    int fixed = (COUNT(weight_cases) + 2) * (FUNCTIONS + 1);
    if (number >= fixed + random_trials(checker, 48, 8))
        return false;
    t->count = weight_count(checker, which);
    for (int i = 0; i < t->count; i++) {
        WeightShape *s = &t->layers[i].shape;
        *s = weight_shape(checker, which, i);
        s->function = (PositiveFunction)(function < FUNCTIONS ? function
                                                              : between(checker, 0, FUNCTIONS - 1));
    }
    describe_weights(t);
    return true;
}

static size_t weight_elements(const WeightShape *s)
{
    return (size_t)s->outputs * (size_t)s->channels * (size_t)s->window;
}

/* Adds raw and beta, in the ranges that are usual for the layer's function. */
static void published_weights(Checker *checker, WeightTrial *t, int layer)
{
    LayerWeights *l = &t->layers[layer];
    const WeightShape *s = &l->shape;
    size_t count = weight_elements(s), row = count / (size_t)s->outputs;
    bool large = s->function == POSITIVE_EXP && between(checker, 0, 1) == 1;
    float *raw = trial_random(checker, &t->trial, weight_name(t, "raw", layer), count,
                              large ? -120.0 : -1.0, large ? 120.0 : 1.0);
    for (size_t i = 0; i < count; i++) {
        if (s->function == POSITIVE_IDENTITY)
            raw[i] = fabsf(raw[i]) + 0.01f;
        if (s->function == POSITIVE_ABS && between(checker, 0, 7) == 0)
            raw[i] = 0.0f;
    }
    if (s->function == POSITIVE_ABS && s->outputs > 2 && between(checker, 0, 3) == 0)
        for (size_t i = 0; i < row; i++)
            raw[row + i] = 0.0f; /* a row without weight */
    l->raw = raw;
    l->beta = NULL;
    if (positive_function_has_beta(s->function))
        l->beta = trial_random(checker, &t->trial, weight_name(t, "beta", layer), 1, -2.0, 2.0);
    else
        trial_absent(&t->trial, "beta");
}

static void call_weights_forward(const Operations *ops, Backend *backend, const void *arguments,
                                 void *const *b)
{
    const WeightTrial *t = arguments;
    LayerWeights layers[MAX_WEIGHT_LAYERS];
    for (int i = 0; i < t->count; i++, b += 4)
        layers[i] = (LayerWeights){
            .shape = t->layers[i].shape, .raw = b[0], .beta = b[1], .w = b[2], .scale = b[3]};
    ops->weights_forward(backend, layers, t->count);
}

static void check_weights_forward(Checker *checker)
{
    static WeightTrial t;
    t.trial = (Trial){.arguments = &t, .call = call_weights_forward};
    for (int number = 0; next_weights(checker, number, &t); number++) {
        for (int i = 0; i < t.count; i++) {
            const WeightShape *s = &t.layers[i].shape;
            published_weights(checker, &t, i);
            trial_result(&t.trial, weight_name(&t, "w", i), weight_elements(s), 0.0);
            trial_result(&t.trial, weight_name(&t, "scale", i), (size_t)s->outputs, 0.0);
        }
        check_trial(checker, &t.trial);
    }
}

static void call_weights_backward(const Operations *ops, Backend *backend, const void *arguments,
                                  void *const *b)
{
    const WeightTrial *t = arguments;
    LayerWeights layers[MAX_WEIGHT_LAYERS];
    for (int i = 0; i < t->count; i++, b += 7)
        layers[i] = (LayerWeights){t->layers[i].shape, b[0], b[1], b[2], b[3], b[4], b[5], b[6]};
    ops->weights_backward(backend, layers, t->count);
}

/* Returns the size of the terms of d_raw, which cancel if a row has few features. */
static double weight_terms(const LayerWeights *l)
{
    const WeightShape *s = &l->shape;
    double squares = 0.0, w_rms = rms(l->w, weight_elements(s));
    for (int n = 0; n < s->outputs; n++)
        squares += l->scale[n] < 1e10f ? (double)l->scale[n] * l->scale[n] : 0.0;
    switch (s->function) {
    case POSITIVE_EXP: return w_rms * (tanh(*l->beta) + 1.0) * 0.5;
    case POSITIVE_TANH: return w_rms * fabs((double)*l->beta);
    default: return sqrt(squares / s->outputs);
    }
}

static void add_backward(Checker *checker, WeightTrial *t, int layer)
{
    Trial *trial = &t->trial;
    LayerWeights *l = &t->layers[layer];
    size_t count = weight_elements(&l->shape);
    published_weights(checker, t, layer);
    l->w = trial_floats(trial, weight_name(t, "w", layer), INPUT, count);
    l->scale = trial_floats(trial, weight_name(t, "scale", layer), INPUT, (size_t)l->shape.outputs);
    checker->plain.operations->weights_forward(checker->plain.backend, l, 1);
    l->dw = trial_random(checker, trial, weight_name(t, "dw", layer), count, -1.0, 1.0);
    double dw = rms(l->dw, count), terms = rms(l->w, count) * rms(l->raw, count);
    trial_result(trial, weight_name(t, "d_raw", layer), count, dw * weight_terms(l));
    if (l->beta)
        trial_result(trial, weight_name(t, "dbeta", layer), 1, dw * terms * sqrt((double)count));
    else
        trial_absent(trial, "dbeta");
}

static void check_weights_backward(Checker *checker)
{
    static WeightTrial t;
    t.trial = (Trial){.arguments = &t, .call = call_weights_backward};
    for (int number = 0; next_weights(checker, number, &t); number++) {
        for (int i = 0; i < t.count; i++)
            add_backward(checker, &t, i);
        check_trial(checker, &t.trial);
    }
}

/* ---- the derivative ---- */

enum { WEIGHTS = 4 * 3 * 4 };

static double weight_value(const void *context)
{
    const LayerWeights *layer = context;
    definition.operations->weights_forward(definition.backend, layer, 1);
    return dot(layer->w, layer->dw, WEIGHTS);
}

static void check_weights(PositiveFunction function, float beta, double low, double high,
                          double step)
{
    float raw[WEIGHTS], w[WEIGHTS], scale[4], dw[WEIGHTS], d_raw[WEIGHTS], dbeta = 0.0f;
    bool learned = positive_function_has_beta(function);
    LayerWeights layer = {.shape = {4, 3, 4, function},
                          .raw = raw,
                          .w = w,
                          .scale = scale,
                          .dw = dw,
                          .d_raw = d_raw,
                          .beta = learned ? &beta : NULL,
                          .dbeta = learned ? &dbeta : NULL};
    fill(raw, WEIGHTS, low, high);
    if (function == POSITIVE_IDENTITY)
        for (int i = 0; i < WEIGHTS; i++)
            raw[i] = fabsf(raw[i]);
    raw[17] = (float)copysign(high * 1.2, raw[17]); /* clearly the largest, for POSITIVE_EXP */
    fill(dw, WEIGHTS, 0.0, 1.0);
    weight_value(&layer);
    definition.operations->weights_backward(definition.backend, &layer, 1);
    assert_derivative("of weights", raw, d_raw, WEIGHTS, step, 1e-4, weight_value, &layer);
    if (learned)
        assert_derivative("of beta", &beta, &dbeta, 1, 0.01, 1e-4, weight_value, &layer);
}

static void weights_have_their_derivative(void **state)
{
    (void)state;
    definition_open();
    check_weights(POSITIVE_ABS, 0.0f, 0.2, 1.0, 0.02);
    check_weights(POSITIVE_TANH, 0.7f, 0.0, 1.0, 0.02);
    check_weights(POSITIVE_EXP, 0.3f, 0.0, 1.0, 0.02);
    check_weights(POSITIVE_EXP, -1.5f, 0.0, 100.0,
                  0.5); /* scaled to 80, with the gradient of the scale */
    check_weights(POSITIVE_IDENTITY, 0.0f, 0.2, 1.0, 0.02);
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"transpose", check_transpose, 0.0, 0.0, 0.0, 0.0},
    {"weights_forward", check_weights_forward, 2.5e-7, 5e-7, 0.0, 0.0},
    {"weights_backward", check_weights_backward, 2.5e-7, 5e-7, 0.0, 0.0},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(weights_have_their_derivative),
};

const OperationFamily weights_family = {cases, COUNT(cases), tests, COUNT(tests)};
