/*
 * Compares the derivatives of the plain version with central differences of s = sum(out * weights),
 * with random weights and summed in double, for every input element. The error of the four-point
 * rule is proportional to the fourth power of the step, so steps can be large enough for float32
 * results.
 */
#ifndef OPERATIONS_DEFINITION_H
#define OPERATIONS_DEFINITION_H

#include "nnmf/device.h"

/* The plain device, from definition_open to definition_close. */
extern Device definition;

/* Opens the plain device and restarts the random numbers. */
void definition_open(void);
void definition_close(void);

/* Returns a random number in [-1, 1). */
double noise(void);

/* Fills with random numbers of either sign and a magnitude between low and high: with low > 0 they
 * stay away from the kink of ReLU and |W| at 0. */
void fill(float *values, size_t count, double low, double high);

double dot(const float *a, const float *b, size_t count);

/* Fails unless `derivative` is the derivative of value(context) with respect to x (count), within
 * `tolerance` in the relative 2-norm. */
void assert_derivative(const char *name, float *x, const float *derivative, size_t count,
                       double step, double tolerance, double (*value)(const void *),
                       const void *context);

#endif
