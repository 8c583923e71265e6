/* A fixed-width font for labels; font.c names its source. */
#ifndef NNMF_FONT_H
#define NNMF_FONT_H

#include "pictures/drawing.h"

enum { FONT_FIRST = ' ', FONT_GLYPHS = '~' - ' ' + 1 };

extern const uint8_t font_glyphs[FONT_GLYPHS][TEXT_HEIGHT];

#endif
