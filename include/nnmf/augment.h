/*
 * Augmentation of one image: the random draws, and the colour operations on one pixel. Inline, so
 * that every device computes the same result. The colour operations are those of torchvision 0.14
 * (torchvision/transforms/functional_tensor.py) on values in [0, 1].
 */
#ifndef NNMF_AUGMENT_H
#define NNMF_AUGMENT_H

#include "nnmf/philox.h"

#include <math.h>
#include <stdbool.h>

typedef enum AugmentKind {
    AUGMENT_NONE,      /* centre crop */
    AUGMENT_REFERENCE, /* as published: one draw for the whole batch */
    AUGMENT_IMAGE,     /* one draw for each image */
} AugmentKind;

typedef enum ColourOperation {
    COLOUR_NOTHING,
    COLOUR_BRIGHTNESS,
    COLOUR_CONTRAST,
    COLOUR_SATURATION,
    COLOUR_HUE,
} ColourOperation;

enum { COLOUR_OPERATIONS = 4 };

typedef struct Augmentation {
    int32_t top, left;                      /* corner of the crop, in pixels */
    int32_t flip;                           /* 1: flip horizontally */
    int32_t order[COLOUR_OPERATIONS];       /* ColourOperation, first to last */
    float brightness, contrast, saturation; /* factors; 1 has no effect */
    float hue;                              /* shift in turns of the colour circle */
} Augmentation;

/* Maps 32 random bits to a uniform integer in [0, bound). */
static inline NNMF_HD uint32_t augment_below(uint32_t bits, uint32_t bound)
{
    return (uint32_t)(((uint64_t)bits * bound) >> 32);
}

/* Maps 32 random bits to a uniform float in [low, high). */
static inline NNMF_HD float augment_between(uint32_t bits, float low, float high)
{
    return low + (high - low) * philox_uniform(bits);
}

/* Draws the augmentation of image `position` in the batch of (epoch, step). slack_y, slack_x: image
 * size minus crop size, in pixels. colour: the images have three channels and are also flipped and
 * recoloured; otherwise they are only cropped. */
static inline NNMF_HD Augmentation augment_draw(AugmentKind kind, uint64_t seed, uint32_t epoch,
                                                uint32_t step, uint32_t position, int slack_y,
                                                int slack_x, bool colour)
{
    Augmentation a;
    a.top = slack_y / 2;
    a.left = slack_x / 2;
    a.flip = 0;
    for (int i = 0; i < COLOUR_OPERATIONS; i++)
        a.order[i] = COLOUR_NOTHING;
    a.brightness = a.contrast = a.saturation = 1.0f;
    a.hue = 0.0f;
    if (kind == AUGMENT_NONE)
        return a;

    uint32_t image = kind == AUGMENT_IMAGE ? position : 0;
    Philox place = draw(seed, DRAW_AUGMENT, epoch, step, 2 * image);
    a.top = (int32_t)augment_below(place.v[0], (uint32_t)slack_y + 1);
    a.left = (int32_t)augment_below(place.v[1], (uint32_t)slack_x + 1);
    if (!colour)
        return a;

    a.flip = (int32_t)(place.v[2] >> 31);
    for (int i = 0; i < COLOUR_OPERATIONS; i++)
        a.order[i] = COLOUR_BRIGHTNESS + i;
    uint32_t which = augment_below(place.v[3], 24); /* one of the 4! orders, Fisher-Yates */
    for (uint32_t i = COLOUR_OPERATIONS - 1; i > 0; i--) {
        uint32_t j = which % (i + 1);
        which /= i + 1;
        int32_t swapped = a.order[i];
        a.order[i] = a.order[j];
        a.order[j] = swapped;
    }
    Philox factor = draw(seed, DRAW_AUGMENT, epoch, step, 2 * image + 1);
    a.brightness = augment_between(factor.v[0], 0.5f, 1.5f);
    a.contrast = augment_between(factor.v[1], 0.9f, 1.1f);
    a.saturation = augment_between(factor.v[2], 0.9f, 1.1f);
    a.hue = augment_between(factor.v[3], -0.15f, 0.15f);
    return a;
}

static inline NNMF_HD float augment_grey(const float rgb[3])
{
    return 0.2989f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

static inline NNMF_HD float augment_clamp(float value)
{
    return value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
}

static inline NNMF_HD void augment_blend(float rgb[3], float other, float factor)
{
    for (int c = 0; c < 3; c++)
        rgb[c] = augment_clamp(factor * rgb[c] + (1.0f - factor) * other);
}

/* Returns value - floor(value) for -1 <= value < 2; exact, and without a library call. */
static inline NNMF_HD float augment_wrap(float value)
{
    return value < 0.0f ? value + 1.0f : value >= 1.0f ? value - 1.0f : value;
}

/* Rotates the hue by `shift` turns of the colour circle: RGB to HSV and back. */
static inline NNMF_HD void augment_hue(float rgb[3], float shift)
{
    float r = rgb[0], g = rgb[1], b = rgb[2];
    float high = r > g ? r : g, low = r > g ? g : r;
    high = b > high ? b : high;
    low = b < low ? b : low;
    float range = high - low;
    float saturation = 0.0f, hue = 0.0f;
    if (range > 0.0f) {
        saturation = range / high;
        float rc = (high - r) / range, gc = (high - g) / range, bc = (high - b) / range;
        hue = high == r ? bc - gc : high == g ? 2.0f + rc - bc : 4.0f + gc - rc;
        hue = augment_wrap(hue / 6.0f + 1.0f);
    }
    hue = augment_wrap(hue + shift);

    int sixth = (int)(hue * 6.0f);
    float fraction = hue * 6.0f - (float)sixth;
    float p = augment_clamp(high * (1.0f - saturation));
    float q = augment_clamp(high * (1.0f - saturation * fraction));
    float t = augment_clamp(high * (1.0f - saturation * (1.0f - fraction)));
    switch (sixth % 6) {
    case 0: rgb[0] = high, rgb[1] = t, rgb[2] = p; break;
    case 1: rgb[0] = q, rgb[1] = high, rgb[2] = p; break;
    case 2: rgb[0] = p, rgb[1] = high, rgb[2] = t; break;
    case 3: rgb[0] = p, rgb[1] = q, rgb[2] = high; break;
    case 4: rgb[0] = t, rgb[1] = p, rgb[2] = high; break;
    default: rgb[0] = high, rgb[1] = p, rgb[2] = q; break;
    }
}

/* Applies one colour operation to one pixel. mean_grey: of the whole image before the operation. */
static inline NNMF_HD void augment_colour(const Augmentation *a, int operation, float mean_grey,
                                          float rgb[3])
{
    switch (operation) {
    case COLOUR_BRIGHTNESS: augment_blend(rgb, 0.0f, a->brightness); break;
    case COLOUR_CONTRAST: augment_blend(rgb, mean_grey, a->contrast); break;
    case COLOUR_SATURATION: augment_blend(rgb, augment_grey(rgb), a->saturation); break;
    case COLOUR_HUE: augment_hue(rgb, a->hue); break;
    default: break;
    }
}

#endif
