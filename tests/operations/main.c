/*
 * Checks every operation of every device against its definition, the plain version; the derivatives
 * of the plain version against finite differences; and the checker itself with wrong devices.
 *
 *     test_operations [SEED]
 *
 * NNMF_TEST_QUICK=1: fewer and smaller random shapes, no tests of the checker itself.
 */
#include "checker.h"

#include "nnmf/memory.h"
#include "operations/timed.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const OperationFamily *const families[] = {
#define FAMILY(family) &family##_family,
    OPERATION_FAMILIES(FAMILY)
#undef FAMILY
};

/* The cases of all families, in this order. */
static OperationCase operation_cases[OPERATION_COUNT];
static int case_count;

static Checker checker;

static void operation_agrees_with_plain(void **state)
{
    const OperationCase *operation = *state;
    unsigned before = checker.failures;
    checker_run(&checker, operation, (uint32_t)(operation - operation_cases));
    assert_int_equal(checker.failures - before, 0);
}

/* Checks that the runs without memory did fail: operations on tiles need scratch memory. */
static void shortage_of_memory_was_met(void **state)
{
    (void)state;
    assert_true(checker.shortages > 0);
}

/* There is enough memory for a small call, and not enough for a larger one after it. */
static void shortage_after_success(void **state)
{
    (void)state;
    enum { ROWS = 9, FEATURES = 40, OUTPUTS = 12 };
    float x[ROWS * FEATURES], w[OUTPUTS * FEATURES], h[ROWS * OUTPUTS], again[ROWS * OUTPUTS];
    for (size_t i = 0; i < ROWS * FEATURES; i++)
        x[i] = 1.0f / (float)FEATURES;
    for (size_t i = 0; i < OUTPUTS * FEATURES; i++)
        w[i] = (float)(1 + i % 7) / (4 * FEATURES);
    for (int set = 0; cpu_instruction_set(set); set++) {
        Device device;
        Error error = {0};
        assert_true(device_open_cpu(&device, &(CpuOptions){cpu_instruction_set(set), 2}, &error));
        const Operations *ops = device.operations;
        NnmfParams small = {.rows = 1, .features = 4, .outputs = 2, .iterations = 3};
        NnmfParams large = {
            .rows = ROWS, .features = FEATURES, .outputs = OUTPUTS, .iterations = 3};
        ops->nnmf_forward(device.backend, &small, x, w, h);
        assert_true(ops->finish(device.backend, &error));
        memory_fail_after(0);
        ops->nnmf_forward(device.backend, &large, x, w, h);
        ops->nnmf_forward(device.backend, &large, x, w, h);
        memory_fail_after(-1);
        assert_false(ops->finish(device.backend, &error));
        assert_non_null(strstr(error.text, "out of memory"));
        error = (Error){0};
        assert_true(ops->finish(device.backend, &error));
        ops->nnmf_forward(device.backend, &small, x, w, again);
        assert_true(ops->finish(device.backend, &error));
        ops->nnmf_forward(device.backend, &large, x, w, h);
        ops->nnmf_forward(device.backend, &large, x, w, again);
        assert_true(ops->finish(device.backend, &error));
        assert_memory_equal(h, again, sizeof h);
        device_close(&device);
    }
}

/* ---- wrong devices ---- */

static Operations right; /* the plain table, which the wrong ones wrap */
static unsigned calls;

static void off_by_a_thousandth(Backend *backend, const NnmfParams *s, const float *x,
                                const float *w, float *h)
{
    right.nnmf_forward(backend, s, x, w, h);
    h[0] *= 1.001f;
}

static void off_in_the_last_element(Backend *backend, const LayerWeights *layers, int count)
{
    right.weights_forward(backend, layers, count);
    const LayerWeights *last = &layers[count - 1];
    const WeightShape *s = &last->shape;
    last->w[(size_t)s->outputs * (size_t)s->channels * (size_t)s->window - 1] *= 0.999f;
}

static void without_the_last_layer(Backend *backend, const LayerWeights *layers, int count)
{
    right.weights_backward(backend, layers, count > 1 ? count - 1 : 1);
}

static void one_past_the_end(Backend *backend, size_t rows, int channels, int batches,
                             const float *in, const float *weight, const float *bias, float *out,
                             float *mean, float *rstd)
{
    right.batchnorm_forward(backend, rows, channels, batches, in, weight, bias, out, mean, rstd);
    mean[batches * channels] = 0.0f;
}

static void one_before_the_start(Backend *backend, const ConvolutionShape *s, const float *in,
                                 const float *weight, const float *bias, float *out)
{
    right.convolution_forward(backend, s, in, weight, bias, out);
    out[-1] = out[0];
}

static void one_not_written(Backend *backend, int batch, int classes, const float *logits,
                            float *probabilities)
{
    float last = probabilities[batch * classes - 1];
    right.softmax(backend, batch, classes, logits, probabilities);
    probabilities[batch * classes - 1] = last;
}

static void changes_its_input(Backend *backend, const UnfoldShape *s, const float *in, float *x,
                              float *scale)
{
    right.unfold_forward(backend, s, in, x, scale);
    ((float *)(uintptr_t)in)[0] += 1.0f;
}

static void drops_a_nan(Backend *backend, const UnfoldShape *s, const float *in, float *x,
                        float *scale)
{
    right.unfold_forward(backend, s, in, x, scale);
    if (isnan(x[0]))
        x[0] = 0.0f;
}

static void fills_the_gaps(Backend *backend, const AdamSegment *segments, int segment_count,
                           const StepState *step_state, const float *gradients, float *parameters,
                           float *m, float *v)
{
    AdamSegment all = {.group = segments[0].group};
    all.elements = segments[segment_count - 1].offset + segments[segment_count - 1].elements;
    right.adam(backend, &all, 1, step_state, gradients, parameters, m, v);
}

/* Flips the last bit in every other call, like a sum in changing order: within every tolerance, but
 * the result depends on the threads. */
static void not_reproducible(Backend *backend, const NnmfParams *s, const float *x, const float *w,
                             const float *h, const float *dh, float *dx, float *dw)
{
    right.nnmf_backward(backend, s, x, w, h, dh, dx, dw);
    uint32_t bits;
    memcpy(&bits, dw, sizeof bits);
    bits ^= calls++ & 1u;
    memcpy(dw, &bits, sizeof bits);
}

static void miscounts(Backend *backend, const LossParams *s, const float *probabilities,
                      const uint8_t *labels, const StepState *step_state, Totals *totals,
                      float *dlogits)
{
    right.loss(backend, s, probabilities, labels, step_state, totals, dlogits);
    totals->correct++;
}

static bool open_wrong(const Candidate *candidate, int threads, Device *device, Error *error)
{
    (void)threads;
    if (!device_open_plain(device, error))
        return false;
    device->operations = candidate->table;
    return true;
}

static const OperationCase *find_case(const char *name)
{
    for (int i = 0; i < case_count; i++)
        if (strcmp(operation_cases[i].name, name) == 0)
            return &operation_cases[i];
    fail_msg("no case for %s", name);
    return NULL;
}

/* Searches by name: if an operation had two cases, another would have none. */
static void every_operation_has_a_case(void **state)
{
    (void)state;
    for (int i = 0; i < OPERATION_COUNT; i++)
        find_case(timed_members[i]);
    assert_int_equal(case_count, OPERATION_COUNT);
}

/* A timed device waits after every operation, and yet the next finish reports a failure, once. */
static void timed_device_reports_failures(void **state)
{
    (void)state;
    enum { ROWS = 9, FEATURES = 40, OUTPUTS = 12 };
    static const float x[ROWS * FEATURES], w[OUTPUTS * FEATURES];
    float h[ROWS * OUTPUTS];
    Device device, timed;
    Error error = {0};
    NnmfParams params = {.rows = ROWS, .features = FEATURES, .outputs = OUTPUTS, .iterations = 3};
    assert_true(device_open_cpu(&device, &(CpuOptions){cpu_instruction_set(0), 2}, &error));
    timed_open(&device, &timed);
    memory_fail_after(0);
    timed.operations->nnmf_forward(timed.backend, &params, x, w, h);
    memory_fail_after(-1);
    timed.operations->nnmf_forward(timed.backend, &params, x, w, h);
    assert_false(timed.operations->finish(timed.backend, &error));
    assert_non_null(strstr(error.text, "out of memory"));
    assert_true(timed.operations->finish(timed.backend, &error));
    device_close(&device);
}

/* Runs one case on a device with this table; returns the number of failures and the first one. */
static unsigned failures_of(const Operations *table, const char *operation, char *message,
                            size_t size)
{
    static Checker other;
    const OperationCase *found = find_case(operation);
    Candidate candidate = {.name = "made up", .open = open_wrong, .table = table};
    assert_true(checker_open(&other, checker.seed, true));
    other.quiet = true;
    assert_true(checker_only(&other, &candidate));
    checker_run(&other, found, (uint32_t)(found - operation_cases));
    snprintf(message, size, "%s", other.message);
    checker_close(&other);
    return other.failures;
}

static void expect_found(const Operations *table, const char *operation, const char *expected)
{
    char message[sizeof checker.message];
    if (failures_of(table, operation, message, sizeof message) == 0)
        fail_msg("%s: nothing was found, expected '%s'", operation, expected);
    if (!strstr(message, expected) || !strstr(message, operation))
        fail_msg("%s: '%s', expected '%s'", operation, message, expected);
}

static void wrong_devices_are_found(void **state)
{
    (void)state;
    Device plain;
    Error error = {0};
    assert_true(device_open_plain(&plain, &error));
    right = *plain.operations;
#define EXPECT_FOUND(entry, function, expected)                                                    \
    do {                                                                                           \
        Operations wrong = right;                                                                  \
        wrong.entry = function;                                                                    \
        expect_found(&wrong, #entry, expected);                                                    \
    } while (0)
    EXPECT_FOUND(nnmf_forward, off_by_a_thousandth, "h is off by");
    EXPECT_FOUND(weights_forward, off_in_the_last_element, "w of layer 0 is off by");
    EXPECT_FOUND(weights_backward, without_the_last_layer, "d_raw of layer 5[0] is ");
    EXPECT_FOUND(batchnorm_forward, one_past_the_end, "writes 1 bytes past the end of mean");
    EXPECT_FOUND(convolution_forward, one_before_the_start, "bytes before the start of out");
    EXPECT_FOUND(softmax, one_not_written, "probabilities[499] is ");
    EXPECT_FOUND(unfold_forward, changes_its_input, "changes its input in");
    EXPECT_FOUND(unfold_forward, drops_a_nan, "x[0] is 0, plain");
    EXPECT_FOUND(adam, fills_the_gaps, "writes into a gap");
    EXPECT_FOUND(nnmf_backward, not_reproducible, "dw[0] is not what one thread gives");
    EXPECT_FOUND(loss, miscounts, "counts of the totals differ");
    device_close(&plain);
}

static void right_devices_are_not_blamed(void **state)
{
    (void)state;
    Device plain;
    Error error = {0};
    char message[sizeof checker.message];
    assert_true(device_open_plain(&plain, &error));
    for (int i = 0; i < case_count; i++)
        if (failures_of(plain.operations, operation_cases[i].name, message, sizeof message) != 0)
            fail_msg("%s", message);
    device_close(&plain);
}

/* ---- all of it ---- */

static int print_worst(void **state)
{
    (void)state;
    printf("largest errors: relative 2-norm, largest of an element\n%-26s", "");
    for (int c = 0; c < checker.candidate_count; c++)
        printf("  %-17s", checker.candidates[c].name);
    printf("  allowed\n");
    for (int i = 0; i < case_count; i++) {
        printf("%-26s", operation_cases[i].name);
        for (int c = 0; c < checker.candidate_count; c++)
            printf("  %.1e  %.1e ", checker.worst[i][c].norm, checker.worst[i][c].element);
        printf("  %.1e  %.1e\n", operation_cases[i].norm, operation_cases[i].element);
    }
    return 0;
}

static void collect_cases(void)
{
    for (int f = 0; f < COUNT(families); f++)
        for (int i = 0; i < families[f]->case_count; i++) {
            assert_true(case_count < OPERATION_COUNT);
            operation_cases[case_count++] = families[f]->cases[i];
        }
}

/* Lists the comparisons with plain, the tests of the checker, and the tests of the families. */
static int list_tests(struct CMUnitTest *tests, int capacity)
{
    static const struct CMUnitTest own[] = {
        cmocka_unit_test(every_operation_has_a_case),
        cmocka_unit_test(shortage_of_memory_was_met),
        cmocka_unit_test(shortage_after_success),
        cmocka_unit_test(timed_device_reports_failures),
    };
    /* They try the checker on plain devices, so one build without NNMF_TEST_QUICK is enough. */
    static const struct CMUnitTest of_checker[] = {
        cmocka_unit_test(wrong_devices_are_found),
        cmocka_unit_test(right_devices_are_not_blamed),
    };
    int count = 0;
    for (int i = 0; i < case_count; i++)
        tests[count++] = (struct CMUnitTest){.name = operation_cases[i].name,
                                             .test_func = operation_agrees_with_plain,
                                             .initial_state = &operation_cases[i]};
    for (int i = 0; i < COUNT(own); i++)
        tests[count++] = own[i];
    for (int i = 0; !checker.quick && i < COUNT(of_checker); i++)
        tests[count++] = of_checker[i];
    for (int f = 0; f < COUNT(families); f++)
        for (int i = 0; i < families[f]->test_count; i++) {
            assert_true(count < capacity);
            tests[count++] = families[f]->tests[i];
        }
    return count;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    const char *quick = getenv("NNMF_TEST_QUICK");
    printf("seed %" PRIu64 "\n", seed);
    collect_cases();
    if (!checker_open(&checker, seed, quick && strcmp(quick, "0") != 0))
        return 1;
    struct CMUnitTest all[3 * OPERATION_COUNT];
    int count = list_tests(all, COUNT(all));
    struct CMUnitTest tests[count];
    memcpy(tests, all, sizeof tests);
    int failed = cmocka_run_group_tests(tests, NULL, print_worst);
    checker_close(&checker);
    return failed;
}
