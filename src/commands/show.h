/* The sheets of `show`: each is a picture made from what the settings say. */
#ifndef NNMF_SHOW_H
#define NNMF_SHOW_H

#include "formats/picture.h"
#include "settings/settings.h"

/* --samples: what training sees. */
bool show_samples(const Settings *settings, Picture *picture, Error *error);

/* The normalised weights of the NNMF layers, or of --layer. */
bool show_weights(const Settings *settings, Picture *picture, Error *error);

/* --reconstruct: what the first NNMF layer's h says of an image; prints the errors. */
bool show_reconstructions(const Settings *settings, Picture *picture, Error *error);

/* --confusion: which class is taken for which; prints the numbers. */
bool show_confusion(const Settings *settings, Picture *picture, Error *error);

#endif
