#include "data/resample.h"

#include "nnmf/augment.h"

/* One axis: pixel i of the result covers begin + i step .. begin + (i + 1) step of the picture. */
typedef struct Axis {
    int size; /* of the picture */
    double begin, step;
} Axis;

/* Reads a pixel as RGB; grey is repeated. */
static void read_pixel(const Picture *p, int x, int y, double rgb[3])
{
    const uint8_t *pixel =
        p->pixels + ((size_t)y * (size_t)p->width + (size_t)x) * (size_t)p->channels;
    for (int c = 0; c < 3; c++)
        rgb[c] = pixel[p->channels == 3 ? c : 0];
}

/* Returns how much of pixel `at` lies within begin..end. */
static double overlap(int at, double begin, double end)
{
    double low = begin > at ? begin : at, high = end < at + 1 ? end : at + 1;
    return high > low ? high - low : 0.0;
}

static int clamp_to_pixel(double position, int size)
{
    return position < 0 ? 0 : position > size - 1 ? size - 1 : (int)position;
}

static void average(const Picture *p, const Axis *across, const Axis *down, int i, int j,
                    double rgb[3])
{
    double left = across->begin + j * across->step, right = left + across->step;
    double top = down->begin + i * down->step, bottom = top + down->step;
    double sum[3] = {0}, area = 0;
    for (int y = clamp_to_pixel(top, p->height); y < p->height && y < bottom; y++)
        for (int x = clamp_to_pixel(left, p->width); x < p->width && x < right; x++) {
            double pixel[3], part = overlap(y, top, bottom) * overlap(x, left, right);
            read_pixel(p, x, y, pixel);
            area += part;
            for (int c = 0; c < 3; c++)
                sum[c] += part * pixel[c];
        }
    for (int c = 0; c < 3; c++)
        rgb[c] = sum[c] / area;
}

/* Finds the two pixels around the centre of pixel i; returns the weight of the second. */
static double between(const Axis *axis, int i, int pair[2])
{
    double centre = axis->begin + (i + 0.5) * axis->step - 0.5;
    pair[0] = clamp_to_pixel(centre, axis->size);
    pair[1] = clamp_to_pixel(centre + 1, axis->size);
    return centre < 0 ? 0.0 : centre - pair[0];
}

static void interpolate(const Picture *p, const Axis *across, const Axis *down, int i, int j,
                        double rgb[3])
{
    int xs[2], ys[2];
    double fx = between(across, j, xs), fy = between(down, i, ys);
    for (int c = 0; c < 3; c++)
        rgb[c] = 0;
    for (int corner = 0; corner < 4; corner++) {
        int right = corner & 1, lower = corner >> 1;
        double pixel[3], part = (right ? fx : 1 - fx) * (lower ? fy : 1 - fy);
        read_pixel(p, xs[right], ys[lower], pixel);
        for (int c = 0; c < 3; c++)
            rgb[c] += part * pixel[c];
    }
}

static void store(const double rgb[3], int channels, size_t plane, uint8_t *pixel)
{
    if (channels == 3) {
        for (size_t c = 0; c < 3; c++)
            pixel[c * plane] = (uint8_t)(rgb[c] + 0.5);
        return;
    }
    /* The weights add up to 0.9999, so grey is not mixed. */
    bool grey = rgb[0] == rgb[1] && rgb[1] == rgb[2];
    float mixed = augment_grey((float[]){(float)rgb[0], (float)rgb[1], (float)rgb[2]});
    *pixel = (uint8_t)((grey ? rgb[0] : (double)mixed) + 0.5);
}

void resample_picture(const Picture *p, int channels, int height, int width, uint8_t *pixels)
{
    double step_x = (double)p->width / width, step_y = (double)p->height / height;
    double step = step_y < step_x ? step_y : step_x;
    Axis across = {.size = p->width, .begin = (p->width - step * width) / 2, .step = step};
    Axis down = {.size = p->height, .begin = (p->height - step * height) / 2, .step = step};
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) {
            double rgb[3];
            if (step < 1)
                interpolate(p, &across, &down, i, j, rgb);
            else
                average(p, &across, &down, i, j, rgb);
            store(rgb, channels, (size_t)height * (size_t)width,
                  pixels + (size_t)i * (size_t)width + (size_t)j);
        }
}
