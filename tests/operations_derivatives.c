/*
 * The plain version's derivatives against central differences: of s = sum(out * weights) with
 * random weights, summed in double, for every input element. The four-point rule's own error goes
 * with the fourth power of the step, so that steps can be large enough for float32 results.
 *
 * The backward rule of NNMF is no derivative; it is compared with a second implementation, and so
 * is Adam.
 */
#include "operations_checker.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static Device plain;
static const Operations *ops;
static uint32_t drawn;

static void open_plain(void)
{
    Error error = {0};
    assert_true(device_open_plain(&plain, &error));
    ops = plain.operations;
    drawn = 0;
}

/* Uniform in [-1, 1). */
static double noise(void)
{
    Philox bits = draw(77, DRAW_WEIGHTS, 0, 0, drawn++);
    return 2.0 * (double)philox_uniform(bits.v[0]) - 1.0;
}

/* Between low and high in magnitude, of either sign: away from 0, where ReLU and |W| have a
 * kink. */
static void fill(float *values, size_t count, double low, double high)
{
    for (size_t i = 0; i < count; i++) {
        double value = noise();
        values[i] = (float)(copysign(low, value) + value * (high - low));
    }
}

static double dot(const float *a, const float *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* The derivative of `value(context)` with respect to *x. */
static double difference(float *x, double step, double (*value)(const void *), const void *context)
{
    float centre = *x, at[4];
    double values[4];
    static const double steps[4] = {-2.0, -1.0, 1.0, 2.0};
    for (int i = 0; i < 4; i++) {
        at[i] = *x = (float)(centre + steps[i] * step);
        values[i] = value(context);
    }
    *x = centre;
    double near = (values[2] - values[1]) / ((double)at[2] - at[1]);
    double far = (values[3] - values[0]) / ((double)at[3] - at[0]);
    return (4.0 * near - far) / 3.0;
}

/* Fails unless `derivative` is that of value with respect to x, relative 2-norm. */
static void assert_derivative(const char *name, float *x, const float *derivative, size_t count,
                              double step, double tolerance, double (*value)(const void *),
                              const void *context)
{
    double off = 0.0, size = 0.0;
    for (size_t i = 0; i < count; i++) {
        double expected = difference(&x[i], step, value, context);
        off += (derivative[i] - expected) * (derivative[i] - expected);
        size += expected * expected;
    }
    double relative = sqrt(off / size);
    if (getenv("NNMF_TEST_VERBOSE"))
        printf("%s: %.1e\n", name, relative);
    if (!(relative < tolerance))
        fail_msg("derivative %s is off by %.2g", name, relative);
}

/* ---- unfold ---- */

typedef struct UnfoldContext {
    UnfoldShape shape;
    float *in, *x, *scale, *dx;
} UnfoldContext;

static double unfold_value(const void *context)
{
    const UnfoldContext *c = context;
    ops->unfold_forward(plain.backend, &c->shape, c->in, c->x, c->scale);
    return dot(c->x, c->dx, unfold_rows(&c->shape) * unfold_features(&c->shape));
}

void unfold_has_its_derivative(void **state)
{
    (void)state;
    open_plain();
    static const UnfoldShape shapes[] = {
        {2, 6, 5, 2, 3, 1, 4, 3}, {1, 4, 6, 3, 2, 2, 2, 3}, {2, 3, 3, 2, 3, 1, 1, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        enum { MOST = 4096 };
        static float in[MOST], x[MOST], scale[MOST], dx[MOST], din[MOST];
        UnfoldContext c = {shapes[i], in, x, scale, dx};
        size_t inputs = (size_t)(c.shape.batch * c.shape.height * c.shape.width * c.shape.channels);
        fill(in, inputs, 0.2, 1.0);
        fill(dx, unfold_rows(&c.shape) * unfold_features(&c.shape), 0.0, 1.0);
        unfold_value(&c);
        ops->unfold_backward(plain.backend, &c.shape, in, x, scale, dx, din);
        assert_derivative("of unfold", in, din, inputs, 0.01, 1e-4, unfold_value, &c);
    }
    device_close(&plain);
}

/* ---- weights ---- */

enum { WEIGHTS = 4 * 3 * 4 };

static double weight_value(const void *context)
{
    const LayerWeights *layer = context;
    ops->weights_forward(plain.backend, layer, 1);
    return dot(layer->w, layer->dw, WEIGHTS);
}

static void check_weights(PositiveFunction function, float beta, double low, double high,
                          double step)
{
    float W[WEIGHTS], w[WEIGHTS], scale[4], dw[WEIGHTS], dW[WEIGHTS], dbeta = 0.0f;
    bool learned = positive_function_has_beta(function);
    LayerWeights layer = {.shape = {4, 3, 4, function},
                          .W = W,
                          .w = w,
                          .scale = scale,
                          .dw = dw,
                          .dW = dW,
                          .beta = learned ? &beta : NULL,
                          .dbeta = learned ? &dbeta : NULL};
    fill(W, WEIGHTS, low, high);
    if (function == POSITIVE_IDENTITY)
        for (int i = 0; i < WEIGHTS; i++)
            W[i] = fabsf(W[i]);
    W[17] = (float)copysign(high * 1.2, W[17]); /* the largest by far, when that matters */
    fill(dw, WEIGHTS, 0.0, 1.0);
    weight_value(&layer);
    ops->weights_backward(plain.backend, &layer, 1);
    assert_derivative("of weights", W, dW, WEIGHTS, step, 1e-4, weight_value, &layer);
    if (learned)
        assert_derivative("of beta", &beta, &dbeta, 1, 0.01, 1e-4, weight_value, &layer);
}

void weights_have_their_derivative(void **state)
{
    (void)state;
    open_plain();
    check_weights(POSITIVE_ABS, 0.0f, 0.2, 1.0, 0.02);
    check_weights(POSITIVE_TANH, 0.7f, 0.0, 1.0, 0.02);
    check_weights(POSITIVE_EXP, 0.3f, 0.0, 1.0, 0.02);
    check_weights(POSITIVE_EXP, -1.5f, 0.0, 100.0, 0.5); /* scaled to 80, for the largest too */
    check_weights(POSITIVE_IDENTITY, 0.0f, 0.2, 1.0, 0.02);
    device_close(&plain);
}

/* ---- batch norm ---- */

enum { NORM_ROWS = 7, NORM_CHANNELS = 3, NORM_COUNT = NORM_ROWS * NORM_CHANNELS };

typedef struct NormContext {
    float in[NORM_COUNT], weight[NORM_CHANNELS], bias[NORM_CHANNELS], dout[NORM_COUNT];
} NormContext;

static double norm_value(const void *context)
{
    const NormContext *c = context;
    float out[NORM_COUNT], mean[NORM_CHANNELS], rstd[NORM_CHANNELS];
    ops->batchnorm_forward(plain.backend, NORM_ROWS, NORM_CHANNELS, c->in, c->weight, c->bias, out,
                           mean, rstd);
    return dot(out, c->dout, NORM_COUNT);
}

void batchnorm_has_its_derivative(void **state)
{
    (void)state;
    open_plain();
    NormContext c;
    float out[NORM_COUNT], mean[NORM_CHANNELS], rstd[NORM_CHANNELS], din[NORM_COUNT];
    float dweight[NORM_CHANNELS], dbias[NORM_CHANNELS];
    fill(c.in, NORM_COUNT, 0.0, 1.0);
    fill(c.weight, NORM_CHANNELS, 0.5, 1.5);
    fill(c.bias, NORM_CHANNELS, 0.0, 1.0);
    fill(c.dout, NORM_COUNT, 0.0, 1.0);
    ops->batchnorm_forward(plain.backend, NORM_ROWS, NORM_CHANNELS, c.in, c.weight, c.bias, out,
                           mean, rstd);
    ops->batchnorm_backward(plain.backend, NORM_ROWS, NORM_CHANNELS, c.in, c.weight, mean, rstd,
                            c.dout, din, dweight, dbias);
    assert_derivative("of batch norm's input", c.in, din, NORM_COUNT, 0.01, 1e-4, norm_value, &c);
    assert_derivative("of batch norm's weight", c.weight, dweight, NORM_CHANNELS, 0.02, 1e-4,
                      norm_value, &c);
    assert_derivative("of batch norm's bias", c.bias, dbias, NORM_CHANNELS, 0.02, 1e-4, norm_value,
                      &c);
    device_close(&plain);
}

/* ---- batch norm with frozen statistics ---- */

typedef struct FrozenContext {
    NormContext norm;
    float mean[NORM_CHANNELS], variance[NORM_CHANNELS];
} FrozenContext;

static double frozen_value(const void *context)
{
    const FrozenContext *c = context;
    float out[NORM_COUNT];
    ops->batchnorm_frozen_forward(plain.backend, NORM_ROWS, NORM_CHANNELS, c->norm.in,
                                  c->norm.weight, c->norm.bias, c->mean, c->variance, out);
    return dot(out, c->norm.dout, NORM_COUNT);
}

void frozen_batchnorm_has_its_derivative(void **state)
{
    (void)state;
    open_plain();
    FrozenContext c;
    float din[NORM_COUNT], dweight[NORM_CHANNELS], dbias[NORM_CHANNELS];
    fill(c.norm.in, NORM_COUNT, 0.0, 1.0);
    fill(c.norm.weight, NORM_CHANNELS, 0.5, 1.5);
    fill(c.norm.bias, NORM_CHANNELS, 0.0, 1.0);
    fill(c.norm.dout, NORM_COUNT, 0.0, 1.0);
    fill(c.mean, NORM_CHANNELS, 0.0, 1.0);
    for (int i = 0; i < NORM_CHANNELS; i++)
        c.variance[i] = (float)(0.7 + 0.5 * noise());
    ops->batchnorm_frozen_backward(plain.backend, NORM_ROWS, NORM_CHANNELS, c.norm.in,
                                   c.norm.weight, c.mean, c.variance, c.norm.dout, din, dweight,
                                   dbias);
    assert_derivative("of frozen batch norm's input", c.norm.in, din, NORM_COUNT, 0.05, 1e-4,
                      frozen_value, &c);
    assert_derivative("of frozen batch norm's weight", c.norm.weight, dweight, NORM_CHANNELS, 0.05,
                      1e-4, frozen_value, &c);
    assert_derivative("of frozen batch norm's bias", c.norm.bias, dbias, NORM_CHANNELS, 0.05, 1e-4,
                      frozen_value, &c);
    device_close(&plain);
}

/* ---- ReLU ---- */

enum { RELU_COUNT = 40 };

typedef struct ReluContext {
    float in[RELU_COUNT], dout[RELU_COUNT];
} ReluContext;

static double relu_value(const void *context)
{
    const ReluContext *c = context;
    float out[RELU_COUNT];
    ops->relu_forward(plain.backend, RELU_COUNT, c->in, out);
    return dot(out, c->dout, RELU_COUNT);
}

void relu_has_its_derivative(void **state)
{
    (void)state;
    open_plain();
    ReluContext c;
    float din[RELU_COUNT];
    fill(c.in, RELU_COUNT, 0.2, 1.0);
    fill(c.dout, RELU_COUNT, 0.0, 1.0);
    ops->relu_backward(plain.backend, RELU_COUNT, c.in, c.dout, din);
    assert_derivative("of ReLU", c.in, din, RELU_COUNT, 0.05, 1e-5, relu_value, &c);
    device_close(&plain);
}

/* ---- convolution ---- */

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
    ops->convolution_forward(plain.backend, &c->shape, c->in, c->weight, c->bias, out);
    return dot(out, c->dout, CONV_ROWS * CONV_OUT);
}

void convolution_has_its_derivative(void **state)
{
    (void)state;
    open_plain();
    ConvolutionContext c = {.shape = {CONV_ROWS, CONV_IN, CONV_OUT}};
    float din[CONV_ROWS * CONV_IN], dweight[CONV_OUT * CONV_IN], dbias[CONV_OUT];
    fill(c.in, CONV_ROWS * CONV_IN, 0.0, 1.0);
    fill(c.weight, CONV_OUT * CONV_IN, 0.0, 1.0);
    fill(c.bias, CONV_OUT, 0.0, 1.0);
    fill(c.dout, CONV_ROWS * CONV_OUT, 0.0, 1.0);
    ops->convolution_backward(plain.backend, &c.shape, c.in, c.weight, c.dout, din, dweight, dbias);
    assert_derivative("of a convolution's input", c.in, din, CONV_ROWS * CONV_IN, 0.1, 1e-4,
                      convolution_value, &c);
    assert_derivative("of a convolution's weight", c.weight, dweight, CONV_OUT * CONV_IN, 0.1, 1e-4,
                      convolution_value, &c);
    assert_derivative("of a convolution's bias", c.bias, dbias, CONV_OUT, 0.1, 1e-4,
                      convolution_value, &c);
    device_close(&plain);
}

/* ---- loss, through the softmax ---- */

enum { LOSS_BATCH = 4, LOSS_CLASSES = 10, LOSS_COUNT = LOSS_BATCH * LOSS_CLASSES };

typedef struct LossContext {
    LossShape shape;
    float logits[LOSS_COUNT], probabilities[LOSS_COUNT];
    uint8_t labels[LOSS_BATCH];
    Clock clock;
} LossContext;

static double loss_value(const void *context)
{
    const LossContext *c = context;
    float probabilities[LOSS_COUNT];
    Totals totals = {0};
    ops->softmax(plain.backend, LOSS_BATCH, LOSS_CLASSES, c->logits, probabilities);
    ops->loss(plain.backend, &c->shape, probabilities, c->labels, &c->clock, &totals, NULL);
    return totals.batch_loss;
}

void loss_has_its_derivative(void **state)
{
    (void)state;
    open_plain();
    static const LossShape shapes[] = {
        {LOSS_BATCH, LOSS_CLASSES, LOSS_SBS, 0.5, 1.0},
        {LOSS_BATCH, LOSS_CLASSES, LOSS_SBS, 1.0, 0.0},
        {LOSS_BATCH, LOSS_CLASSES, LOSS_SBS, -0.5, 2.0},
        {LOSS_BATCH, LOSS_CLASSES, LOSS_CROSS_ENTROPY, 0.5, 1.0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        LossContext c = {.shape = shapes[i], .labels = {0, 9, 4, 4}};
        float dlogits[LOSS_COUNT];
        Totals totals = {0};
        fill(c.logits, LOSS_COUNT, 0.0, 2.0);
        ops->softmax(plain.backend, LOSS_BATCH, LOSS_CLASSES, c.logits, c.probabilities);
        ops->loss(plain.backend, &c.shape, c.probabilities, c.labels, &c.clock, &totals, dlogits);
        assert_derivative("of the loss", c.logits, dlogits, LOSS_COUNT, 0.05, 1e-4, loss_value, &c);
    }
    device_close(&plain);
}

/* By hand: -log p of the label is log 2 or log 4, the squares sum to 0.5 or 0.75. */
void loss_adds_up(void **state)
{
    (void)state;
    open_plain();
    const float p[] = {0.5f, 0.5f, 0.0f, 0.0f, 0.25f, 0.25f, 0.25f, 0.25f};
    const uint8_t labels[] = {1, 0};
    const Clock clock = {.step = 6};
    LossShape shape = {2, 4, LOSS_SBS, 0.5, 1.0};
    Totals totals = {.loss = 10.0, .correct = 3};
    double expected = (0.5 * 0.5 + log(2.0) + 0.5 * 0.75 + log(4.0)) / 4.0 / 1.5;
    ops->loss(plain.backend, &shape, p, labels, &clock, &totals, NULL);
    assert_true(fabs(totals.batch_loss - expected) < 1e-12);
    assert_true(fabs(totals.loss - 10.0 - expected) < 1e-12);
    /* Of equal probabilities the first counts: the first image is wrong, the second right. */
    assert_int_equal(totals.batch_correct, 1);
    assert_int_equal(totals.correct, 4);
    assert_int_equal(totals.bad_step, 0);

    shape.kind = LOSS_CROSS_ENTROPY;
    expected = 0.5 * (log(2.0 * exp(0.5) + 2.0) - 0.5 + log(4.0));
    ops->loss(plain.backend, &shape, p, labels, &clock, &totals, NULL);
    assert_true(fabs(totals.batch_loss - expected) < 1e-12);
    assert_int_equal(totals.correct, 5);

    const float infinite[] = {INFINITY, 0.5f, 0.0f, 0.0f, 0.25f, 0.25f, 0.25f, 0.25f};
    const Clock later = {.step = 9};
    ops->loss(plain.backend, &shape, infinite, labels, &clock, &totals, NULL);
    assert_int_equal(totals.bad_step, 7);
    ops->loss(plain.backend, &shape, infinite, labels, &later, &totals, NULL);
    assert_int_equal(totals.bad_step, 7); /* the first one is kept */
    device_close(&plain);
}

/* Kingma and Ba's algorithm 1 as it is printed, with the corrected moments as such. */
void adam_follows_its_algorithm(void **state)
{
    (void)state;
    open_plain();
    enum { ELEMENTS = 6, STEPS = 4 };
    static const double sizes[ELEMENTS] = {1.0, 1e-2, 1e-6, 1e-8, 1e-9, 0.0};
    float gradients[ELEMENTS], parameters[ELEMENTS] = {0}, first[ELEMENTS] = {0};
    float second[ELEMENTS] = {0};
    double p[ELEMENTS] = {0}, m[ELEMENTS] = {0}, v[ELEMENTS] = {0};
    const AdamSegment segments[] = {{0, 3, 1}, {3, 3, 0}};
    Clock clock = {.learning_rates = {0.001, 0.01, 1.0}};
    for (int t = 1; t <= STEPS; t++) {
        for (int i = 0; i < ELEMENTS; i++) {
            double g = gradients[i] = (float)(sizes[i] * noise());
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            double corrected_m = m[i] / (1.0 - pow(0.9, t));
            double corrected_v = v[i] / (1.0 - pow(0.999, t));
            p[i] -= (i < 3 ? 0.01 : 0.001) * corrected_m / (sqrt(corrected_v) + 1e-8);
        }
        ops->adam(plain.backend, segments, 2, &clock, gradients, parameters, first, second);
        ops->advance(plain.backend, &clock);
        for (int i = 0; i < ELEMENTS; i++)
            if (!(fabs(parameters[i] - p[i]) <= 1e-6 * fabs(p[i])))
                fail_msg("step %d, parameter %d is %.9g, expected %.9g", t, i,
                         (double)parameters[i], p[i]);
    }
    assert_int_equal(clock.step, STEPS);
    assert_int_equal(clock.updates, STEPS);
    device_close(&plain);
}

/* ---- NNMF backward, from the formulas ---- */

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

/* Matrices one after the other: r, q, dx, and dw as the difference of two products. */
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

void nnmf_backward_follows_its_rule(void **state)
{
    (void)state;
    open_plain();
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
        NnmfShape shape = {RULE_ROWS, RULE_K, RULE_N, 20, 0.0f, (LocalLearning)learning};
        ops->nnmf_backward(plain.backend, &shape, x, w, h, g, dx, dw);
        assert_same("dx", dx, m.dx[0], RULE_ROWS * RULE_K);
        assert_same("dw", dw, m.dw[0], RULE_N * RULE_K);
        ops->nnmf_backward(plain.backend, &shape, x, w, h, g, NULL, dw);
        assert_same("dw without dx", dw, m.dw[0], RULE_N * RULE_K);
    }
    device_close(&plain);
}
