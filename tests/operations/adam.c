/* Adam and the step state. */
#include "checker.h"
#include "definition.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEGMENTS = 5 };

typedef struct AdamCall {
    int count;
    AdamSegment segments[SEGMENTS];
} AdamCall;

static void call_adam(const Operations *ops, Backend *backend, const void *arguments,
                      void *const *b)
{
    const AdamCall *call = arguments;
    ops->adam(backend, call->segments, call->count, b[0], b[1], b[2], b[3], b[4]);
}

static bool in_a_segment(const AdamCall *call, size_t element)
{
    for (int s = 0; s < call->count; s++)
        if (element >= call->segments[s].offset &&
            element - call->segments[s].offset < call->segments[s].elements)
            return true;
    return false;
}

static const char *gaps_are_untouched(const Trial *trial, void *const *after)
{
    enum { FIRST_CHANGED = 2 };
    for (int i = FIRST_CHANGED; i < trial->count; i++) {
        const float *was = trial->buffers[i].before, *is = after[i];
        for (size_t e = 0; e < trial->buffers[i].bytes / sizeof(float); e++)
            if (!in_a_segment(trial->arguments, e) && memcmp(&was[e], &is[e], sizeof(float)) != 0)
                return "writes into a gap between the segments";
    }
    return NULL;
}

static void check_adam(Checker *checker)
{
    static const double sizes[] = {1.0, 1e-4, 1e-8, 1e-10};
    AdamCall call;
    Trial trial = {.arguments = &call, .call = call_adam, .verify = gaps_are_untouched};
    for (int i = 0; i < random_trials(checker, 40, 4); i++) {
        size_t end = (size_t)between(checker, 0, 3) * 16;
        call = (AdamCall){.count = between(checker, 1, SEGMENTS)};
        for (int s = 0; s < call.count; s++) {
            size_t elements = (size_t)between(checker, 1, s == 0 ? 9000 : s % 2 ? 30 : 700);
            call.segments[s] =
                (AdamSegment){end, elements, between(checker, 0, LEARNING_RATES - 1)};
            end += (elements + 15) / 16 * 16 + (size_t)between(checker, 0, 2) * 16;
        }
        StepState *step_state = trial_bytes(&trial, "step_state", INPUT, BYTES, sizeof *step_state);
        step_state->updates = i % 4 == 0 ? 0 : (uint64_t)between(checker, 0, 400000);
        for (int g = 0; g < LEARNING_RATES; g++)
            step_state->learning_rates[g] = pow(10.0, -between(checker, 1, 9));
        double size = sizes[i % 4];
        bool fresh = step_state->updates == 0;
        snprintf(trial.shape, sizeof trial.shape,
                 "%d segments, %zu elements, %llu updates, gradients of %g", call.count, end,
                 (unsigned long long)step_state->updates, size);
        trial_random(checker, &trial, "gradients", end, -size, size);
        float *parameters = trial_floats(&trial, "parameters", CHANGED, end);
        float *m = trial_floats(&trial, "m", CHANGED, end);
        float *v = trial_floats(&trial, "v", CHANGED, end);
        for (size_t e = 0; e < end; e++) {
            /* Parameters of 0 leave only the step, which would be small beside a parameter. */
            parameters[e] = i % 2 ? (float)uniform(checker, -1.0, 1.0) : 0.0f;
            m[e] = fresh ? 0.0f : (float)uniform(checker, -size, size);
            v[e] = fresh ? 0.0f : (float)uniform(checker, 0.0, size * size);
        }
        check_trial(checker, &trial);
    }
}

static void call_advance(const Operations *ops, Backend *backend, const void *arguments,
                         void *const *b)
{
    (void)arguments;
    ops->advance(backend, b[0]);
}

static void check_advance(Checker *checker)
{
    Trial trial = {.call = call_advance};
    for (int i = 0; i < 4; i++) {
        StepState *step_state =
            trial_bytes(&trial, "step_state", CHANGED, BYTES, sizeof *step_state);
        *step_state = (StepState){.epoch = (uint32_t)between(checker, 0, 400),
                                  .step = (uint32_t)between(checker, 0, 1000),
                                  .updates = i ? (uint64_t)between(checker, 0, 400000) : UINT32_MAX,
                                  .learning_rates = {0.001, 0.01, uniform(checker, 0.0, 1.0)}};
        snprintf(trial.shape, sizeof trial.shape, "step %u", step_state->step);
        check_trial(checker, &trial);
    }
}

/* ---- Adam from its algorithm ---- */

/* Algorithm 1 of Kingma and Ba (2015) as printed, with explicit corrected moments. */
static void adam_follows_its_algorithm(void **state)
{
    (void)state;
    definition_open();
    enum { ELEMENTS = 6, STEPS = 4 };
    static const double sizes[ELEMENTS] = {1.0, 1e-2, 1e-6, 1e-8, 1e-9, 0.0};
    float gradients[ELEMENTS], parameters[ELEMENTS] = {0}, first[ELEMENTS] = {0};
    float second[ELEMENTS] = {0};
    double p[ELEMENTS] = {0}, m[ELEMENTS] = {0}, v[ELEMENTS] = {0};
    const AdamSegment segments[] = {{0, 3, 1}, {3, 3, 0}};
    StepState step_state = {.learning_rates = {0.001, 0.01, 1.0}};
    for (int t = 1; t <= STEPS; t++) {
        for (int i = 0; i < ELEMENTS; i++) {
            double g = gradients[i] = (float)(sizes[i] * noise());
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            double corrected_m = m[i] / (1.0 - pow(0.9, t));
            double corrected_v = v[i] / (1.0 - pow(0.999, t));
            p[i] -= (i < 3 ? 0.01 : 0.001) * corrected_m / (sqrt(corrected_v) + 1e-8);
        }
        definition.operations->adam(definition.backend, segments, 2, &step_state, gradients,
                                    parameters, first, second);
        definition.operations->advance(definition.backend, &step_state);
        for (int i = 0; i < ELEMENTS; i++)
            if (!(fabs(parameters[i] - p[i]) <= 1e-6 * fabs(p[i])))
                fail_msg("step %d, parameter %d is %.9g, expected %.9g", t, i,
                         (double)parameters[i], p[i]);
    }
    assert_int_equal(step_state.step, STEPS);
    assert_int_equal(step_state.updates, STEPS);
    definition_close();
}

/* ---- the family ---- */

static const OperationCase cases[] = {
    {"adam", check_adam, 4e-7, 1.4e-6, 0.0, 0.0},
    {"advance", check_advance, 0.0, 0.0, 0.0, 0.0},
};

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(adam_follows_its_algorithm),
};

const OperationFamily adam_family = {cases, COUNT(cases), tests, COUNT(tests)};
