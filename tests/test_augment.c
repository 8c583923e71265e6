/* Augmented images: compared with the published program's (in the folder $NNMF_REFERENCE), and
 * crops and flips compared pixel by pixel. */
#include "augmenting.h"

#include "formats/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGE = 32, CROP = 28, CHANNELS = 3, PIXELS = CROP * CROP, BATCH = 8 };

/* ---- the published program ---- */

/* Augments all images of the reference file in the same way. images: (BATCH, CROP, CROP, 3) */
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

/* Returns the maximum difference between images and a tensor with channels first. */
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

/* Returns the augmentation of a tensor of the reference file. All tensors are crops at the same
 * place, which the name of the first contains. */
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

/* ---- crops and flips ---- */

/* The pixels are noise, so that a wrong one is unlikely to have the right value. */
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
                x = flip ? CROP - 1 - x : x; /* flipped back */
                uint8_t from = pixels[((image * CHANNELS + c) * IMAGE + y + 4) * IMAGE + x + 1];
                assert_true(images[i] == (float)from / 255.0f);
            }
        }
        device_close(&device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_numbers),
        cmocka_unit_test(crop_and_flip_take_the_right_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
