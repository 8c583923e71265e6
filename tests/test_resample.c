#include "data/resample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Picture make(int width, int height, int channels, const uint8_t *pixels)
{
    Picture picture;
    Error error = {0};
    assert_true(picture_create(width, height, channels, &picture, &error));
    if (pixels)
        memcpy(picture.pixels, pixels, (size_t)(width * height * channels));
    return picture;
}

static void check(Picture picture, int channels, int height, int width, const uint8_t *expected)
{
    uint8_t pixels[256];
    resample_picture(&picture, channels, height, width, pixels);
    assert_memory_equal(pixels, expected, (size_t)(channels * height * width));
    picture_free(&picture);
}

static void the_same_size_is_copied(void **state)
{
    (void)state;
    static const uint8_t grey[] = {0, 1, 2, 3, 254, 255};
    check(make(3, 2, 1, grey), 1, 2, 3, grey);
    static const uint8_t rgb[] = {1, 2, 3, 4, 5, 6}, planes[] = {1, 4, 2, 5, 3, 6};
    check(make(2, 1, 3, rgb), 3, 1, 2, planes);
}

static void smaller_is_the_average_of_the_area(void **state)
{
    (void)state;
    static const uint8_t four[] = {0, 10, 100, 200, 20, 30, 100, 0};
    check(make(4, 2, 1, four), 1, 1, 2, (uint8_t[]){15, 100});
    /* 3 to 2: the middle pixel counts half on either side. */
    static const uint8_t nine[] = {30, 60, 90, 30, 60, 90, 30, 60, 90};
    check(make(3, 3, 1, nine), 1, 2, 2, (uint8_t[]){40, 80, 40, 80});
}

static void larger_is_bilinear(void **state)
{
    (void)state;
    static const uint8_t two[] = {0, 100, 0, 100};
    check(make(2, 2, 1, two), 1, 4, 4,
          (uint8_t[]){0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100});
    static const uint8_t one[] = {7, 8, 9};
    check(make(1, 1, 3, one), 3, 2, 2, (uint8_t[]){7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9});
}

static void another_aspect_ratio_is_cropped(void **state)
{
    (void)state;
    static const uint8_t wide[] = {9, 1, 2, 9, 9, 3, 4, 9};
    check(make(4, 2, 1, wide), 1, 2, 2, (uint8_t[]){1, 2, 3, 4});
    static const uint8_t high[] = {9, 9, 1, 2, 3, 4, 9, 9};
    check(make(2, 4, 1, high), 1, 2, 2, (uint8_t[]){1, 2, 3, 4});
}

static void extreme_shapes(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        Picture p = make(wide ? 100000 : 1, wide ? 1 : 100000, 1, NULL);
        memset(p.pixels, 77, 100000);
        check(p, 1, 3, 3, (uint8_t[]){77, 77, 77, 77, 77, 77, 77, 77, 77});
    }
    Picture p = make(999, 791, 1, NULL);
    memset(p.pixels, 200, 999 * 791);
    uint8_t even[28 * 7];
    memset(even, 200, sizeof even);
    check(p, 1, 7, 28, even);
}

static void between_colour_and_grey(void **state)
{
    (void)state;
    static const uint8_t rgb[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
    check(make(4, 1, 3, rgb), 1, 1, 4, (uint8_t[]){76, 150, 29, 255});
    static const uint8_t grey[] = {3, 200};
    check(make(2, 1, 1, grey), 3, 1, 2, (uint8_t[]){3, 200, 3, 200, 3, 200});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_size_is_copied),
        cmocka_unit_test(smaller_is_the_average_of_the_area),
        cmocka_unit_test(larger_is_bilinear),
        cmocka_unit_test(another_aspect_ratio_is_cropped),
        cmocka_unit_test(extreme_shapes),
        cmocka_unit_test(between_colour_and_grey),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
