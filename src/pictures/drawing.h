/* Draws rectangles, text and float images into a picture of three channels, clipped to the
 * picture. */
#ifndef NNMF_DRAWING_H
#define NNMF_DRAWING_H

#include "formats/picture.h"

typedef struct Colour {
    uint8_t red, green, blue;
} Colour;

enum { TEXT_WIDTH = 8, TEXT_HEIGHT = 13 }; /* of one character, in pixels */

/* Creates a white picture. Errors: see picture_create. */
bool drawing_create(int width, int height, Picture *picture, Error *error);

void draw_rectangle(Picture *picture, int x, int y, int width, int height, Colour colour);

/* Draws a line of printable ASCII with its upper left corner at x, y; '?' for other characters. */
void draw_text(Picture *picture, int x, int y, Colour colour, const char *text);
int text_width(const char *text);

typedef struct FloatImage {
    const float *values; /* (height, width, channels); 1 channel is grey, 3 are RGB */
    int height, width, channels;
    float white; /* 0 is black, this value and above is white */
} FloatImage;

/* Draws each pixel of the image as a square of `scale` pixels. */
void draw_image(Picture *picture, int x, int y, int scale, const FloatImage *image);

/* Mixes two colours: `share` 0 gives from, 1 gives to. */
Colour colour_between(Colour from, Colour to, double share);

#endif
