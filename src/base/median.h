/* The median of measurements. */
#ifndef NNMF_MEDIAN_H
#define NNMF_MEDIAN_H

#include <stddef.h>

/* Of one value or more, which it sorts; of an even number the larger of the two in the middle. */
double median(double *values, size_t count);

#endif
