/* Compares the results of two runs. */
#include "run.h"

#include <math.h>
#include <string.h>

static void compare_floats(Checker *checker, int candidate, const char *name, const Trial *trial,
                           const Buffer *buffer, const float *result, const float *expected)
{
    size_t count = buffer->bytes / sizeof(float);
    double size = fmax(rms(expected, count), buffer->typical);
    double squares = 0.0, largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (trial->has_nan && isnan(expected[i]) && isnan(result[i]))
            continue;
        if (!isfinite(expected[i]) || !isfinite(result[i])) {
            report(checker, name, trial, "%s[%zu] is %g, plain %g", buffer->name, i,
                   (double)result[i], (double)expected[i]);
            return;
        }
        double difference = fabs((double)result[i] - expected[i]);
        squares += difference * difference;
        largest = fmax(largest, difference / fmax(size, fabs((double)expected[i])));
    }
    if (largest == 0.0)
        return;
    double norm = sqrt(squares / (double)count) / size, element = largest;
    Worst *worst = &checker->worst[checker->case_number][candidate];
    worst->norm = fmax(worst->norm, norm);
    worst->element = fmax(worst->element, element);
    bool tf32 = checker->candidates[candidate].cuda.precision == PRECISION_TF32;
    double norm_allowed = tf32 ? checker->now->tf32_norm : checker->now->norm;
    double element_allowed = tf32 ? checker->now->tf32_element : checker->now->element;
    /* A NaN fails this comparison. */
    if (norm <= norm_allowed && element <= element_allowed)
        return;
    size_t first = 0;
    double allowed = fmin(element_allowed, norm_allowed);
    while (first < count - 1 && !(fabs((double)result[first] - expected[first]) >
                                  allowed * fmax(size, fabs((double)expected[first]))))
        first++;
    report(checker, name, trial,
           "%s is off by %.2g (norm), %.2g (element): %s[%zu] is %.9g, "
           "plain %.9g",
           buffer->name, norm, element, buffer->name, first, (double)result[first],
           (double)expected[first]);
}

static void compare_doubles(Checker *checker, int candidate, const char *name, const Trial *trial,
                            const Buffer *buffer, const double *result, const double *expected)
{
    Worst *worst = &checker->worst[checker->case_number][candidate];
    for (size_t i = 0; i < buffer->bytes / sizeof(double); i++) {
        double error = fabs(result[i] - expected[i]) / fmax(fabs(expected[i]), buffer->typical);
        /* A NaN fails this comparison. */
        if (!(error <= checker->now->element)) {
            report(checker, name, trial, "%s[%zu] is %.17g, plain %.17g", buffer->name, i,
                   result[i], expected[i]);
            return;
        }
        worst->element = fmax(worst->element, error);
    }
}

static bool same_sum(double a, double b)
{
    return isfinite(b) ? fabs(a - b) <= 1e-6 * fabs(b) : !isfinite(a);
}

static void compare_totals(Checker *checker, const char *name, const Trial *trial,
                           const Totals *result, const Totals *expected)
{
    if (!same_sum(result->loss, expected->loss) ||
        !same_sum(result->batch_loss, expected->batch_loss))
        report(checker, name, trial, "loss %.12g of the batch %.12g, plain %.12g of %.12g",
               result->loss, result->batch_loss, expected->loss, expected->batch_loss);
    if (result->correct != expected->correct || result->batch_correct != expected->batch_correct ||
        result->first_nonfinite_step != expected->first_nonfinite_step)
        report(checker, name, trial, "counts of the totals differ");
}

void compare(Checker *checker, int candidate, const char *name, const Trial *trial, const Run *run,
             const Run *plain)
{
    const char *wrong = trial->verify ? trial->verify(trial, run->after) : NULL;
    if (wrong)
        report(checker, name, trial, "%s", wrong);
    for (int i = 0; i < trial->count; i++) {
        const Buffer *buffer = &trial->buffers[i];
        if (buffer->role != OUTPUT && buffer->role != CHANGED)
            continue;
        const uint8_t *result = run->after[i], *expected = plain->after[i];
        if (buffer->kind == FLOATS)
            compare_floats(checker, candidate, name, trial, buffer, run->after[i], plain->after[i]);
        else if (buffer->kind == DOUBLES)
            compare_doubles(checker, candidate, name, trial, buffer, run->after[i],
                            plain->after[i]);
        else if (buffer->kind == TOTALS)
            compare_totals(checker, name, trial, run->after[i], plain->after[i]);
        else
            for (size_t b = 0; b < buffer->bytes; b++)
                if (result[b] != expected[b]) {
                    report(checker, name, trial, "%s: byte %zu is %d, plain %d", buffer->name, b,
                           result[b], expected[b]);
                    break;
                }
    }
}

void compare_threads(Checker *checker, const char *name, const Trial *trial, const Run *run,
                     const Run *one_thread)
{
    for (int i = 0; i < trial->count; i++) {
        const Buffer *buffer = &trial->buffers[i];
        const uint8_t *a = run->after[i], *b = one_thread->after[i];
        if (!a || !b || memcmp(a, b, buffer->bytes) == 0)
            continue;
        size_t first = 0;
        while (a[first] == b[first])
            first++;
        report(checker, name, trial, "%s[%zu] is not what one thread gives", buffer->name,
               first / sizeof(float));
    }
}
