/* Perturbed images: each kind on images whose result is obvious, noise by its moments. */
#include "robustness/perturbation.h"

#include "nnmf/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 28, CHANNELS = 3, ELEMENTS = SIDE * SIDE * CHANNELS };

static const Extent extent = {SIDE, SIDE, CHANNELS};
static float in[ELEMENTS + 1], out[ELEMENTS], other[ELEMENTS];

static void fill(float value)
{
    in[ELEMENTS] = NAN; /* nothing may be read beyond the image */
    for (int i = 0; i < ELEMENTS; i++)
        in[i] = value;
}

/* Many values between 0.1 and 0.9, neighbours different. */
static void fill_with_variety(void)
{
    in[ELEMENTS] = NAN;
    for (int i = 0; i < ELEMENTS; i++)
        in[i] = 0.1f + 0.8f * (float)((i * 7919) % 1000) / 1000.0f;
}

static void perturb(PerturbationKind kind, double level, uint32_t repetition, uint32_t image,
                    float *to)
{
    Error error = {0};
    assert_true(perturb_image(kind, level, 5, repetition, image, extent, in, to, &error));
    for (int i = 0; i < ELEMENTS; i++)
        assert_true(to[i] >= 0.0f && to[i] <= 1.0f);
}

static void moments(double *mean, double *deviation)
{
    double sum = 0.0, squares = 0.0;
    for (int i = 0; i < ELEMENTS; i++) {
        sum += (double)out[i] - (double)in[i];
        squares += pow((double)out[i] - (double)in[i], 2);
    }
    *mean = sum / (double)ELEMENTS;
    *deviation = sqrt(squares / (double)ELEMENTS - *mean * *mean);
}

/* 2352 values: the standard error of the mean is 2 % of the deviation, of the deviation 1.5 %. */
static void noise_has_its_moments(void **state)
{
    (void)state;
    double mean, deviation;
    fill(0.5f);
    perturb(PERTURB_GAUSSIAN_NOISE, 0.1, 0, 0, out);
    moments(&mean, &deviation);
    assert_true(fabs(mean) < 0.008 && fabs(deviation - 0.1) < 0.006);
    perturb(PERTURB_UNIFORM_NOISE, 0.3, 0, 0, out);
    moments(&mean, &deviation);
    assert_true(fabs(mean) < 0.015 && fabs(deviation - 0.3 / sqrt(3.0)) < 0.01);
    for (int i = 0; i < ELEMENTS; i++)
        assert_true(fabsf(out[i] - 0.5f) <= 0.3f);
    perturb(PERTURB_SALT_AND_PEPPER, 0.2, 0, 0, out);
    int black = 0, white = 0, same = 0;
    for (int i = 0; i < ELEMENTS; i++) {
        black += out[i] == 0.0f;
        white += out[i] == 1.0f;
        same += out[i] == 0.5f;
    }
    assert_int_equal(black + white + same, ELEMENTS);
    assert_true(abs(black - 235) < 60 && abs(white - 235) < 60);
}

static void noise_is_a_function_of_repetition_and_image(void **state)
{
    (void)state;
    static const PerturbationKind kinds[] = {PERTURB_GAUSSIAN_NOISE, PERTURB_UNIFORM_NOISE,
                                             PERTURB_SALT_AND_PEPPER};
    fill_with_variety();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        assert_true(perturbations[kinds[k]].random);
        perturb(kinds[k], 0.2, 1, 7, out);
        perturb(kinds[k], 0.2, 1, 7, other);
        assert_memory_equal(out, other, sizeof out);
        perturb(kinds[k], 0.2, 2, 7, other);
        assert_memory_not_equal(out, other, sizeof out);
        perturb(kinds[k], 0.2, 1, 8, other);
        assert_memory_not_equal(out, other, sizeof out);
    }
}

static void no_level_changes_nothing(void **state)
{
    (void)state;
    static const double nothing[PERTURBATIONS] = {
        [PERTURB_CONTRAST] = 1.0, [PERTURB_PIXELATION] = 1.0};
    fill_with_variety();
    for (int kind = 0; kind < PERTURB_GRADIENT_SIGN; kind++) {
        perturb((PerturbationKind)kind, nothing[kind], 0, 0, out);
        for (int i = 0; i < ELEMENTS; i++)
            assert_true(fabsf(out[i] - in[i]) < 1e-6f);
    }
}

/* A single white pixel becomes the Gaussian; a flat image does not change, not even its border. */
static void blur_is_a_gaussian(void **state)
{
    (void)state;
    fill(0.25f);
    perturb(PERTURB_GAUSSIAN_BLUR, 1.5, 0, 0, out);
    for (int i = 0; i < ELEMENTS; i++)
        assert_true(fabsf(out[i] - 0.25f) < 1e-6f);
    fill(0.0f);
    in[(14 * SIDE + 14) * CHANNELS + 1] = 1.0f;
    perturb(PERTURB_GAUSSIAN_BLUR, 1.0, 0, 0, out);
    double total = 0.0;
    for (int i = 0; i < ELEMENTS; i++) {
        assert_true(i % CHANNELS == 1 || out[i] == 0.0f);
        total += (double)out[i];
    }
    assert_true(fabs(total - 1.0) < 1e-5);
    double middle = (double)out[(14 * SIDE + 14) * CHANNELS + 1];
    assert_true(fabs(middle - 0.15917) < 1e-4); /* 1 / (2 pi), except for the truncation */
    assert_true(fabs((double)out[(14 * SIDE + 16) * CHANNELS + 1] / middle - exp(-2.0)) < 1e-5);
    assert_true(fabs((double)out[(11 * SIDE + 14) * CHANNELS + 1] / middle - exp(-4.5)) < 1e-5);
    /* Truncated at four standard deviations. */
    assert_true(fabs((double)out[(18 * SIDE + 14) * CHANNELS + 1] / middle - exp(-8.0)) < 1e-5);
    assert_true(out[(14 * SIDE + 10) * CHANNELS + 1] > 0.0f);
    assert_true(out[(14 * SIDE + 9) * CHANNELS + 1] == 0.0f);
    assert_true(out[(19 * SIDE + 14) * CHANNELS + 1] == 0.0f);
}

static void contrast_keeps_the_mean(void **state)
{
    (void)state;
    in[ELEMENTS] = NAN;
    for (int i = 0; i < ELEMENTS; i++)
        in[i] = i % CHANNELS == 0 ? 0.3f : i / CHANNELS % 2 ? 0.8f : 0.4f;
    perturb(PERTURB_CONTRAST, 0.5, 0, 0, out);
    for (int i = 0; i < ELEMENTS; i++) {
        float expected = i % CHANNELS == 0 ? 0.3f : i / CHANNELS % 2 ? 0.7f : 0.5f;
        assert_true(fabsf(out[i] - expected) < 1e-6f);
    }
}

static void brightness_keeps_the_hue(void **state)
{
    (void)state;
    for (int i = 0; i < ELEMENTS; i += CHANNELS) {
        in[i] = 0.4f;
        in[i + 1] = 0.2f;
        in[i + 2] = 0.0f;
    }
    in[0] = in[1] = in[2] = 0.0f;
    perturb(PERTURB_BRIGHTNESS, 0.2, 0, 0, out);
    for (int c = 0; c < CHANNELS; c++)
        assert_true(fabsf(out[c] - 0.2f) < 1e-6f);
    assert_true(fabsf(out[3] - 0.6f) < 1e-6f && fabsf(out[4] - 0.3f) < 1e-6f && out[5] == 0.0f);
    perturb(PERTURB_BRIGHTNESS, 1.0, 0, 0, out);
    assert_true(out[3] == 1.0f && fabsf(out[4] - 0.5f) < 1e-6f);
}

/* Blocks of 2 x 2 pixels, then one block. */
static void pixels_grow(void **state)
{
    (void)state;
    fill_with_variety();
    perturb(PERTURB_PIXELATION, 0.5, 0, 0, out);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < CHANNELS; c++) {
                double mean = 0.0;
                for (int i = 0; i < 4; i++)
                    mean +=
                        (double)
                            in[((y / 2 * 2 + i / 2) * SIDE + x / 2 * 2 + i % 2) * CHANNELS + c] /
                        4.0;
                assert_true(fabs((double)out[(y * SIDE + x) * CHANNELS + c] - mean) < 1e-6);
            }
    perturb(PERTURB_PIXELATION, 0.01, 0, 0, out);
    for (int i = CHANNELS; i < ELEMENTS; i++)
        assert_true(out[i] == out[i % CHANNELS]);
    /* Parts of pixels count too: 28 is 8 times 3.5. */
    fill(0.0f);
    for (int y = 0; y < SIDE; y++)
        in[(y * SIDE + 3) * CHANNELS] = 1.0f;
    perturb(PERTURB_PIXELATION, 0.3, 0, 0, out);
    assert_true(fabsf(out[0] - 0.5f / 3.5f) < 1e-6f);
    assert_true(fabsf(out[5 * CHANNELS] - 0.5f / 3.5f) < 1e-6f && out[8 * CHANNELS] == 0.0f);
}

static void gradient_sign_moves_by_the_level(void **state)
{
    (void)state;
    const float from[] = {0.5f, 0.5f, 0.5f, 0.05f, 0.95f};
    const float gradient[] = {1e-9f, -3.0f, 0.0f, -1.0f, 2.0f};
    const float expected[] = {0.6f, 0.4f, 0.5f, 0.0f, 1.0f};
    float to[5];
    perturb_by_gradient(0.1, 5, from, gradient, to);
    for (int i = 0; i < 5; i++)
        assert_true(fabsf(to[i] - expected[i]) < 1e-6f);
}

static void out_of_memory_is_an_error(void **state)
{
    (void)state;
    Error error = {0};
    memory_fail_after(0);
    assert_false(perturb_image(PERTURB_GAUSSIAN_BLUR, 1.0, 5, 0, 0, extent, in, out, &error));
    memory_fail_after(-1);
    assert_non_null(strstr(error.text, "out of memory: a blur"));
}

static void default_levels_are_in_order(void **state)
{
    (void)state;
    for (int kind = 0; kind < PERTURBATIONS; kind++) {
        const Perturbation *p = &perturbations[kind];
        double direction = p->levels[1] - p->levels[0];
        for (int i = 0; i < PERTURBATION_LEVELS; i++) {
            assert_true(p->levels[i] >= p->lowest && p->levels[i] <= p->highest);
            assert_true(i == 0 || (p->levels[i] - p->levels[i - 1]) * direction > 0.0);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_has_its_moments),
        cmocka_unit_test(noise_is_a_function_of_repetition_and_image),
        cmocka_unit_test(no_level_changes_nothing),
        cmocka_unit_test(blur_is_a_gaussian),
        cmocka_unit_test(contrast_keeps_the_mean),
        cmocka_unit_test(brightness_keeps_the_hue),
        cmocka_unit_test(pixels_grow),
        cmocka_unit_test(gradient_sign_moves_by_the_level),
        cmocka_unit_test(out_of_memory_is_an_error),
        cmocka_unit_test(default_levels_are_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
