/*
 * The plain version's derivatives against central differences: of s = sum(out * weights) with
 * random weights, summed in double, for every input element. The four-point rule's own error goes
 * with the fourth power of the step, so that steps can be large enough for float32 results.
 */
#ifndef OPERATIONS_DEFINITION_H
#define OPERATIONS_DEFINITION_H

#include "nnmf/device.h"

/* The plain device, from definition_open to definition_close. */
extern Device definition;

/* Random numbers begin anew. */
void definition_open(void);
void definition_close(void);

/* Uniform in [-1, 1). */
double noise(void);

/* Between low and high in magnitude, of either sign: away from 0, where ReLU and |W| have a
 * kink. */
void fill(float *values, size_t count, double low, double high);

double dot(const float *a, const float *b, size_t count);

/* Fails unless `derivative` is that of value with respect to x, relative 2-norm. */
void assert_derivative(const char *name, float *x, const float *derivative, size_t count,
                       double step, double tolerance, double (*value)(const void *),
                       const void *context);

#endif
