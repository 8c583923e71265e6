/*
 * Images made worse by a measure, the level: for testing how robust a network is against what it
 * has not seen in training. Images are (height, width, channels) in [0, 1], and so are the results,
 * cut off at both ends where need be.
 *
 * HD: D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
 * and Perturbations", 2019, and the program beside it that makes CIFAR-10-C.
 */
#ifndef NNMF_PERTURBATION_H
#define NNMF_PERTURBATION_H

#include "network/network.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum PerturbationKind {
    /* x + level N(0, 1), each number for itself; level: standard deviation (HD, gaussian_noise). */
    PERTURB_GAUSSIAN_NOISE,

    /* x + U(-level, level), each number for itself; level: amplitude. */
    PERTURB_UNIFORM_NOISE,

    /* 0 or 1, equally often, in the place of each number with probability level (HD,
     * impulse_noise; the numbers of a pixel's channels for themselves, as there). */
    PERTURB_SALT_AND_PEPPER,

    /* Convolved with a Gaussian that is cut off at 4 standard deviations, the border's pixels
     * repeated beyond it; level: standard deviation in pixels (HD, gaussian_blur). */
    PERTURB_GAUSSIAN_BLUR,

    /* m + level (x - m), m the mean of the image's channel; level 1 changes nothing (HD,
     * contrast). */
    PERTURB_CONTRAST,

    /* x + level in the value of hue, saturation and value (HD, brightness); in the grey value of
     * an image of one channel. */
    PERTURB_BRIGHTNESS,

    /* Shrunk to level times its side by averaging areas, and back by repeating pixels; level 1
     * changes nothing (HD, pixelate). */
    PERTURB_PIXELATION,

    /* x + level sign(dL/dx), L the network's loss, dL/dx by the backward rule (the fast gradient
     * sign attack: I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and Harnessing Adversarial
     * Examples", 2015). Where the gradient is 0 (a pixel at 0 has none, for it passes a ReLU)
     * nothing changes. */
    PERTURB_GRADIENT_SIGN,

    PERTURBATIONS
} PerturbationKind;

enum { PERTURBATION_LEVELS = 6 };

typedef struct Perturbation {
    const char *level;                  /* what the level is, in a few words */
    double lowest, highest;             /* levels that make sense */
    bool random;                        /* does repeating it give another result? */
    double levels[PERTURBATION_LEVELS]; /* the usual ones, from weak to strong */
} Perturbation;

extern const Perturbation perturbations[PERTURBATIONS];

/* "all", then the names by PerturbationKind; NULL at the end. */
extern const char *const perturbation_choices[PERTURBATIONS + 2];

static inline const char *perturbation_name(PerturbationKind kind)
{
    return perturbation_choices[kind + 1];
}

/* in -> out, which do not overlap. All kinds but PERTURB_GRADIENT_SIGN. The random numbers belong
 * to (seed, repetition, number of the image), so that they depend on no order. Errors: out of
 * memory. */
bool perturb_image(PerturbationKind kind, double level, uint64_t seed, uint32_t repetition,
                   uint32_t image, Extent extent, const float *in, float *out, Error *error);

/* PERTURB_GRADIENT_SIGN, for any number of elements. */
void perturb_by_gradient(double level, size_t elements, const float *in, const float *gradient,
                         float *out);

#endif
