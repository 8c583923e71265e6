/* NNMF. The backward rule is not a derivative, so it is compared with a second implementation. */
#include "checker.h"
#include "definition.h"

#include <math.h>
#include <stdio.h>

enum { RANDOM = 64, QUICK_SHARE = 8 };

static const NnmfParams nnmf_real[] = {
    {.rows = 1152, .features = 75, .outputs = 32}, {.rows = 288, .features = 128, .outputs = 32},
    {.rows = 128, .features = 800, .outputs = 64}, {.rows = 32, .features = 256, .outputs = 64},
    {.rows = 2, .features = 1024, .outputs = 96},  {.rows = 2, .features = 96, .outputs = 10},
};

/* With so many features, each block of a GPU's backward rule processes several tiles of rows. */
static const NnmfParams nnmf_wide[] = {
    {.rows = 150, .features = 4099, .outputs = 30},
    {.rows = 140, .features = 4100, .outputs = 33, .local_learning = LOCAL_KL},
    {.rows = 60, .features = 4100, .outputs = 66, .local_learning = LOCAL_MSE},
};

static bool next_nnmf(Checker *checker, int number, bool backward, NnmfParams *shape, char *text)
{
    static const int feature_counts[] = {1,  2,  3,  4,  5,  7,  8,   9,   15,  16,  17,
                                         31, 32, 33, 63, 64, 65, 127, 128, 129, 160, 257};
    static const int row_counts[] = {1, 2, 5, 6, 7, 11, 12, 13, 23, 24, 25, 47, 48, 49, 97, 145};
    static const char *const learning[] = {"", ", local KL", ", local MSE"};
    int variant = number;
    *shape = (NnmfParams){
        .rows = (size_t)row_counts[between(checker, 0, COUNT(row_counts) - 1)],
        .features = feature_counts[between(checker, 0, COUNT(feature_counts) - 1)],
        .outputs = number % 3 == 0 ? between(checker, 1, 20) : between(checker, 1, 130),
    };
    int iterations = between(checker, 1, 20);
    if (number == 0)
        shape->rows = 1, shape->features = 1, shape->outputs = 1;
    int real = number - random_trials(checker, RANDOM, QUICK_SHARE), more = real - COUNT(nnmf_real);
    int wide = more - MANY;
    if (wide >= (backward ? COUNT(nnmf_wide) : 0))
        return false;
    if (wide >= 0) {
        *shape = nnmf_wide[wide];
        variant = 2 * (int)shape->local_learning;
    } else if (more >= 0) {
        shape->rows = 3 + (size_t)more, shape->features = 40 + 13 * more;
        shape->outputs = many[more];
        iterations = 2 + more % 2;
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

/* Fills in rows that sum to 1, with a few zeros; `empty`: and with some rows of zeros. */
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

static void nnmf_inputs(Checker *checker, Trial *trial, const NnmfParams *s, float **x, float **w)
{
    size_t features = (size_t)s->features, outputs = (size_t)s->outputs;
    *x = trial_floats(trial, "x", INPUT, s->rows * features);
    *w = trial_floats(trial, "w", INPUT, outputs * features);
    normalised_rows(checker, *x, s->rows, features, true);
    normalised_rows(checker, *w, outputs, features, false);
    /* A feature with no weight in any output would make the quotients x / r meaningless. */
    for (size_t k = 0; k < features; k++)
        if ((*w)[k] <= 0.0f)
            (*w)[k] = 0.5f / (float)features;
}

/* Every fourth random trial has a NaN in its inputs; results must be NaN where those of plain C
 * are. */
static bool has_nan(const Checker *checker, int number)
{
    return number % 4 == 3 && number < random_trials(checker, RANDOM, QUICK_SHARE);
}

static void put_nan(Checker *checker, float *values, size_t count)
{
    values[between(checker, 0, (int)count - 1)] = NAN;
}

static void call_nnmf_forward(const Operations *ops, Backend *backend, const void *arguments,
                              void *const *b)
{
    ops->nnmf_forward(backend, arguments, b[0], b[1], b[2]);
}

static void check_nnmf_forward(Checker *checker)
{
    NnmfParams s;
    float *x, *w;
    Trial trial = {.arguments = &s, .call = call_nnmf_forward};
    for (int i = 0; next_nnmf(checker, i, false, &s, trial.shape); i++) {
        nnmf_inputs(checker, &trial, &s, &x, &w);
        trial.has_nan = has_nan(checker, i);
        if (trial.has_nan && i % 8 == 3)
            put_nan(checker, x, s.rows * (size_t)s.features);
        else if (trial.has_nan)
            put_nan(checker, w, (size_t)s.outputs * (size_t)s.features);
        trial_result(&trial, "h", s.rows * (size_t)s.outputs, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_nnmf_backward(const Operations *ops, Backend *backend, const void *arguments,
                               void *const *b)
{
    ops->nnmf_backward(backend, arguments, b[0], b[1], b[2], b[3], b[4], b[5]);
}

/* Computes the sizes that dx and dw would have if the signs of dh were random: with few outputs
 * their terms mostly cancel. */
static void nnmf_terms(const NnmfParams *s, const float *x, const float *w, const float *h,
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
    /* h (x - r) summed over rows: the rounding errors of r may all have one sign. */
    if (s->local_learning == LOCAL_MSE)
        *dw_terms = (double)s->rows * 2.0 / (double)(outputs * features);
}

static void check_nnmf_backward(Checker *checker)
{
    NnmfParams s;
    float *x, *w;
    Trial trial = {.arguments = &s, .call = call_nnmf_backward};
    for (int i = 0; next_nnmf(checker, i, true, &s, trial.shape); i++) {
        size_t features = (size_t)s.features, outputs = (size_t)s.outputs;
        nnmf_inputs(checker, &trial, &s, &x, &w);
        float *h = trial_floats(&trial, "h", INPUT, s.rows * outputs);
        NnmfParams short_forward = s;
        short_forward.iterations = 2;
        checker->plain.operations->nnmf_forward(checker->plain.backend, &short_forward, x, w, h);
        float *dh = trial_random(checker, &trial, "dh", s.rows * outputs, -1.0, 1.0);
        double dx_terms, dw_terms;
        nnmf_terms(&s, x, w, h, dh, &dx_terms, &dw_terms);
        trial.has_nan = has_nan(checker, i);
        if (trial.has_nan && i % 12 == 3)
            put_nan(checker, x, s.rows * features);
        else if (trial.has_nan && i % 12 == 7)
            put_nan(checker, w, outputs * features);
        else if (trial.has_nan)
            put_nan(checker, dh, s.rows * outputs);
        if (between(checker, 0, 3) == 0)
            trial_absent(&trial, "dx");
        else
            trial_result(&trial, "dx", s.rows * features, dx_terms);
        trial_result(&trial, "dw", outputs * features, dw_terms);
        check_trial(checker, &trial);
    }
}

/* ---- the backward rule from its formulas ---- */

enum { RULE_ROWS = 6, RULE_K = 9, RULE_N = 5 };

typedef struct Rule {
    double x[RULE_ROWS][RULE_K], w[RULE_N][RULE_K], h[RULE_ROWS][RULE_N], g[RULE_ROWS][RULE_N];
    double r[RULE_ROWS][RULE_K], q[RULE_ROWS][RULE_K];
    double dx[RULE_ROWS][RULE_K], dw[RULE_N][RULE_K];
} Rule;

static double positive_row(double *row, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += row[i] = 1.1 + noise();
    for (size_t i = 0; i < count; i++)
        row[i] = (float)(row[i] / sum);
    return sum;
}

/* Computes the matrices r, q and dx, and dw as the difference of two products. */
static void apply_rule(Rule *m, LocalLearning learning)
{
    double left[RULE_N][RULE_K] = {{0}}, right[RULE_N][RULE_K] = {{0}};
    for (int row = 0; row < RULE_ROWS; row++) {
        for (int n = 0; n < RULE_N; n++)
            for (int k = 0; k < RULE_K; k++) {
                m->r[row][k] += m->h[row][n] * m->w[n][k];
                m->dx[row][k] += m->h[row][n] * m->g[row][n] * m->w[n][k];
            }
        for (int k = 0; k < RULE_K; k++) {
            m->q[row][k] = 1.0 / (m->r[row][k] + 1e-20);
            m->dx[row][k] *= m->q[row][k];
        }
    }
    for (int n = 0; n < RULE_N; n++)
        for (int row = 0; row < RULE_ROWS; row++)
            for (int k = 0; k < RULE_K; k++) {
                double h = m->h[row][n], ratio = m->x[row][k] * m->q[row][k];
                if (learning == LOCAL_NONE) {
                    left[n][k] += h * m->g[row][n] * ratio;
                    right[n][k] += h * ratio * m->dx[row][k];
                } else if (learning == LOCAL_KL) {
                    right[n][k] += h * ratio;
                } else {
                    right[n][k] += h * 2.0 * (m->x[row][k] - m->r[row][k]);
                }
            }
    for (int n = 0; n < RULE_N; n++)
        for (int k = 0; k < RULE_K; k++)
            m->dw[n][k] = left[n][k] - right[n][k];
}

static void to_floats(float *to, const double *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (float)from[i];
}

static void assert_same(const char *name, const float *have, const double *expected, size_t count)
{
    double off = 0.0, size = 0.0;
    for (size_t i = 0; i < count; i++) {
        off += (have[i] - expected[i]) * (have[i] - expected[i]);
        size += expected[i] * expected[i];
    }
    if (!(sqrt(off / size) < 3e-7))
        fail_msg("%s of the backward rule is off by %.2g", name, sqrt(off / size));
}

static void nnmf_backward_follows_its_rule(void **state)
{
    (void)state;
    definition_open();
    for (int learning = LOCAL_NONE; learning <= LOCAL_MSE; learning++) {
        Rule m = {0};
        float x[RULE_ROWS * RULE_K], w[RULE_N * RULE_K], h[RULE_ROWS * RULE_N];
        float g[RULE_ROWS * RULE_N], dx[RULE_ROWS * RULE_K], dw[RULE_N * RULE_K];
        for (int row = 0; row < RULE_ROWS; row++) {
            positive_row(m.x[row], RULE_K);
            positive_row(m.h[row], RULE_N);
            for (int n = 0; n < RULE_N; n++)
                m.g[row][n] = (float)noise();
        }
        for (int n = 0; n < RULE_N; n++)
            positive_row(m.w[n], RULE_K);
        to_floats(x, m.x[0], RULE_ROWS * RULE_K);
        to_floats(w, m.w[0], RULE_N * RULE_K);
        to_floats(h, m.h[0], RULE_ROWS * RULE_N);
        to_floats(g, m.g[0], RULE_ROWS * RULE_N);
        apply_rule(&m, (LocalLearning)learning);
        NnmfParams shape = {.rows = RULE_ROWS,
                            .features = RULE_K,
                            .outputs = RULE_N,
                            .iterations = 20,
                            .local_learning = (LocalLearning)learning};
        definition.operations->nnmf_backward(definition.backend, &shape, x, w, h, g, dx, dw);
        assert_same("dx", dx, m.dx[0], RULE_ROWS * RULE_K);
        assert_same("dw", dw, m.dw[0], RULE_N * RULE_K);
        definition.operations->nnmf_backward(definition.backend, &shape, x, w, h, g, NULL, dw);
        assert_same("dw without dx", dw, m.dw[0], RULE_N * RULE_K);
    }
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"nnmf_forward", check_nnmf_forward, 5e-6, 2e-5, 6e-3, 2e-2},
    {"nnmf_backward", check_nnmf_backward, 3e-6, 1e-5, 1e-3, 6e-3},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(nnmf_backward_follows_its_rule),
};

const OperationFamily nnmf_family = {cases, COUNT(cases), tests, COUNT(tests)};
