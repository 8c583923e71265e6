/* Colours of single pixels: hue compared with Python's colorsys, other operations with
 * hand-computed values. */
#include "augmenting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_pixel(const float have[3], float r, float g, float b, double tolerance)
{
    const float expected[3] = {r, g, b};
    for (int c = 0; c < 3; c++)
        if (!(fabs((double)have[c] - (double)expected[c]) <= tolerance))
            fail_msg("pixel %.8g %.8g %.8g, expected %.8g %.8g %.8g", (double)have[0],
                     (double)have[1], (double)have[2], (double)r, (double)g, (double)b);
}

/* python3 -c "import colorsys as c; (h,s,v)=c.rgb_to_hsv(R,G,B);
 *             print(c.hsv_to_rgb((h+SHIFT)%1,s,v))" */
static void hue_as_colorsys(void **state)
{
    (void)state;
    static const struct {
        float from[3], shift, to[3];
    } table[] = {
        {{0.9f, 0.2f, 0.1f}, 0.1f, {0.9f, 0.68f, 0.1f}},
        {{0.9f, 0.2f, 0.1f}, -0.15f, {0.9f, 0.1f, 0.72f}},
        {{0.1f, 0.8f, 0.3f}, 0.15f, {0.1f, 0.67f, 0.8f}},
        {{0.25f, 0.3f, 0.95f}, 0.12f, {0.704f, 0.25f, 0.95f}},
        {{0.5f, 0.5f, 0.2f}, -0.1f, {0.5f, 0.32f, 0.2f}},
        {{0.7f, 0.3f, 0.7f}, 0.05f, {0.7f, 0.3f, 0.58f}},
        {{0.0f, 0.0f, 1.0f}, 0.15f, {0.9f, 0.0f, 1.0f}},
        {{1.0f, 0.0f, 0.0f}, -0.07f, {1.0f, 0.0f, 0.42f}},
        {{0.2f, 0.6f, 0.6f}, 0.5f, {0.6f, 0.2f, 0.2f}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        float rgb[3];
        memcpy(rgb, table[i].from, sizeof rgb);
        augment_hue(rgb, table[i].shift);
        assert_pixel(rgb, table[i].to[0], table[i].to[1], table[i].to[2], 1e-6);
    }
}

static void random_pixel(uint32_t number, float rgb[3])
{
    Philox drawn = draw(3, DRAW_WEIGHTS, 0, 0, number);
    for (int c = 0; c < 3; c++)
        rgb[c] = number % 5 == 0 ? (float)(drawn.v[c] >> 31) : philox_uniform(drawn.v[c]);
}

enum { SOME_PIXELS = 2000 };

static void neutral_factors_change_nothing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SOME_PIXELS; i++)
        for (int op = COLOUR_NOTHING; op <= COLOUR_HUE; op++) {
            float was[3], rgb[3];
            random_pixel(i, was);
            memcpy(rgb, was, sizeof rgb);
            augment_colour(&nothing, op, 0.4f, rgb);
            assert_pixel(rgb, was[0], was[1], was[2], 1e-6);
        }
}

static void a_full_turn_of_the_hue_changes_nothing(void **state)
{
    (void)state;
    static const float turns[] = {1.0f, -1.0f, 2.0f};
    for (uint32_t i = 0; i < SOME_PIXELS; i++)
        for (size_t t = 0; t < sizeof turns / sizeof *turns; t++) {
            float was[3], rgb[3];
            random_pixel(i, was);
            memcpy(rgb, was, sizeof rgb);
            augment_hue(rgb, turns[t]);
            assert_pixel(rgb, was[0], was[1], was[2], 2e-6);
        }
}

static void thirds_of_a_turn_rotate_the_channels(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SOME_PIXELS; i++) {
        float was[3], rgb[3];
        random_pixel(i, was);
        memcpy(rgb, was, sizeof rgb);
        augment_hue(rgb, 1.0f / 3.0f);
        assert_pixel(rgb, was[2], was[0], was[1], 2e-6);
    }
}

static void hue_and_saturation_leave_grey_alone(void **state)
{
    (void)state;
    Augmentation a = nothing;
    a.saturation = 1.1f;
    a.hue = -0.13f;
    for (int level = 0; level <= 255; level++) {
        float grey = (float)level / 255.0f, rgb[3] = {grey, grey, grey};
        augment_colour(&a, COLOUR_HUE, 0.0f, rgb);
        assert_pixel(rgb, grey, grey, grey, 0.0);
        augment_colour(&a, COLOUR_SATURATION, 0.0f, rgb);
        /* The grey weights sum to 0.9999: off by a tenth of the missing 0.0001. */
        assert_pixel(rgb, grey, grey, grey, 1.1e-5);
    }
}

static void blends_by_hand(void **state)
{
    (void)state;
    Augmentation a = nothing;
    a.brightness = 1.5f;
    a.contrast = 0.9f;
    a.saturation = 1.1f;
    float bright[3] = {0.2f, 0.5f, 0.8f}; /* times 1.5, at most 1 */
    augment_colour(&a, COLOUR_BRIGHTNESS, 0.3f, bright);
    assert_pixel(bright, 0.3f, 0.75f, 1.0f, 1e-6);
    float flat[3] = {0.2f, 0.5f, 0.8f}; /* 0.9 v + 0.1 * 0.3 */
    augment_colour(&a, COLOUR_CONTRAST, 0.3f, flat);
    assert_pixel(flat, 0.21f, 0.48f, 0.75f, 1e-6);
    /* grey = 0.2989 * 0.2 + 0.587 * 0.5 + 0.114 * 0.8 = 0.44448; 1.1 v - 0.1 grey */
    float vivid[3] = {0.2f, 0.5f, 0.8f};
    augment_colour(&a, COLOUR_SATURATION, 0.3f, vivid);
    assert_pixel(vivid, 0.175552f, 0.505552f, 0.835552f, 1e-6);
    float dark[3] = {0.0f, 0.0f, 1.0f}; /* never below 0: grey = 0.114 */
    augment_colour(&a, COLOUR_SATURATION, 0.3f, dark);
    assert_pixel(dark, 0.0f, 0.0f, 1.0f, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hue_as_colorsys),
        cmocka_unit_test(neutral_factors_change_nothing),
        cmocka_unit_test(a_full_turn_of_the_hue_changes_nothing),
        cmocka_unit_test(thirds_of_a_turn_rotate_the_channels),
        cmocka_unit_test(hue_and_saturation_leave_grey_alone),
        cmocka_unit_test(blends_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
