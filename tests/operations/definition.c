#include "definition.h"

#include "checker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

Device definition;
static uint32_t drawn;

void definition_open(void)
{
    Error error = {0};
    assert_true(device_open_plain(&definition, &error));
    drawn = 0;
}

void definition_close(void)
{
    device_close(&definition);
}

double noise(void)
{
    Philox bits = draw(77, DRAW_WEIGHTS, 0, 0, drawn++);
    return 2.0 * (double)philox_uniform(bits.v[0]) - 1.0;
}

void fill(float *values, size_t count, double low, double high)
{
    for (size_t i = 0; i < count; i++) {
        double value = noise();
        values[i] = (float)(copysign(low, value) + value * (high - low));
    }
}

double dot(const float *a, const float *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* Returns the derivative of value(context) with respect to *x, by the four-point rule. */
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

void assert_derivative(const char *name, float *x, const float *derivative, size_t count,
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
