/* Scales a picture of any size to a dataset's image size. */
#ifndef NNMF_RESAMPLE_H
#define NNMF_RESAMPLE_H

#include "formats/picture.h"

/* Scales the largest central region of `picture` with the aspect ratio of width x height to that
 * size: area average if it shrinks, bilinear between pixel centres if it grows. Writes pixels
 * (channels, height, width), as datasets store them. RGB becomes grey by
 * 0.2989 R + 0.587 G + 0.114 B (augment.h), grey is repeated to become RGB. A picture that already
 * has this size is copied. */
void resample_picture(const Picture *picture, int channels, int height, int width, uint8_t *pixels);

#endif
