/* The pictures of `show`. After success the caller frees *picture. */
#ifndef NNMF_SHOW_H
#define NNMF_SHOW_H

#include "formats/picture.h"
#include "settings/settings.h"

/* --samples: augmented training images. */
bool show_samples(const Settings *settings, Picture *picture, Error *error);

/* The normalised weights of the NNMF layers, or of --layer. */
bool show_weights(const Settings *settings, Picture *picture, Error *error);

/* --reconstruct: images and their reconstructions from h of the first NNMF layer; prints the
 * errors. */
bool show_reconstructions(const Settings *settings, Picture *picture, Error *error);

/* --confusion: the confusion matrix; prints its numbers. */
bool show_confusion(const Settings *settings, Picture *picture, Error *error);

#endif
