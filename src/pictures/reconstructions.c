#include "pictures/sheets.h"

#include "nnmf/memory.h"
#include "pictures/layout.h"

#include <math.h>
#include <stdio.h>

enum { SCALE = 3, GROUPS_PER_ROW = 3, GROUP_GAP = 24 };

static const float MAGNIFICATION = 4.0f;

/* Upper left corner of a group of three images. */
typedef struct Place {
    int x, y;
} Place;

static void draw_group(const ReconstructionSheet *s, size_t i, Place at, float *difference,
                       Picture *picture)
{
    size_t elements = extent_elements(s->extent);
    const float *image = s->images + i * elements, *other = s->others + i * elements;
    for (size_t e = 0; e < elements; e++)
        difference[e] = fabsf(image[e] - other[e]) * MAGNIFICATION;
    const float *three[] = {image, other, difference};
    for (int part = 0; part < 3; part++) {
        FloatImage scaled = {.values = three[part],
                             .height = s->extent.height,
                             .width = s->extent.width,
                             .channels = s->extent.channels,
                             .white = 1.0f};
        int x = at.x + part * (s->extent.width * SCALE + 2);
        draw_image(picture, x, at.y, SCALE, &scaled);
    }
    char text[SHEET_TEXT];
    snprintf(text, sizeof text, "%zu %s, error %.4f", s->first + i, s->class_names[s->labels[i]],
             s->errors[i]);
    draw_text(picture, at.x, at.y + s->extent.height * SCALE + 2, ink, text);
}

static const char explanation[] =
    "Each: image, reconstruction, 4 x the difference. Error: root mean "
    "square, pixels from 0 to 1.";

bool sheet_reconstructions(const ReconstructionSheet *s, Picture *picture, Error *error)
{
    int width = 3 * s->extent.width * SCALE + 4 + GROUP_GAP;
    int height = s->extent.height * SCALE + LINE + GAP;
    int columns = s->count < GROUPS_PER_ROW ? (int)s->count : GROUPS_PER_ROW;
    int rows = ((int)s->count + columns - 1) / columns, content = columns * width - GROUP_GAP;
    if (content < text_width(explanation))
        content = text_width(explanation);
    float *difference =
        memory_allocate(extent_elements(s->extent), sizeof *difference, "a difference", error);
    bool done =
        difference && sheet_create(content, LINE + rows * height - GAP, s->caption, picture, error);
    if (done)
        draw_text(picture, MARGIN, MARGIN + LINE, faint, explanation);
    for (size_t i = 0; done && i < s->count; i++) {
        Place at = {.x = MARGIN + (int)i % columns * width,
                    .y = CAPTION + LINE + (int)i / columns * height};
        draw_group(s, i, at, difference, picture);
    }
    memory_free(difference);
    return done;
}
