/* The pictures of `show`: sheets of arrays in host memory, with a caption and labels. The caller
 * frees the picture. Errors: out of memory, more than PICTURE_MAX_PIXELS. */
#ifndef NNMF_SHEETS_H
#define NNMF_SHEETS_H

#include "formats/picture.h"
#include "network/network.h"

#include <stddef.h>
#include <stdint.h>

enum { SHEET_TEXT = 160 };

/* Images with their labels, in rows. */
typedef struct SampleSheet {
    char caption[SHEET_TEXT];
    Extent extent; /* of one image, 1 or 3 channels */
    int columns;
    size_t count;                        /* the last row may be shorter */
    const float *images;                 /* (count, height, width, channels) in [0, 1] */
    const uint8_t *labels;               /* (count) */
    const char *const *class_names;      /* by label */
    const char (*row_texts)[SHEET_TEXT]; /* above each row; NULL: nothing */
} SampleSheet;
bool sheet_samples(const SampleSheet *sheet, Picture *picture, Error *error);

/* Non-negative weights of one NNMF layer. */
typedef struct WeightLayer {
    int index; /* in the published Sequential */
    int outputs, channels, kernel;
    const float *w; /* (outputs, kernel row, kernel column, channels) */
} WeightLayer;

/* Draws the layers in rows. A layer on an image (1 or 3 channels) is drawn as its patches; any
 * other as a table of windows with a row for each output and a column for each channel. Black is 0,
 * white the maximum weight of the same output. */
bool sheet_weights(const char *caption, const WeightLayer *layers, int layer_count,
                   Picture *picture, Error *error);

/* Images beside their reconstructions and the difference. */
typedef struct ReconstructionSheet {
    char caption[SHEET_TEXT];
    Extent extent;
    size_t count, first;          /* first: index of the first image, for its label */
    const float *images, *others; /* (count, height, width, channels) in [0, 1] */
    const double *errors;         /* (count) */
    const uint8_t *labels;        /* (count) */
    const char *const *class_names;
} ReconstructionSheet;
bool sheet_reconstructions(const ReconstructionSheet *sheet, Picture *picture, Error *error);

/* Draws counts[true class][predicted class], with each class's recall at the end of its row and its
 * precision below its column. */
bool sheet_confusion(const char *caption, uint64_t counts[DATASET_CLASSES][DATASET_CLASSES],
                     const char *const *class_names, Picture *picture, Error *error);

#endif
