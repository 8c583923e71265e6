/* What an NNMF layer makes of its input: the way back from h to an image. */
#ifndef NNMF_RECONSTRUCT_H
#define NNMF_RECONSTRUCT_H

#include "nnmf/operations.h"

/* One image (shape->batch is 1) in host memory, from h (rows, outputs), w (outputs, features) with
 * features ordered as unfold_forward does, and scale (rows) as it leaves it: every window is
 * r = h w times its L1 norm, 1 / scale; a pixel is the mean over the windows that hold it, 0 where
 * there is none. image: (height, width, channels). */
void reconstruct_image(const UnfoldShape *shape, int outputs, const float *h, const float *w,
                       const float *scale, float *image);

/* Root of the mean squared difference. */
double root_mean_square(const float *one, const float *other, size_t count);

#endif
