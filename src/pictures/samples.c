#include "pictures/sheets.h"

#include "pictures/layout.h"

enum { SCALE = 3 };

bool sheet_samples(const SampleSheet *s, Picture *picture, Error *error)
{
    size_t columns = (size_t)s->columns, rows = (s->count + columns - 1) / columns;
    int width = s->extent.width * SCALE, height = s->extent.height * SCALE;
    int above = s->row_texts ? LINE : 0, line = above + height + LINE + GAP;
    int content = s->columns * (width + GAP) - GAP;
    for (size_t row = 0; row < rows && s->row_texts; row++)
        content = text_width(s->row_texts[row]) > content ? text_width(s->row_texts[row]) : content;
    if (!sheet_create(content, (int)rows * line - GAP, s->caption, picture, error))
        return false;
    for (size_t row = 0; row < rows && s->row_texts; row++)
        draw_text(picture, MARGIN, CAPTION + (int)row * line, faint, s->row_texts[row]);
    for (size_t i = 0; i < s->count; i++) {
        int x = MARGIN + (int)(i % columns) * (width + GAP);
        int y = CAPTION + (int)(i / columns) * line + above;
        FloatImage image = {.values = s->images + i * extent_elements(s->extent),
                            .height = s->extent.height,
                            .width = s->extent.width,
                            .channels = s->extent.channels,
                            .white = 1.0f};
        draw_image(picture, x, y, SCALE, &image);
        draw_centred(picture, x, y + height + 2, width, ink, s->class_names[s->labels[i]]);
    }
    return true;
}
