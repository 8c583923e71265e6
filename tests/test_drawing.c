#include "pictures/drawing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const Colour red = {255, 0, 0}, black = {0, 0, 0};

static Picture white(int width, int height)
{
    Picture picture;
    Error error = {0};
    assert_true(drawing_create(width, height, &picture, &error));
    return picture;
}

static Colour at(const Picture *p, int x, int y)
{
    const uint8_t *pixel = p->pixels + (y * p->width + x) * 3;
    return (Colour){pixel[0], pixel[1], pixel[2]};
}

static bool same(Colour one, Colour other)
{
    return one.red == other.red && one.green == other.green && one.blue == other.blue;
}

static int count(const Picture *p, Colour colour)
{
    int found = 0;
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            found += same(at(p, x, y), colour);
    return found;
}

static void rectangles_are_cut_at_the_edges(void **state)
{
    (void)state;
    Picture p = white(10, 8);
    draw_rectangle(&p, 2, 3, 4, 2, red);
    assert_int_equal(count(&p, red), 8);
    assert_true(same(at(&p, 2, 3), red) && same(at(&p, 5, 4), red));
    assert_false(same(at(&p, 6, 4), red) || same(at(&p, 5, 5), red) || same(at(&p, 1, 3), red));
    draw_rectangle(&p, -5, -5, 6, 6, black);
    assert_int_equal(count(&p, black), 1);
    draw_rectangle(&p, 9, 7, 100, 100, black);
    assert_int_equal(count(&p, black), 2);
    draw_rectangle(&p, 20, 20, 5, 5, black);
    draw_rectangle(&p, -20, 2, 5, 5, black);
    assert_int_equal(count(&p, black), 2);
    picture_free(&p);
}

static void every_character_differs(void **state)
{
    (void)state;
    uint8_t seen['~' + 1][TEXT_WIDTH * TEXT_HEIGHT * 3];
    for (char c = ' '; c <= '~'; c++) {
        Picture p = white(TEXT_WIDTH, TEXT_HEIGHT);
        draw_text(&p, 0, 0, black, (char[]){c, '\0'});
        assert_int_equal(count(&p, black) > 0, c != ' ');
        memcpy(seen[(int)c], p.pixels, sizeof seen[0]);
        for (char other = ' '; other < c; other++)
            assert_memory_not_equal(seen[(int)other], seen[(int)c], sizeof seen[0]);
        picture_free(&p);
    }
}

static void text_goes_from_left_to_right(void **state)
{
    (void)state;
    Picture p = white(3 * TEXT_WIDTH, TEXT_HEIGHT), one = white(TEXT_WIDTH, TEXT_HEIGHT);
    assert_int_equal(text_width("abc"), 3 * TEXT_WIDTH);
    draw_text(&p, 0, 0, black, " L\xe4");
    draw_text(&one, 0, 0, black, "L");
    for (int y = 0; y < TEXT_HEIGHT; y++)
        for (int x = 0; x < TEXT_WIDTH; x++) {
            assert_false(same(at(&p, x, y), black));
            assert_true(same(at(&p, TEXT_WIDTH + x, y), at(&one, x, y)));
        }
    draw_rectangle(&one, 0, 0, TEXT_WIDTH, TEXT_HEIGHT, (Colour){255, 255, 255});
    draw_text(&one, 0, 0, black, "?");
    for (int y = 0; y < TEXT_HEIGHT; y++)
        for (int x = 0; x < TEXT_WIDTH; x++)
            assert_true(same(at(&p, 2 * TEXT_WIDTH + x, y), at(&one, x, y)));
    /* Partly outside the picture. */
    draw_text(&p, -3, -5, black, "WWWW");
    draw_text(&p, 2 * TEXT_WIDTH + 3, 5, black, "WWWW");
    picture_free(&p);
    picture_free(&one);
}

static void values_become_squares(void **state)
{
    (void)state;
    static const float values[] = {0, 1, 2, -1, NAN, 0.5f};
    Picture p = white(10, 8);
    FloatImage grey = {.values = values, .height = 2, .width = 3, .channels = 1, .white = 2};
    draw_image(&p, 1, 1, 2, &grey);
    static const uint8_t expected[] = {0, 128, 255, 0, 0, 64};
    for (int i = 0; i < 6; i++)
        for (int part = 0; part < 4; part++) {
            Colour c = at(&p, 1 + i % 3 * 2 + part % 2, 1 + i / 3 * 2 + part / 2);
            assert_true(same(c, (Colour){expected[i], expected[i], expected[i]}));
        }
    FloatImage rgb = {.values = values, .height = 1, .width = 2, .channels = 3, .white = 2};
    draw_image(&p, 8, 0, 1, &rgb);
    assert_true(same(at(&p, 8, 0), (Colour){0, 128, 255}));
    assert_true(same(at(&p, 9, 0), (Colour){0, 0, 64}));
    picture_free(&p);
}

static void colours_between(void **state)
{
    (void)state;
    assert_true(same(colour_between(red, black, 0), red));
    assert_true(same(colour_between(red, black, 1), black));
    assert_true(same(colour_between(black, red, 0.5), (Colour){128, 0, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rectangles_are_cut_at_the_edges),
        cmocka_unit_test(every_character_differs),
        cmocka_unit_test(text_goes_from_left_to_right),
        cmocka_unit_test(values_become_squares),
        cmocka_unit_test(colours_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
