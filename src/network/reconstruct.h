/* An NNMF layer's reconstruction of its input from its output h. */
#ifndef NNMF_RECONSTRUCT_H
#define NNMF_RECONSTRUCT_H

#include "nnmf/operations.h"

/* Reconstructs one image (height, width, channels) in host memory; shape->batch is 1. h is (rows,
 * outputs), w (outputs, features); the order of the features and scale (rows) are unfold_forward's.
 * Each window is r = h w times its L1 norm, 1 / scale; a pixel is the mean over the windows that
 * contain it, 0 if there is none. */
void reconstruct_image(const UnfoldShape *shape, int outputs, const float *h, const float *w,
                       const float *scale, float *image);

/* Returns the root mean square of the difference. */
double root_mean_square(const float *one, const float *other, size_t count);

#endif
