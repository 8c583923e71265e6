/* What all sheets share: margins, colours, captions. */
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

/* Creates a sheet with a caption and space for content of width x height at (MARGIN, CAPTION). It
 * is at least as wide as the caption. */
static inline bool sheet_create(int width, int height, const char *caption, Picture *picture,
                                Error *error)
{
    int wide = text_width(caption) > width ? text_width(caption) : width;
    if (!drawing_create(wide + 2 * MARGIN, height + CAPTION + MARGIN, picture, error))
        return false;
    draw_text(picture, MARGIN, MARGIN, ink, caption);
    return true;
}

/* Draws text centred in `width` pixels. */
static inline void draw_centred(Picture *picture, int x, int y, int width, Colour colour,
                                const char *text)
{
    draw_text(picture, x + (width - text_width(text)) / 2, y, colour, text);
}

#endif
