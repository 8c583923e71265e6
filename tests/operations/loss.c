/* Softmax and loss. */
#include "checker.h"
#include "definition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct SoftmaxShape {
    int batch, classes;
} SoftmaxShape;

static void call_softmax(const Operations *ops, Backend *backend, const void *arguments,
                         void *const *b)
{
    const SoftmaxShape *s = arguments;
    ops->softmax(backend, s->batch, s->classes, b[0], b[1]);
}

static void check_softmax(Checker *checker)
{
    static const double ranges[] = {1.0, 5.0, 0.01, 40.0, 1000.0};
    SoftmaxShape s;
    Trial trial = {.arguments = &s, .call = call_softmax};
    for (int i = 0, count = random_trials(checker, 30, 4); i < count + MANY; i++) {
        s = (SoftmaxShape){i % 6 == 0 ? 50 : between(checker, 1, 70),
                           i % 2 == 0 ? 10 : between(checker, 1, 40)};
        if (i >= count)
            s = (SoftmaxShape){3, many[i - count]};
        double range = ranges[i % 5];
        snprintf(trial.shape, sizeof trial.shape, "batch %d, classes %d, logits up to %g", s.batch,
                 s.classes, range);
        size_t elements = (size_t)s.batch * (size_t)s.classes;
        trial_random(checker, &trial, "logits", elements, -range, range);
        trial_result(&trial, "probabilities", elements, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_loss(const Operations *ops, Backend *backend, const void *arguments,
                      void *const *b)
{
    ops->loss(backend, arguments, b[0], b[1], b[2], b[3], b[4]);
}

/* Fills in probabilities of a kind that depends on `number`; returns whether all are finite. */
static bool loss_probabilities(Checker *checker, const LossParams *s, int number, float *p,
                               const uint8_t *labels)
{
    size_t classes = (size_t)s->classes, count = (size_t)s->batch * classes;
    double range = number % 7 == 3 ? 200.0 : 4.0; /* 200: probabilities of 0 or 1 */
    float *logits = must_allocate(count * sizeof *logits);
    for (size_t i = 0; i < count; i++)
        logits[i] = number % 7 == 5 ? 0.25f /* all equal: the first one counts as the maximum */
                                    : (float)uniform(checker, -range, range);
    checker->plain.operations->softmax(checker->plain.backend, s->batch, s->classes, logits, p);
    free(logits);
    if (number % 7 != 6)
        return true;
    p[count - classes + labels[s->batch - 1]] = INFINITY;
    return false;
}

static void check_loss(Checker *checker)
{
    static const double coefficients[][2] = {{0.5, 1.0}, {1.0, 0.0}, {0.0, 2.5}, {-0.5, 1.5}};
    LossParams s;
    Trial trial = {.arguments = &s, .call = call_loss};
    for (int i = 0, trials = random_trials(checker, 56, 4); i < trials + MANY; i++) {
        s = (LossParams){.batch = i % 4 == 0 ? 50 : between(checker, 1, 70),
                         .classes = i % 3 == 0 ? between(checker, 1, 40) : 10,
                         .kind = i % 2 ? LOSS_CROSS_ENTROPY : LOSS_SBS,
                         .mse = coefficients[i / 2 % 4][0],
                         .kl = coefficients[i / 2 % 4][1]};
        if (i >= trials)
            s.batch = 3, s.classes = many[i - trials];
        size_t batch = (size_t)s.batch, count = batch * (size_t)s.classes;
        float *p = trial_floats(&trial, "probabilities", INPUT, count);
        uint8_t *labels = trial_bytes(&trial, "labels", INPUT, BYTES, batch);
        for (size_t b = 0; b < batch; b++)
            labels[b] = (uint8_t)between(checker, 0, s.classes < 256 ? s.classes - 1 : 255);
        bool finite = loss_probabilities(checker, &s, i, p, labels);
        StepState *step_state = trial_bytes(&trial, "step_state", INPUT, BYTES, sizeof *step_state);
        step_state->step = (uint32_t)between(checker, 0, 1000);
        Totals *totals = trial_bytes(&trial, "totals", CHANGED, TOTALS, sizeof *totals);
        *totals = (Totals){.loss = uniform(checker, 0.0, 100.0),
                           .batch_loss = 7.0,
                           .correct = (uint64_t)between(checker, 0, 1000),
                           .batch_correct = 99,
                           .first_nonfinite_step = i % 14 == 13 ? 5 : 0};
        if (finite && i % 5 != 4)
            trial_result(&trial, "dlogits", count, 0.0);
        else
            trial_absent(&trial, "dlogits");
        snprintf(trial.shape, sizeof trial.shape,
                 "batch %d, classes %d, kind %d, mse %g, kl %g, %s", s.batch, s.classes,
                 (int)s.kind, s.mse, s.kl, finite ? "finite" : "infinite");
        check_trial(checker, &trial);
    }
}

/* ---- the derivative, through the softmax ---- */

enum { LOSS_BATCH = 4, LOSS_CLASSES = 10, LOSS_COUNT = LOSS_BATCH * LOSS_CLASSES };

typedef struct LossContext {
    LossParams shape;
    float logits[LOSS_COUNT], probabilities[LOSS_COUNT];
    uint8_t labels[LOSS_BATCH];
    StepState step_state;
} LossContext;

static double loss_value(const void *context)
{
    const LossContext *c = context;
    float probabilities[LOSS_COUNT];
    Totals totals = {0};
    definition.operations->softmax(definition.backend, LOSS_BATCH, LOSS_CLASSES, c->logits,
                                   probabilities);
    definition.operations->loss(definition.backend, &c->shape, probabilities, c->labels,
                                &c->step_state, &totals, NULL);
    return totals.batch_loss;
}

static void loss_has_its_derivative(void **state)
{
    (void)state;
    definition_open();
    static const LossParams shapes[] = {
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
        definition.operations->softmax(definition.backend, LOSS_BATCH, LOSS_CLASSES, c.logits,
                                       c.probabilities);
        definition.operations->loss(definition.backend, &c.shape, c.probabilities, c.labels,
                                    &c.step_state, &totals, dlogits);
        assert_derivative("of the loss", c.logits, dlogits, LOSS_COUNT, 0.05, 1e-4, loss_value, &c);
    }
    definition_close();
}

/* By hand: -log p of the label is log 2 or log 4, and the squares sum to 0.5 or 0.75. */
static void loss_adds_up(void **state)
{
    (void)state;
    definition_open();
    const float p[] = {0.5f, 0.5f, 0.0f, 0.0f, 0.25f, 0.25f, 0.25f, 0.25f};
    const uint8_t labels[] = {1, 0};
    const StepState step_state = {.step = 6};
    LossParams shape = {2, 4, LOSS_SBS, 0.5, 1.0};
    Totals totals = {.loss = 10.0, .correct = 3};
    double expected = (0.5 * 0.5 + log(2.0) + 0.5 * 0.75 + log(4.0)) / 4.0 / 1.5;
    definition.operations->loss(definition.backend, &shape, p, labels, &step_state, &totals, NULL);
    assert_true(fabs(totals.batch_loss - expected) < 1e-12);
    assert_true(fabs(totals.loss - 10.0 - expected) < 1e-12);
    /* The first of equal probabilities counts: the first image is wrong, the second right. */
    assert_int_equal(totals.batch_correct, 1);
    assert_int_equal(totals.correct, 4);
    assert_int_equal(totals.first_nonfinite_step, 0);

    shape.kind = LOSS_CROSS_ENTROPY;
    double first = log(2.0 * exp(0.5) + 2.0) - 0.5, second = log(4.0);
    totals.loss = 10.0;
    definition.operations->loss(definition.backend, &shape, p, labels, &step_state, &totals, NULL);
    assert_true(fabs(totals.batch_loss - 0.5 * (first + second)) < 1e-12);
    assert_true(fabs(totals.loss - 10.0 - (first + second)) < 1e-12);
    assert_int_equal(totals.correct, 5);
    shape.batch = 1; /* an image of a smaller batch counts as much as one of a larger batch */
    definition.operations->loss(definition.backend, &shape, p, labels, &step_state, &totals, NULL);
    assert_true(fabs(totals.batch_loss - first) < 1e-12);
    assert_true(fabs(totals.loss - 10.0 - (2.0 * first + second)) < 1e-12);
    shape.batch = 2;

    const float infinite[] = {INFINITY, 0.5f, 0.0f, 0.0f, 0.25f, 0.25f, 0.25f, 0.25f};
    const StepState later = {.step = 9};
    definition.operations->loss(definition.backend, &shape, infinite, labels, &step_state, &totals,
                                NULL);
    assert_int_equal(totals.first_nonfinite_step, 7);
    definition.operations->loss(definition.backend, &shape, infinite, labels, &later, &totals,
                                NULL);
    assert_int_equal(totals.first_nonfinite_step, 7); /* the first one is kept */
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"softmax", check_softmax, 1e-6, 5e-6, 0.0, 0.0},
    {"loss", check_loss, 1e-6, 5e-6, 0.0, 0.0},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(loss_has_its_derivative),
    cmocka_unit_test(loss_adds_up),
};

const OperationFamily loss_family = {cases, COUNT(cases), tests, COUNT(tests)};
