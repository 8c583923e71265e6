/* A font of fixed width for labels; see font.c for where it is from. */
#ifndef NNMF_FONT_H
#define NNMF_FONT_H

#include "pictures/drawing.h"

enum { FONT_FIRST = ' ', FONT_GLYPHS = '~' - ' ' + 1 };

extern const uint8_t font_glyphs[FONT_GLYPHS][TEXT_HEIGHT];

#endif
