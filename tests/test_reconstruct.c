/* Reconstructs images that the plain operations unfolded. */
#include "network/reconstruct.h"

#include "nnmf/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { CAPACITY = 4096 };

static float noise(size_t i)
{
    return (float)(i * 2654435761u % 1000) / 1000.0f;
}

static void assert_near(const float *have, const float *expected, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(have[i] - expected[i]) < 1e-5f);
}

/* If w's rows are the windows and h selects each window's own, every pixel is restored. */
static void check_exact(UnfoldShape s)
{
    Device device;
    Error error = {0};
    assert_true(device_open_plain(&device, &error));
    static float image[CAPACITY], x[CAPACITY], scale[CAPACITY], h[CAPACITY], back[CAPACITY];
    size_t elements = (size_t)(s.height * s.width * s.channels), rows = unfold_rows(&s);
    for (size_t i = 0; i < elements; i++)
        image[i] = noise(i);
    device.operations->unfold_forward(device.backend, &s, image, x, scale);
    assert_true(device.operations->finish(device.backend, &error));
    device_close(&device);
    memset(h, 0, sizeof h);
    assert_true(rows * rows <= CAPACITY && rows * unfold_features(&s) <= CAPACITY);
    for (size_t row = 0; row < rows; row++)
        h[row * rows + row] = 1.0f;
    reconstruct_image(&s, (int)rows, h, x, scale, back);
    assert_near(back, image, elements);
    assert_true(root_mean_square(back, image, elements) < 1e-5);
}

static void windows_that_overlap(void **state)
{
    (void)state;
    check_exact((UnfoldShape){.batch = 1,
                              .height = 6,
                              .width = 7,
                              .channels = 3,
                              .kernel = 3,
                              .stride = 1,
                              .out_height = 4,
                              .out_width = 5});
}

static void windows_side_by_side(void **state)
{
    (void)state;
    check_exact((UnfoldShape){.batch = 1,
                              .height = 6,
                              .width = 4,
                              .channels = 2,
                              .kernel = 2,
                              .stride = 2,
                              .out_height = 3,
                              .out_width = 2});
}

static void one_window(void **state)
{
    (void)state;
    check_exact((UnfoldShape){.batch = 1,
                              .height = 4,
                              .width = 4,
                              .channels = 1,
                              .kernel = 4,
                              .stride = 1,
                              .out_height = 1,
                              .out_width = 1});
}

static void a_mixture_by_hand(void **state)
{
    (void)state;
    UnfoldShape s = {.batch = 1,
                     .height = 1,
                     .width = 3,
                     .channels = 1,
                     .kernel = 1,
                     .stride = 1,
                     .out_height = 1,
                     .out_width = 3};
    static const float h[] = {1, 0, 0.5f, 0.5f, 0.25f, 0.75f}, w[] = {1, 3},
                       scale[] = {1, 0.5f, 0.25f};
    float back[3];
    reconstruct_image(&s, 2, h, w, scale, back);
    assert_near(back, (float[]){1, 4, 10}, 3);
}

/* A black image has norm 0; its reconstruction is black too. */
static void black(void **state)
{
    (void)state;
    UnfoldShape s = {.batch = 1,
                     .height = 2,
                     .width = 2,
                     .channels = 1,
                     .kernel = 2,
                     .stride = 1,
                     .out_height = 1,
                     .out_width = 1};
    static const float h[] = {1}, w[] = {0.25f, 0.25f, 0.25f, 0.25f}, scale[] = {1e19f};
    float back[4];
    reconstruct_image(&s, 1, h, w, scale, back);
    assert_near(back, (float[4]){0}, 4);
}

static void the_error(void **state)
{
    (void)state;
    static const float one[] = {0, 1, 2, 3}, other[] = {0, 1, 2, 5};
    assert_true(fabs(root_mean_square(one, other, 4) - 1.0) < 1e-12);
    assert_true(root_mean_square(one, one, 4) == 0.0);
    assert_true(root_mean_square(one, one, 0) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_that_overlap),
        cmocka_unit_test(windows_side_by_side),
        cmocka_unit_test(one_window),
        cmocka_unit_test(a_mixture_by_hand),
        cmocka_unit_test(black),
        cmocka_unit_test(the_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
