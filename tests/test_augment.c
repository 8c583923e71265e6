/*
 * Augmentation: against the published program's numbers (NNMF_REFERENCE is their folder), against
 * Python's colorsys, and the distribution of the draws.
 */
#include "nnmf/augment.h"

#include "formats/safetensors.h"
#include "nnmf/device.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGE = 32, CROP = 28, CHANNELS = 3, PIXELS = CROP * CROP, BATCH = 8 };

static const Augmentation nothing = {.brightness = 1.0f, .contrast = 1.0f, .saturation = 1.0f};

/* The plain device for number 0, then every instruction set; false after the last. */
static bool open_device(int number, Device *device)
{
    Error error = {0};
    if (number == 0)
        return device_open_plain(device, &error);
    const char *set = cpu_instruction_set(number - 1);
    if (!set)
        return false;
    assert_true(device_open_cpu(device, &(CpuOptions){set, 3}, &error));
    return true;
}

/* ---- the published program ---- */

/* Augments the reference file's images, all in the same way; images (BATCH, CROP, CROP, 3). */
static void augment_all(const Device *device, const uint8_t *pixels, const Augmentation *a,
                        float *images)
{
    static const CropShape shape = {.batch = BATCH,
                                    .channels = CHANNELS,
                                    .height = IMAGE,
                                    .width = IMAGE,
                                    .crop_height = CROP,
                                    .crop_width = CROP};
    enum { STORED = BATCH * CHANNELS * IMAGE * IMAGE, COUNT = BATCH * PIXELS * CHANNELS };
    const Operations *ops = device->operations;
    Backend *backend = device->backend;
    Error error = {0};
    const uint8_t labels[BATCH] = {0};
    uint32_t indices[BATCH];
    Augmentation same[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        indices[i] = i;
        same[i] = *a;
    }
    void *memory[] = {ops->allocate(backend, STORED, "pixels", &error),
                      ops->allocate(backend, sizeof labels, "labels", &error),
                      ops->allocate(backend, sizeof indices, "indices", &error),
                      ops->allocate(backend, sizeof same, "augmentations", &error),
                      ops->allocate(backend, COUNT * sizeof *images, "images", &error),
                      ops->allocate(backend, sizeof labels, "batch labels", &error)};
    ops->upload(backend, memory[0], pixels, STORED);
    ops->upload(backend, memory[1], labels, sizeof labels);
    ops->upload(backend, memory[2], indices, sizeof indices);
    ops->upload(backend, memory[3], same, sizeof same);
    ops->augment(backend, &shape, memory[0], memory[1], memory[2], memory[3], memory[4], memory[5]);
    ops->download(backend, images, memory[4], COUNT * sizeof *images);
    assert_true(ops->finish(backend, &error));
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        ops->release(backend, memory[i]);
}

/* The largest difference between images and a tensor with channels first. */
static double largest_difference(const float *images, const float *expected)
{
    double largest = 0.0;
    for (size_t image = 0; image < BATCH; image++)
        for (size_t c = 0; c < CHANNELS; c++)
            for (size_t p = 0; p < PIXELS; p++) {
                double difference = fabs((double)images[(image * PIXELS + p) * CHANNELS + c] -
                                         (double)expected[(image * CHANNELS + c) * PIXELS + p]);
                largest = difference > largest ? difference : largest;
            }
    return largest;
}

static float factor(const TensorFile *file, const char *key)
{
    const char *text = tensor_file_metadata(file, key);
    assert_non_null(text);
    return strtof(text, NULL);
}

static int32_t operation(char letter)
{
    switch (letter) {
    case 'b': return COLOUR_BRIGHTNESS;
    case 'c': return COLOUR_CONTRAST;
    case 's': return COLOUR_SATURATION;
    case 'h': return COLOUR_HUE;
    default: fail_msg("no colour operation '%c'", letter);
    }
    return COLOUR_NOTHING;
}

/* What made a tensor of the reference file: all of them are crops at the place that is in the
 * name of the first. */
static Augmentation augmentation_of(const TensorFile *file, const char *name, int top, int left)
{
    Augmentation a = nothing;
    a.top = top;
    a.left = left;
    a.brightness = factor(file, "brightness");
    a.contrast = factor(file, "contrast");
    a.saturation = factor(file, "saturation");
    a.hue = factor(file, "hue");
    const char *order = tensor_file_metadata(file, "order");
    assert_non_null(order);
    if (strcmp(name, "all") == 0) {
        a.flip = 1;
        for (int i = 0; i < COLOUR_OPERATIONS; i++)
            a.order[i] = operation(order[i]);
    } else if (strcmp(name, "hflip") == 0) {
        a.flip = 1;
    } else if (strncmp(name, "crop", strlen("crop")) != 0) {
        a.order[0] = operation(name[0]);
    }
    return a;
}

static void check_reference(const char *folder, const char *file_name)
{
    static float images[BATCH * PIXELS * CHANNELS];
    char path[4096];
    TensorFile file = {0};
    Error error = {0};
    snprintf(path, sizeof path, "%s/%s", folder, file_name);
    if (!safetensors_read(path, &file, &error))
        fail_msg("%s", error.text);
    const Tensor *pixels = tensor_file_find(&file, "input_uint8");
    assert_non_null(pixels);
    assert_int_equal(pixels->elements, BATCH * CHANNELS * IMAGE * IMAGE);
    int top = -1, left = -1, compared = 0;
    for (size_t i = 0; i < file.tensor_count; i++)
        sscanf(file.tensors[i].name, "crop_top%d_left%d", &top, &left);
    assert_in_range(top, 0, IMAGE - CROP);
    assert_in_range(left, 0, IMAGE - CROP);

    Device device;
    for (int number = 0; open_device(number, &device); number++) {
        double worst = 0.0;
        for (size_t i = 0; i < file.tensor_count; i++) {
            const Tensor *expected = &file.tensors[i];
            if (expected == pixels)
                continue;
            assert_int_equal(expected->elements, BATCH * CHANNELS * PIXELS);
            Augmentation a = augmentation_of(&file, expected->name, top, left);
            augment_all(&device, pixels->data, &a, images);
            double off = largest_difference(images, expected->data);
            worst = off > worst ? off : worst;
            if (!(off <= 1e-5))
                fail_msg("%s, %s, %s: off by %g", file_name, expected->name, device.description,
                         off);
            compared++;
        }
        printf("%s, %s: at most %.1e off\n", file_name, device.description, worst);
        device_close(&device);
    }
    assert_true(compared >= 2 * 7); /* seven tensors, at least two devices */
    tensor_file_free(&file);
}

static void published_numbers(void **state)
{
    (void)state;
    const char *folder = getenv("NNMF_REFERENCE");
    if (!folder)
        skip();
    check_reference(folder, "augment_1.safetensors");
    check_reference(folder, "augment_2.safetensors");
}

/* ---- colours of single pixels ---- */

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

static void a_pixel(uint32_t number, float rgb[3])
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
            a_pixel(i, was);
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
            a_pixel(i, was);
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
        a_pixel(i, was);
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
        /* The grey weights sum to 0.9999: a tenth of that much. */
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

/* ---- crops and flips ---- */

/* Every pixel of the crop says where it comes from. */
static void crop_and_flip_take_the_right_pixels(void **state)
{
    (void)state;
    static uint8_t pixels[BATCH * CHANNELS * IMAGE * IMAGE];
    static float images[BATCH * PIXELS * CHANNELS];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)draw(9, DRAW_WEIGHTS, 0, 0, (uint32_t)i).v[0];
    Device device;
    for (int number = 0; open_device(number, &device); number++) {
        for (int flip = 0; flip < 2; flip++) {
            Augmentation a = nothing;
            a.top = 4;
            a.left = 1;
            a.flip = flip;
            augment_all(&device, pixels, &a, images);
            for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
                size_t image = i / (PIXELS * CHANNELS), c = i % CHANNELS;
                size_t y = i / CHANNELS % PIXELS / CROP, x = i / CHANNELS % CROP;
                x = flip ? CROP - 1 - x : x; /* flipped again: as if not at all */
                uint8_t from = pixels[((image * CHANNELS + c) * IMAGE + y + 4) * IMAGE + x + 1];
                assert_true(images[i] == (float)from / 255.0f);
            }
        }
        device_close(&device);
    }
}

/* ---- draws ---- */

static Augmentation draw_image(uint32_t epoch, uint32_t step, uint32_t position)
{
    return augment_draw(AUGMENT_IMAGE, 5, epoch, step, position, 4, 4, true);
}

/* sum (counted - expected)^2 / expected */
static double chi_square(const unsigned *counts, size_t bins, double draws)
{
    double sum = 0.0, expected = draws / (double)bins;
    for (size_t i = 0; i < bins; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    return sum;
}

/* Fails where random counts would one time in 100000. */
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
    /* Rounding may reach the upper end itself. */
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

/* A run that goes on later draws what it would have drawn: from seed, epoch, step and position
 * alone, whatever else was drawn before. */
static void draws_belong_to_their_place(void **state)
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

/* The operation hands out just these draws, and restarting at a step changes none. */
static void sample_hands_out_the_draws(void **state)
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
            assert_int_equal(seen[i], 1); /* every image once an epoch */
        ops->release(device.backend, on_device);
        ops->release(device.backend, device_indices);
        ops->release(device.backend, device_drawn);
        device_close(&device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_numbers),
        cmocka_unit_test(hue_as_colorsys),
        cmocka_unit_test(neutral_factors_change_nothing),
        cmocka_unit_test(a_full_turn_of_the_hue_changes_nothing),
        cmocka_unit_test(thirds_of_a_turn_rotate_the_channels),
        cmocka_unit_test(hue_and_saturation_leave_grey_alone),
        cmocka_unit_test(blends_by_hand),
        cmocka_unit_test(crop_and_flip_take_the_right_pixels),
        cmocka_unit_test(draws_are_uniform_in_their_ranges),
        cmocka_unit_test(all_orders_occur_equally_often),
        cmocka_unit_test(reference_draws_once_for_a_batch),
        cmocka_unit_test(image_draws_for_every_image),
        cmocka_unit_test(none_is_the_centre_crop),
        cmocka_unit_test(grey_images_are_cropped_only),
        cmocka_unit_test(draws_belong_to_their_place),
        cmocka_unit_test(sample_hands_out_the_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
