/* The drawn augmentations: their distribution, and their dependence on the place in a run only. */
#include "augmenting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Augmentation draw_image(uint32_t epoch, uint32_t step, uint32_t position)
{
    return augment_draw(AUGMENT_IMAGE, 5, epoch, step, position, 4, 4, true);
}

/* Returns sum (count - expected)^2 / expected. */
static double chi_square(const unsigned *counts, size_t bins, double draws)
{
    double sum = 0.0, expected = draws / (double)bins;
    for (size_t i = 0; i < bins; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    return sum;
}

/* Asserts an even distribution. Random counts fail with a probability of 1e-5. */
static void assert_even(const unsigned *counts, size_t bins, double draws)
{
    double freedom = (double)bins - 1.0, z = 4.265;
    double root = 1.0 - 2.0 / (9.0 * freedom) + z * sqrt(2.0 / (9.0 * freedom));
    double limit = freedom * root * root * root; /* Wilson, Hilferty 1931 */
    assert_true(chi_square(counts, bins, draws) < limit);
}

enum { DRAWS = 48000, BINS = 20 };

static void count_factor(float value, double low, double high, unsigned *counts)
{
    double place = ((double)value - low) / (high - low);
    /* Rounding may reach the upper bound. */
    assert_true(place > -1e-6 && place < 1.0 + 1e-6);
    place = place < 0.0 ? 0.0 : place;
    size_t bin = (size_t)(place * (double)BINS);
    counts[bin < BINS ? bin : BINS - 1]++;
}

static void draws_are_uniform_in_their_ranges(void **state)
{
    (void)state;
    unsigned top[5] = {0}, left[5] = {0}, flip[2] = {0}, places[25] = {0};
    unsigned brightness[BINS] = {0}, contrast[BINS] = {0}, saturation[BINS] = {0}, hue[BINS] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        Augmentation a = draw_image(i / 5000, i / 50 % 100, i % 50);
        assert_in_range(a.top, 0, 4);
        assert_in_range(a.left, 0, 4);
        assert_in_range(a.flip, 0, 1);
        top[a.top]++;
        left[a.left]++;
        flip[a.flip]++;
        places[a.top * 5 + a.left]++;
        count_factor(a.brightness, 0.5, 1.5, brightness);
        count_factor(a.contrast, 0.9, 1.1, contrast);
        count_factor(a.saturation, 0.9, 1.1, saturation);
        count_factor(a.hue, -0.15, 0.15, hue);
    }
    assert_even(top, 5, DRAWS);
    assert_even(left, 5, DRAWS);
    assert_even(flip, 2, DRAWS);
    assert_even(places, 25, DRAWS);
    assert_even(brightness, BINS, DRAWS);
    assert_even(contrast, BINS, DRAWS);
    assert_even(saturation, BINS, DRAWS);
    assert_even(hue, BINS, DRAWS);
}

static void all_orders_occur_equally_often(void **state)
{
    (void)state;
    unsigned counts[256] = {0}, orders[24];
    size_t found = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        Augmentation a = draw_image(i / 5000, i / 50 % 100, i % 50);
        unsigned seen = 0, code = 0;
        for (int k = 0; k < COLOUR_OPERATIONS; k++) {
            assert_in_range(a.order[k], COLOUR_BRIGHTNESS, COLOUR_HUE);
            seen |= 1u << (a.order[k] - COLOUR_BRIGHTNESS);
            code = code * 4 + (unsigned)(a.order[k] - COLOUR_BRIGHTNESS);
        }
        assert_int_equal(seen, 15); /* each operation once */
        counts[code]++;
    }
    for (size_t code = 0; code < 256; code++)
        if (counts[code]) {
            assert_true(found < 24);
            orders[found++] = counts[code];
        }
    assert_int_equal(found, 24);
    assert_even(orders, 24, DRAWS);
}

static bool same(const Augmentation *a, const Augmentation *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void reference_draws_once_for_a_batch(void **state)
{
    (void)state;
    unsigned differing = 0;
    for (uint32_t step = 0; step < 100; step++) {
        Augmentation first = augment_draw(AUGMENT_REFERENCE, 5, 2, step, 0, 4, 4, true);
        Augmentation next = augment_draw(AUGMENT_REFERENCE, 5, 2, step + 1, 0, 4, 4, true);
        for (uint32_t position = 1; position < 50; position++) {
            Augmentation a = augment_draw(AUGMENT_REFERENCE, 5, 2, step, position, 4, 4, true);
            assert_true(same(&a, &first));
        }
        differing += !same(&first, &next);
    }
    assert_int_equal(differing, 100);
}

static void image_draws_for_every_image(void **state)
{
    (void)state;
    Augmentation all[50];
    for (uint32_t i = 0; i < 50; i++) {
        all[i] = draw_image(2, 7, i);
        for (uint32_t j = 0; j < i; j++)
            assert_true(all[i].hue != all[j].hue || all[i].brightness != all[j].brightness);
    }
}

static void none_is_the_centre_crop(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        Augmentation a = augment_draw(AUGMENT_NONE, 5, i, 2 * i, i, 4, 6, true);
        Augmentation expected = nothing;
        expected.top = 2;
        expected.left = 3;
        assert_true(same(&a, &expected));
    }
}

static void grey_images_are_cropped_only(void **state)
{
    (void)state;
    unsigned places[25] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        Augmentation a = augment_draw(AUGMENT_IMAGE, 5, 0, i / 50, i % 50, 4, 4, false);
        Augmentation expected = nothing;
        expected.top = a.top;
        expected.left = a.left;
        assert_true(same(&a, &expected));
        assert_in_range(a.top, 0, 4);
        assert_in_range(a.left, 0, 4);
        places[a.top * 5 + a.left]++;
    }
    assert_even(places, 25, DRAWS);
}

/* A draw depends only on seed, epoch, step and position, not on earlier draws, so that a resumed
 * run draws the same as an uninterrupted one. */
static void draws_depend_on_their_place_only(void **state)
{
    (void)state;
    Augmentation forward[200];
    for (uint32_t i = 0; i < 200; i++)
        forward[i] = draw_image(i / 100, i / 10 % 10, i % 10);
    for (uint32_t i = 200; i-- > 0;) {
        Augmentation again = draw_image(i / 100, i / 10 % 10, i % 10);
        assert_true(same(&again, &forward[i]));
    }
    Augmentation base = draw_image(1, 2, 3);
    const Augmentation others[] = {
        draw_image(2, 2, 3), draw_image(1, 3, 3), draw_image(1, 2, 4),
        augment_draw(AUGMENT_IMAGE, 6, 1, 2, 3, 4, 4, true),
        augment_draw(AUGMENT_IMAGE, UINT64_C(5) << 32, 1, 2, 3, 4, 4, true)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(others[i].hue != base.hue && others[i].brightness != base.brightness);
}

/* The operation `sample` returns exactly these draws, also after a restart at a step. */
static void sample_returns_the_draws(void **state)
{
    (void)state;
    enum { IMAGES = 23, BATCH_SIZE = 5 };
    Device device;
    for (int number = 0; open_device(number, &device); number++) {
        const Operations *ops = device.operations;
        Error error = {0};
        StepState step_state = {.epoch = 3}, *on_device;
        uint32_t indices[BATCH_SIZE], *device_indices;
        Augmentation drawn[BATCH_SIZE], *device_drawn;
        on_device = ops->allocate(device.backend, sizeof step_state, "step_state", &error);
        device_indices = ops->allocate(device.backend, sizeof indices, "indices", &error);
        device_drawn = ops->allocate(device.backend, sizeof drawn, "augmentations", &error);
        unsigned seen[IMAGES] = {0};
        for (; step_state.step * BATCH_SIZE < IMAGES; step_state.step++) {
            int left = IMAGES - (int)step_state.step * BATCH_SIZE;
            Sampler shape = {.begin = 100,
                             .end = 100 + IMAGES,
                             .batch = left < BATCH_SIZE ? left : BATCH_SIZE,
                             .batch_size = BATCH_SIZE,
                             .shuffle = true,
                             .augment = AUGMENT_IMAGE,
                             .colour = true,
                             .slack_y = 4,
                             .slack_x = 4,
                             .seed = 5};
            ops->upload(device.backend, on_device, &step_state, sizeof step_state);
            ops->sample(device.backend, &shape, on_device, device_indices, device_drawn);
            ops->download(device.backend, indices, device_indices, sizeof indices);
            ops->download(device.backend, drawn, device_drawn, sizeof drawn);
            assert_true(ops->finish(device.backend, &error));
            for (int i = 0; i < shape.batch; i++) {
                Augmentation expected = draw_image(3, step_state.step, (uint32_t)i);
                assert_true(same(&drawn[i], &expected));
                assert_in_range(indices[i], 100, 100 + IMAGES - 1);
                seen[indices[i] - 100]++;
            }
        }
        for (int i = 0; i < IMAGES; i++)
            assert_int_equal(seen[i], 1); /* every image once per epoch */
        ops->release(device.backend, on_device);
        ops->release(device.backend, device_indices);
        ops->release(device.backend, device_drawn);
        device_close(&device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_uniform_in_their_ranges),
        cmocka_unit_test(all_orders_occur_equally_often),
        cmocka_unit_test(reference_draws_once_for_a_batch),
        cmocka_unit_test(image_draws_for_every_image),
        cmocka_unit_test(none_is_the_centre_crop),
        cmocka_unit_test(grey_images_are_cropped_only),
        cmocka_unit_test(draws_depend_on_their_place_only),
        cmocka_unit_test(sample_returns_the_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
