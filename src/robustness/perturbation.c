#include "robustness/perturbation.h"

#include "nnmf/memory.h"
#include "nnmf/philox.h"

#include <math.h>
#include <string.h>

const char *const perturbation_choices[PERTURBATIONS + 2] = {
    "all",
    [1 + PERTURB_GAUSSIAN_NOISE] = "gaussian-noise",
    [1 + PERTURB_UNIFORM_NOISE] = "uniform-noise",
    [1 + PERTURB_SALT_AND_PEPPER] = "salt-and-pepper",
    [1 + PERTURB_GAUSSIAN_BLUR] = "gaussian-blur",
    [1 + PERTURB_CONTRAST] = "contrast",
    [1 + PERTURB_BRIGHTNESS] = "brightness",
    [1 + PERTURB_PIXELATION] = "pixelation",
    [1 + PERTURB_GRADIENT_SIGN] = "gradient-sign",
};

const Perturbation perturbations[PERTURBATIONS] = {
    [PERTURB_GAUSSIAN_NOISE] =
        {"standard deviation", 0.0, 10.0, true, {0.02, 0.04, 0.08, 0.12, 0.16, 0.24}},
    [PERTURB_UNIFORM_NOISE] = {"amplitude", 0.0, 10.0, true, {0.04, 0.08, 0.12, 0.2, 0.3, 0.4}},
    [PERTURB_SALT_AND_PEPPER] =
        {"fraction of the values", 0.0, 1.0, true, {0.01, 0.02, 0.04, 0.08, 0.12, 0.2}},
    [PERTURB_GAUSSIAN_BLUR] =
        {"standard deviation in pixels", 0.0, 100.0, false, {0.4, 0.6, 0.8, 1.0, 1.5, 2.0}},
    [PERTURB_CONTRAST] = {"factor", 0.0, 10.0, false, {0.8, 0.6, 0.4, 0.3, 0.2, 0.1}},
    [PERTURB_BRIGHTNESS] =
        {"added to the value", -1.0, 1.0, false, {0.05, 0.1, 0.15, 0.2, 0.3, 0.4}},
    [PERTURB_PIXELATION] =
        {"fraction of the side", 0.01, 1.0, false, {0.9, 0.8, 0.7, 0.6, 0.5, 0.3}},
    [PERTURB_GRADIENT_SIGN] =
        {"amplitude", 0.0, 1.0, false, {0.001, 0.002, 0.004, 0.008, 0.016, 0.032}},
};

static float clamp_to_unit(double value)
{
    return value < 0.0 ? 0.0f : value > 1.0 ? 1.0f : (float)value;
}

/* ---- noise ---- */

typedef struct NoiseSource {
    uint64_t seed;
    uint32_t repetition, image;
} NoiseSource;

/* Draws two uniform numbers for an element of an image, in (0, 1) and [0, 1). */
static void uniform_pair(const NoiseSource *source, size_t element, double *first, double *second)
{
    Philox words =
        draw(source->seed, DRAW_NOISE, source->repetition, source->image, (uint32_t)(element / 2));
    *first = ((double)words.v[element % 2 * 2] + 0.5) / 4294967296.0;
    *second = (double)words.v[element % 2 * 2 + 1] / 4294967296.0;
}

static void add_noise(PerturbationKind kind, double level, const NoiseSource *source,
                      size_t elements, const float *in, float *out)
{
    const double two_pi = 6.283185307179586;
    for (size_t i = 0; i < elements; i++) {
        double a, b, x = (double)in[i];
        uniform_pair(source, i, &a, &b);
        if (kind == PERTURB_GAUSSIAN_NOISE) /* Box, Muller 1958 */
            out[i] = clamp_to_unit(x + level * sqrt(-2.0 * log(a)) * cos(two_pi * b));
        else if (kind == PERTURB_UNIFORM_NOISE)
            out[i] = clamp_to_unit(x + level * (2.0 * a - 1.0));
        else
            out[i] = a >= level ? in[i] : b < 0.5 ? 0.0f : 1.0f;
    }
}

/* ---- blur ---- */

static int clamp(int value, int max)
{
    return value < 0 ? 0 : value > max ? max : value;
}

/* Blurs a row or column: `count` pixels that lie `step` elements apart. */
static void blur_line(const double *weights, int radius, int count, size_t step, const double *in,
                      double *out)
{
    for (int i = 0; i < count; i++) {
        double sum = 0.0;
        for (int d = -radius; d <= radius; d++)
            sum += weights[d + radius] * in[(size_t)clamp(i + d, count - 1) * step];
        out[(size_t)i * step] = sum;
    }
}

static bool blur(double sigma, Extent e, const float *in, float *out, Error *error)
{
    size_t elements = extent_elements(e), channels = (size_t)e.channels;
    int radius = (int)(4.0 * sigma + 0.5);
    size_t width = (size_t)e.width;
    double *work =
        memory_allocate(2 * elements + 2 * (size_t)radius + 1, sizeof *work, "a blur", error);
    if (!work)
        return false;
    double *rows = work + elements, *weights = rows + elements, sum = 0.0;
    for (int d = -radius; d <= radius; d++)
        sum += weights[d + radius] = radius ? exp(-0.5 * d * d / (sigma * sigma)) : 1.0;
    for (int d = 0; d <= 2 * radius; d++)
        weights[d] /= sum;
    for (size_t i = 0; i < elements; i++)
        work[i] = (double)in[i];
    for (size_t line = 0; line < (size_t)e.height; line++)
        for (size_t c = 0; c < channels; c++)
            blur_line(weights, radius, e.width, channels, work + line * width * channels + c,
                      rows + line * width * channels + c);
    for (size_t i = 0; i < width * channels; i++)
        blur_line(weights, radius, e.height, width * channels, rows + i, work + i);
    for (size_t i = 0; i < elements; i++)
        out[i] = clamp_to_unit(work[i]);
    memory_free(work);
    return true;
}

/* ---- contrast, brightness ---- */

static void change_contrast(double factor, Extent e, const float *in, float *out)
{
    size_t channels = (size_t)e.channels, elements = extent_elements(e);
    for (size_t c = 0; c < channels; c++) {
        double mean = 0.0;
        for (size_t i = c; i < elements; i += channels)
            mean += (double)in[i];
        mean /= (double)extent_positions(e);
        for (size_t i = c; i < elements; i += channels)
            out[i] = clamp_to_unit(mean + factor * ((double)in[i] - mean));
    }
}

/* HSV's value is the maximum of the channels; with hue and saturation kept, all channels scale by
 * the same factor. A black pixel has no hue and becomes grey. */
static void change_brightness(double added, Extent e, const float *in, float *out)
{
    size_t channels = (size_t)e.channels, elements = extent_elements(e);
    for (size_t i = 0; i < elements; i += channels) {
        double value = 0.0;
        for (size_t c = 0; c < channels; c++)
            value = fmax(value, (double)in[i + c]);
        double changed = (double)clamp_to_unit(value + added);
        for (size_t c = 0; c < channels; c++)
            out[i + c] = clamp_to_unit(value > 0.0 ? (double)in[i + c] * changed / value : changed);
    }
}

/* ---- pixelation ---- */

/* Returns how much of [begin, end) lies in pixel `number`. */
static double covered(double begin, double end, int number)
{
    double share = fmin(end, number + 1.0) - fmax(begin, number);
    return share > 0.0 ? share : 0.0;
}

/* Returns the mean over a rectangle of the image; pixels count by their covered area. */
static double area_mean(Extent e, const float *in, int channel, double top, double bottom,
                        double left, double right)
{
    double sum = 0.0;
    for (int y = (int)top; y < e.height && y < bottom; y++)
        for (int x = (int)left; x < e.width && x < right; x++)
            sum += covered(top, bottom, y) * covered(left, right, x) *
                   (double)in[((size_t)y * (size_t)e.width + (size_t)x) * (size_t)e.channels +
                              (size_t)channel];
    return sum / ((bottom - top) * (right - left));
}

static int shrunk(int side, double share)
{
    int kept = (int)(side * share);
    return kept < 1 ? 1 : kept;
}

static void pixelate(double share, Extent e, const float *in, float *out)
{
    int rows = shrunk(e.height, share), columns = shrunk(e.width, share);
    double tall = (double)e.height / rows, wide = (double)e.width / columns;
    for (int y = 0; y < e.height; y++)
        for (int x = 0; x < e.width; x++)
            for (int c = 0; c < e.channels; c++) {
                /* The large pixel that contains this one's centre. */
                int row = clamp((int)((y + 0.5) / tall), rows - 1);
                int column = clamp((int)((x + 0.5) / wide), columns - 1);
                *out++ = clamp_to_unit(area_mean(e, in, c, row * tall, (row + 1) * tall,
                                                 column * wide, (column + 1) * wide));
            }
}

/* ---- all of them ---- */

bool perturb_image(PerturbationKind kind, double level, uint64_t seed, uint32_t repetition,
                   uint32_t image, Extent extent, const float *in, float *out, Error *error)
{
    NoiseSource source = {.seed = seed, .repetition = repetition, .image = image};
    switch (kind) {
    case PERTURB_GAUSSIAN_NOISE:
    case PERTURB_UNIFORM_NOISE:
    case PERTURB_SALT_AND_PEPPER:
        add_noise(kind, level, &source, extent_elements(extent), in, out);
        return true;
    case PERTURB_GAUSSIAN_BLUR: return blur(level, extent, in, out, error);
    case PERTURB_CONTRAST: change_contrast(level, extent, in, out); return true;
    case PERTURB_BRIGHTNESS: change_brightness(level, extent, in, out); return true;
    case PERTURB_PIXELATION: pixelate(level, extent, in, out); return true;
    case PERTURB_GRADIENT_SIGN:
    case PERTURBATIONS: break;
    }
    return fail(error, "unknown perturbation: number %d", (int)kind);
}

void perturb_by_gradient(double level, size_t elements, const float *in, const float *gradient,
                         float *out)
{
    for (size_t i = 0; i < elements; i++) {
        double sign = gradient[i] > 0.0f ? 1.0 : gradient[i] < 0.0f ? -1.0 : 0.0;
        out[i] = clamp_to_unit((double)in[i] + level * sign);
    }
}
