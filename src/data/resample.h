/* A picture of any size as an image of a data set's size. */
#ifndef NNMF_RESAMPLE_H
#define NNMF_RESAMPLE_H

#include "formats/picture.h"

/* The largest region in the middle of `picture` that has the shape of width x height, scaled to
 * that size: an area average where it shrinks, bilinear between pixel centres where it grows.
 * Into pixels (channels, height, width), as a data set's are. RGB becomes grey by
 * 0.2989 R + 0.587 G + 0.114 B (as augment.h), grey becomes RGB by repeating it. A picture of that
 * size already stays as it is. */
void resample_picture(const Picture *picture, int channels, int height, int width, uint8_t *pixels);

#endif
