/* What the sheets have in common: margins, colours, captions. */
#ifndef NNMF_LAYOUT_H
#define NNMF_LAYOUT_H

#include "pictures/drawing.h"

enum {
    MARGIN = 16,                   /* around a sheet */
    GAP = 8,                       /* between its parts */
    LINE = TEXT_HEIGHT + 3,        /* from one line of text to the next */
    CAPTION = MARGIN + LINE + GAP, /* where a sheet's content begins */
};

static const Colour ink = {32, 32, 32}, faint = {128, 128, 128}, paper = {255, 255, 255};

/* A sheet for content of this size, at (MARGIN, CAPTION), with its caption; as wide as the caption
 * needs. */
static inline bool sheet_create(int width, int height, const char *caption, Picture *picture,
                                Error *error)
{
    int wide = text_width(caption) > width ? text_width(caption) : width;
    if (!drawing_create(wide + 2 * MARGIN, height + CAPTION + MARGIN, picture, error))
        return false;
    draw_text(picture, MARGIN, MARGIN, ink, caption);
    return true;
}

/* Text in the middle of `width` pixels. */
static inline void draw_centred(Picture *picture, int x, int y, int width, Colour colour,
                                const char *text)
{
    draw_text(picture, x + (width - text_width(text)) / 2, y, colour, text);
}

#endif
