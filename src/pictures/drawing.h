/* Drawing into a picture of three channels: rectangles, text, and arrays of numbers as images.
 * What lies outside the picture is left out. */
#ifndef NNMF_DRAWING_H
#define NNMF_DRAWING_H

#include "formats/picture.h"

typedef struct Colour {
    uint8_t red, green, blue;
} Colour;

enum { TEXT_WIDTH = 8, TEXT_HEIGHT = 13 }; /* of one character, in pixels */

/* A white picture. Errors as picture_create's. */
bool drawing_create(int width, int height, Picture *picture, Error *error);

void draw_rectangle(Picture *picture, int x, int y, int width, int height, Colour colour);

/* Printable ASCII in one line, x and y its upper left corner; '?' for other characters. */
void draw_text(Picture *picture, int x, int y, Colour colour, const char *text);
int text_width(const char *text);

/* Numbers (height, width, channels; 1 is grey, 3 RGB) as squares of `scale` pixels: 0 is black,
 * `white` and above is white. */
typedef struct NumberImage {
    const float *values;
    int height, width, channels;
    float white;
} NumberImage;
void draw_numbers(Picture *picture, int x, int y, int scale, const NumberImage *image);

/* `share` 0: from; 1: to. */
Colour colour_between(Colour from, Colour to, double share);

#endif
