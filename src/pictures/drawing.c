#include "pictures/drawing.h"

#include "pictures/font.h"

#include <string.h>

bool drawing_create(int width, int height, Picture *picture, Error *error)
{
    if (!picture_create(width, height, 3, picture, error))
        return false;
    memset(picture->pixels, 255, (size_t)width * (size_t)height * 3);
    return true;
}

static int clamp(int value, int max)
{
    return value < 0 ? 0 : value > max ? max : value;
}

void draw_rectangle(Picture *picture, int x, int y, int width, int height, Colour colour)
{
    int left = clamp(x, picture->width), right = clamp(x + width, picture->width);
    int top = clamp(y, picture->height), bottom = clamp(y + height, picture->height);
    for (int row = top; row < bottom; row++) {
        uint8_t *pixel =
            picture->pixels + ((size_t)row * (size_t)picture->width + (size_t)left) * 3;
        for (int column = left; column < right; column++, pixel += 3) {
            pixel[0] = colour.red;
            pixel[1] = colour.green;
            pixel[2] = colour.blue;
        }
    }
}

static void draw_glyph(Picture *picture, int x, int y, Colour colour, char character)
{
    int number = (unsigned char)character - FONT_FIRST;
    const uint8_t *glyph = font_glyphs[number >= 0 && number < FONT_GLYPHS ? number : '?' - ' '];
    for (int row = 0; row < TEXT_HEIGHT; row++)
        for (int column = 0; column < TEXT_WIDTH; column++)
            if (glyph[row] & 0x80 >> column)
                draw_rectangle(picture, x + column, y + row, 1, 1, colour);
}

void draw_text(Picture *picture, int x, int y, Colour colour, const char *text)
{
    for (; *text; text++, x += TEXT_WIDTH)
        draw_glyph(picture, x, y, colour, *text);
}

int text_width(const char *text)
{
    return (int)strlen(text) * TEXT_WIDTH;
}

static uint8_t to_byte(float value, float white)
{
    if (!(value > 0)) /* NaN too */
        return 0;
    return value >= white ? 255 : (uint8_t)(value / white * 255.0f + 0.5f);
}

void draw_image(Picture *picture, int x, int y, int scale, const FloatImage *image)
{
    const float *value = image->values;
    bool rgb = image->channels == 3;
    for (int row = 0; row < image->height; row++)
        for (int column = 0; column < image->width; column++, value += image->channels) {
            Colour colour = {to_byte(value[0], image->white),
                             to_byte(value[rgb ? 1 : 0], image->white),
                             to_byte(value[rgb ? 2 : 0], image->white)};
            draw_rectangle(picture, x + column * scale, y + row * scale, scale, scale, colour);
        }
}

Colour colour_between(Colour from, Colour to, double share)
{
    return (Colour){(uint8_t)(from.red + share * (to.red - from.red) + 0.5),
                    (uint8_t)(from.green + share * (to.green - from.green) + 0.5),
                    (uint8_t)(from.blue + share * (to.blue - from.blue) + 0.5)};
}
