/* The median of measurements. */
#ifndef NNMF_MEDIAN_H
#define NNMF_MEDIAN_H

#include <stddef.h>

/* Sorts count >= 1 values and returns their median, the upper one if count is even. */
double median(double *values, size_t count);

#endif
