/* How the operations of an NNMF layer are checked: its weights and NNMF itself. */
#include "operations_checker.h"

#include <math.h>
#include <stdio.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* The quick run has fewer random shapes; the fixed ones are in both. */
static int random_trials(const Checker *checker, int trials)
{
    return checker->quick ? (trials + 7) / 8 : trials;
}

/* ---- weights ---- */

static const WeightShape weight_cases[] = {
    {.outputs = 1, .channels = 1, .window = 1},    {.outputs = 1, .channels = 7, .window = 1},
    {.outputs = 3, .channels = 1, .window = 9},    {.outputs = 100, .channels = 2, .window = 4},
    {.outputs = 17, .channels = 16, .window = 1},  {.outputs = 5, .channels = 33, .window = 4},
    {.outputs = 32, .channels = 3, .window = 25},  {.outputs = 32, .channels = 32, .window = 4},
    {.outputs = 64, .channels = 32, .window = 25}, {.outputs = 64, .channels = 64, .window = 4},
    {.outputs = 96, .channels = 64, .window = 16}, {.outputs = 10, .channels = 96, .window = 1},
};

enum { PUBLISHED = 6 }; /* the last of them are the published network's */

enum { FUNCTIONS = POSITIVE_IDENTITY + 1 };

static const char *const function_names[FUNCTIONS] = {"abs", "exp", "tanh", "identity"};

/* The layers of a call; their pointers are buffers of the trial, in the order of the structure. */
typedef struct WeightTrial {
    Trial trial;
    LayerWeights layers[MAX_WEIGHT_LAYERS];
    int count;
    char names[MAX_BUFFERS][32]; /* of the buffers */
} WeightTrial;

/* Of the next buffer. */
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

/* As many as fit. */
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

/* How many layers the trial has: one, those of the published network, as many as there may be, and
 * then some. */
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

/* Each of these with every positive function, and then with one for each layer. */
static bool next_weights(Checker *checker, int number, WeightTrial *t)
{
    int which = number / (FUNCTIONS + 1), function = number % (FUNCTIONS + 1);
    int fixed = (COUNT(weight_cases) + 2) * (FUNCTIONS + 1);
    if (number >= fixed + random_trials(checker, 48))
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

/* W and beta, for the function at hand in the ranges where it is used. */
static void published_weights(Checker *checker, WeightTrial *t, int layer)
{
    LayerWeights *l = &t->layers[layer];
    const WeightShape *s = &l->shape;
    size_t count = weight_elements(s), row = count / (size_t)s->outputs;
    bool large = s->function == POSITIVE_EXP && between(checker, 0, 1) == 1;
    float *W = trial_random(checker, &t->trial, weight_name(t, "W", layer), count,
                            large ? -120.0 : -1.0, large ? 120.0 : 1.0);
    for (size_t i = 0; i < count; i++) {
        if (s->function == POSITIVE_IDENTITY)
            W[i] = fabsf(W[i]) + 0.01f;
        if (s->function == POSITIVE_ABS && between(checker, 0, 7) == 0)
            W[i] = 0.0f;
    }
    if (s->function == POSITIVE_ABS && s->outputs > 2 && between(checker, 0, 3) == 0)
        for (size_t i = 0; i < row; i++)
            W[row + i] = 0.0f; /* a row without weight */
    l->W = W;
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
            .shape = t->layers[i].shape, .W = b[0], .beta = b[1], .w = b[2], .scale = b[3]};
    ops->weights_forward(backend, layers, t->count);
}

void check_weights_forward(Checker *checker)
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

/* The size of the terms of dW, which cancel when a row has few features. */
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
    double dw = rms(l->dw, count), terms = rms(l->w, count) * rms(l->W, count);
    trial_result(trial, weight_name(t, "dW", layer), count, dw * weight_terms(l));
    if (l->beta)
        trial_result(trial, weight_name(t, "dbeta", layer), 1, dw * terms * sqrt((double)count));
    else
        trial_absent(trial, "dbeta");
}

void check_weights_backward(Checker *checker)
{
    static WeightTrial t;
    t.trial = (Trial){.arguments = &t, .call = call_weights_backward};
    for (int number = 0; next_weights(checker, number, &t); number++) {
        for (int i = 0; i < t.count; i++)
            add_backward(checker, &t, i);
        check_trial(checker, &t.trial);
    }
}

/* ---- NNMF ---- */

static const NnmfShape nnmf_real[] = {
    {.rows = 1152, .features = 75, .outputs = 32}, {.rows = 288, .features = 128, .outputs = 32},
    {.rows = 128, .features = 800, .outputs = 64}, {.rows = 32, .features = 256, .outputs = 64},
    {.rows = 2, .features = 1024, .outputs = 96},  {.rows = 2, .features = 96, .outputs = 10},
};

/* So many features that each block of a GPU's backward rule goes through several tiles of rows. */
static const NnmfShape nnmf_wide[] = {
    {.rows = 150, .features = 4099, .outputs = 30},
    {.rows = 140, .features = 4100, .outputs = 33, .local_learning = LOCAL_KL},
    {.rows = 60, .features = 4100, .outputs = 66, .local_learning = LOCAL_MSE},
};

static bool next_nnmf(Checker *checker, int number, bool backward, NnmfShape *shape, char *text)
{
    static const int feature_counts[] = {1,  2,  3,  4,  5,  7,  8,   9,   15,  16,  17,
                                         31, 32, 33, 63, 64, 65, 127, 128, 129, 160, 257};
    static const int row_counts[] = {1, 2, 5, 6, 7, 11, 12, 13, 23, 24, 25, 47, 48, 49, 97, 145};
    static const char *const learning[] = {"", ", local KL", ", local MSE"};
    int variant = number;
    *shape = (NnmfShape){
        .rows = (size_t)row_counts[between(checker, 0, COUNT(row_counts) - 1)],
        .features = feature_counts[between(checker, 0, COUNT(feature_counts) - 1)],
        .outputs = number % 3 == 0 ? between(checker, 1, 20) : between(checker, 1, 100),
    };
    int iterations = between(checker, 1, 20);
    if (number == 0)
        shape->rows = 1, shape->features = 1, shape->outputs = 1;
    int real = number - random_trials(checker, 64), wide = real - COUNT(nnmf_real);
    if (wide >= (backward ? COUNT(nnmf_wide) : 0))
        return false;
    if (wide >= 0) {
        *shape = nnmf_wide[wide];
        variant = 2 * (int)shape->local_learning;
    } else if (real >= 0) {
        *shape = nnmf_real[real];
        shape->rows = checker->quick ? (shape->rows + 15) / 16 : shape->rows;
        iterations = checker->quick ? 3 : 20;
        variant = 0;
    }
    shape->iterations = iterations;
    shape->epsilon = variant % 2 ? 0.5f : 0.0f;
    shape->local_learning = (LocalLearning)(variant / 2 % 3);
    snprintf(text, sizeof((Trial *)NULL)->shape,
             "rows %zu, features %d, outputs %d, %d iterations, epsilon %g%s", shape->rows,
             shape->features, shape->outputs, shape->iterations, (double)shape->epsilon,
             learning[shape->local_learning]);
    return true;
}

/* Rows that sum to 1, with a few zeros; `empty`: now and then a row of zeros. */
static void normalised_rows(Checker *checker, float *values, size_t rows, size_t width, bool empty)
{
    for (size_t row = 0; row < rows; row++, values += width) {
        bool skip = empty && rows > 2 && between(checker, 0, 9) == 0;
        double sum = 0.0;
        for (size_t i = 0; i < width; i++) {
            bool zero = skip || (width > 4 && between(checker, 0, 7) == 0);
            values[i] = zero ? 0.0f : (float)uniform(checker, 0.01, 1.0);
            sum += values[i];
        }
        for (size_t i = 0; i < width && sum > 0.0; i++)
            values[i] = (float)(values[i] / sum);
    }
}

static void nnmf_inputs(Checker *checker, Trial *trial, const NnmfShape *s, float **x, float **w)
{
    size_t features = (size_t)s->features, outputs = (size_t)s->outputs;
    *x = trial_floats(trial, "x", INPUT, s->rows * features);
    *w = trial_floats(trial, "w", INPUT, outputs * features);
    normalised_rows(checker, *x, s->rows, features, true);
    normalised_rows(checker, *w, outputs, features, false);
    /* A feature that no output has would make the quotients x / r meaningless. */
    for (size_t k = 0; k < features; k++)
        if ((*w)[k] <= 0.0f)
            (*w)[k] = 0.5f / (float)features;
}

static void call_nnmf_forward(const Operations *ops, Backend *backend, const void *arguments,
                              void *const *b)
{
    ops->nnmf_forward(backend, arguments, b[0], b[1], b[2]);
}

void check_nnmf_forward(Checker *checker)
{
    NnmfShape s;
    float *x, *w;
    Trial trial = {.arguments = &s, .call = call_nnmf_forward};
    for (int i = 0; next_nnmf(checker, i, false, &s, trial.shape); i++) {
        nnmf_inputs(checker, &trial, &s, &x, &w);
        trial_result(&trial, "h", s.rows * (size_t)s.outputs, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_nnmf_backward(const Operations *ops, Backend *backend, const void *arguments,
                               void *const *b)
{
    ops->nnmf_backward(backend, arguments, b[0], b[1], b[2], b[3], b[4], b[5]);
}

/* The sizes that dx and dw would have if the signs of dh were random: with few outputs much of
 * what they sum cancels. */
static void nnmf_terms(const NnmfShape *s, const float *x, const float *w, const float *h,
                       const float *dh, double *dx_terms, double *dw_terms)
{
    size_t features = (size_t)s->features, outputs = (size_t)s->outputs;
    double dx_squares = 0.0, dw_squares = 0.0;
    for (size_t row = 0; row < s->rows; row++, x += features, h += outputs, dh += outputs)
        for (size_t k = 0; k < features && h[0] > 0.0f; k++) {
            double r = 0.0, back = 0.0, weighted = 0.0;
            for (size_t n = 0; n < outputs; n++) {
                double product = (double)h[n] * dh[n], weight = w[n * features + k];
                r += h[n] * weight;
                back += product * product;
                weighted += product * product * weight * weight;
            }
            dx_squares += weighted / (r * r);
            dw_squares += back * x[k] * x[k] / (r * r);
        }
    *dx_terms = sqrt(dx_squares / (double)(s->rows * features));
    *dw_terms = sqrt(dw_squares / (double)(outputs * features));
    /* h (x - r) summed over rows: the rounding of r may go one way. */
    if (s->local_learning == LOCAL_MSE)
        *dw_terms = (double)s->rows * 2.0 / (double)(outputs * features);
}

void check_nnmf_backward(Checker *checker)
{
    NnmfShape s;
    float *x, *w;
    Trial trial = {.arguments = &s, .call = call_nnmf_backward};
    for (int i = 0; next_nnmf(checker, i, true, &s, trial.shape); i++) {
        size_t features = (size_t)s.features, outputs = (size_t)s.outputs;
        nnmf_inputs(checker, &trial, &s, &x, &w);
        float *h = trial_floats(&trial, "h", INPUT, s.rows * outputs);
        NnmfShape short_forward = s;
        short_forward.iterations = 2;
        checker->plain.operations->nnmf_forward(checker->plain.backend, &short_forward, x, w, h);
        const float *dh = trial_random(checker, &trial, "dh", s.rows * outputs, -1.0, 1.0);
        double dx_terms, dw_terms;
        nnmf_terms(&s, x, w, h, dh, &dx_terms, &dw_terms);
        if (between(checker, 0, 3) == 0)
            trial_absent(&trial, "dx");
        else
            trial_result(&trial, "dx", s.rows * features, dx_terms);
        trial_result(&trial, "dw", outputs * features, dw_terms);
        check_trial(checker, &trial);
    }
}
