/*
 * Image perturbations of adjustable strength, for testing robustness to inputs not seen in
 * training. Images and results are (height, width, channels) in [0, 1]; results are clamped.
 *
 * HD: D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
 * and Perturbations", 2019, and their program that makes CIFAR-10-C.
 */
#ifndef NNMF_PERTURBATION_H
#define NNMF_PERTURBATION_H

#include "network/network.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum PerturbationKind {
    /* x + level N(0, 1) for each element; level: standard deviation (HD, gaussian_noise). */
    PERTURB_GAUSSIAN_NOISE,

    /* x + U(-level, level) for each element; level: amplitude. */
    PERTURB_UNIFORM_NOISE,

    /* Replaces each element with probability level by 0 or 1, which are equally likely (HD,
     * impulse_noise; a pixel's channels are independent, as there). */
    PERTURB_SALT_AND_PEPPER,

    /* Convolves with a Gaussian truncated at 4 standard deviations; border pixels are repeated
     * beyond the border. level: standard deviation in pixels (HD, gaussian_blur). */
    PERTURB_GAUSSIAN_BLUR,

    /* m + level (x - m), m the mean of the image's channel; level 1 changes nothing (HD,
     * contrast). */
    PERTURB_CONTRAST,

    /* Adds level to the value of hue, saturation and value (HD, brightness), or to the grey value
     * of a one-channel image. */
    PERTURB_BRIGHTNESS,

    /* Shrinks the sides to level times their length by area averages and enlarges them again by
     * repeating pixels; level 1 changes nothing (HD, pixelate). */
    PERTURB_PIXELATION,

    /* x + level sign(dL/dx), L the network's loss, dL/dx by its backward pass (the fast gradient
     * sign method: I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and Harnessing Adversarial
     * Examples", 2015). An element with gradient 0 does not change: one that is 0, for instance,
     * because the first layer is a ReLU. */
    PERTURB_GRADIENT_SIGN,

    PERTURBATIONS
} PerturbationKind;

enum { PERTURBATION_LEVELS = 6 };

typedef struct Perturbation {
    const char *level;                  /* what the level means */
    double lowest, highest;             /* range of valid levels */
    bool random;                        /* repetitions differ */
    double levels[PERTURBATION_LEVELS]; /* defaults, from weak to strong */
} Perturbation;

extern const Perturbation perturbations[PERTURBATIONS];

/* "all", then the names by PerturbationKind; NULL at the end. */
extern const char *const perturbation_choices[PERTURBATIONS + 2];

static inline const char *perturbation_name(PerturbationKind kind)
{
    return perturbation_choices[kind + 1];
}

/* Perturbs one image, in -> out, which must not overlap; all kinds except PERTURB_GRADIENT_SIGN.
 * The random numbers are a function of (seed, repetition, image), so the order of calls does not
 * matter. Errors: out of memory. */
bool perturb_image(PerturbationKind kind, double level, uint64_t seed, uint32_t repetition,
                   uint32_t image, Extent extent, const float *in, float *out, Error *error);

/* PERTURB_GRADIENT_SIGN, for any number of elements; `gradient` is dL/dx. */
void perturb_by_gradient(double level, size_t elements, const float *in, const float *gradient,
                         float *out);

#endif
