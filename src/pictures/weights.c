#include "pictures/sheets.h"

#include "nnmf/memory.h"
#include "pictures/layout.h"

#include <stdio.h>

enum {
    SHEET_WIDTH = 1200, /* maximum width of a row of layers */
    LAYER_GAP = 32,
    PATCH_SCALE = 12,
    PATCHES_PER_ROW = 8,
    LABEL_INTERVAL = 8, /* every 8th row and column of a table is numbered */
    NUMBER_WIDTH = 3 * TEXT_WIDTH + 4,
};

/* A layer's position and size, in pixels. */
typedef struct Panel {
    int x, y, width, height;
    int scale; /* side of a weight */
    int step;  /* from one patch or window to the next */
} Panel;

static bool sees_image(const WeightLayer *layer)
{
    return layer->channels == 1 || layer->channels == 3;
}

static void heading(const WeightLayer *layer, char text[SHEET_TEXT])
{
    if (sees_image(layer))
        snprintf(text, SHEET_TEXT, "Layer %d: %d patches of %d x %d%s", layer->index,
                 layer->outputs, layer->kernel, layer->kernel,
                 layer->channels == 3 ? " in colour" : "");
    else
        snprintf(text, SHEET_TEXT,
                 "Layer %d: %d outputs (down) x %d channels (across), windows of %d x %d",
                 layer->index, layer->outputs, layer->channels, layer->kernel, layer->kernel);
}

static Panel measure(const WeightLayer *layer)
{
    char text[SHEET_TEXT];
    Panel b = {.width = 0};
    if (sees_image(layer)) {
        int columns = layer->outputs < PATCHES_PER_ROW ? layer->outputs : PATCHES_PER_ROW;
        int rows = (layer->outputs + columns - 1) / columns;
        b.scale = PATCH_SCALE;
        b.step = layer->kernel * b.scale + GAP;
        b.width = columns * b.step - GAP;
        b.height = LINE + rows * (b.step + LINE) - GAP;
    } else {
        b.scale = layer->kernel < 3 ? 8 / layer->kernel : 3;
        b.step = layer->kernel * b.scale + 1;
        b.width = NUMBER_WIDTH + layer->channels * b.step;
        b.height = 2 * LINE + layer->outputs * b.step;
    }
    heading(layer, text);
    b.width = b.width > text_width(text) ? b.width : text_width(text);
    return b;
}

/* Places panels side by side while they fit, in order; sets the size of all. */
static void arrange(Panel *panels, int count, int *width, int *height)
{
    int x = 0, y = 0, tallest = 0;
    *width = 0;
    for (int i = 0; i < count; i++) {
        if (x > 0 && x + panels[i].width > SHEET_WIDTH) {
            x = 0;
            y += tallest + LAYER_GAP;
            tallest = 0;
        }
        panels[i].x = MARGIN + x;
        panels[i].y = CAPTION + y;
        x += panels[i].width;
        *width = x > *width ? x : *width;
        x += LAYER_GAP;
        tallest = panels[i].height > tallest ? panels[i].height : tallest;
    }
    *height = y + tallest;
}

/* Returns the maximum, or 1 if no value is positive. */
static float max_or_one(const float *values, size_t count)
{
    float max = 0;
    for (size_t i = 0; i < count; i++)
        max = values[i] > max ? values[i] : max;
    return max > 0 ? max : 1.0f;
}

static void draw_patches(const WeightLayer *layer, const Panel *b, Picture *picture)
{
    size_t elements = (size_t)layer->kernel * (size_t)layer->kernel * (size_t)layer->channels;
    for (int i = 0; i < layer->outputs; i++) {
        const float *w = layer->w + (size_t)i * elements;
        FloatImage image = {.values = w,
                            .height = layer->kernel,
                            .width = layer->kernel,
                            .channels = layer->channels,
                            .white = max_or_one(w, elements)};
        int x = b->x + i % PATCHES_PER_ROW * b->step;
        int y = b->y + LINE + i / PATCHES_PER_ROW * (b->step + LINE);
        draw_image(picture, x, y, b->scale, &image);
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        draw_centred(picture, x, y + layer->kernel * b->scale + 2, layer->kernel * b->scale, faint,
                     text);
    }
}

static const Colour between_windows = {72, 72, 112};

/* `window`: a buffer for one window. */
static void draw_table(const WeightLayer *layer, const Panel *b, float *window, Picture *picture)
{
    size_t channels = (size_t)layer->channels;
    size_t positions = (size_t)layer->kernel * (size_t)layer->kernel;
    int left = b->x + NUMBER_WIDTH, top = b->y + 2 * LINE;
    char text[16];
    draw_rectangle(picture, left - 1, top - 1, layer->channels * b->step + 1,
                   layer->outputs * b->step + 1, between_windows);
    for (int c = 0; c < layer->channels; c += LABEL_INTERVAL) {
        snprintf(text, sizeof text, "%d", c);
        draw_text(picture, left + c * b->step, top - LINE + 1, faint, text);
    }
    for (int o = 0; o < layer->outputs; o++) {
        const float *w = layer->w + (size_t)o * positions * channels;
        float white = max_or_one(w, positions * channels);
        if (o % LABEL_INTERVAL == 0) {
            snprintf(text, sizeof text, "%3d", o);
            draw_text(picture, b->x, top + o * b->step - 1, faint, text);
        }
        for (size_t c = 0; c < channels; c++) {
            for (size_t p = 0; p < positions; p++)
                window[p] = w[p * channels + c];
            FloatImage image = {.values = window,
                                .height = layer->kernel,
                                .width = layer->kernel,
                                .channels = 1,
                                .white = white};
            draw_image(picture, left + (int)c * b->step, top + o * b->step, b->scale, &image);
        }
    }
}

static bool draw_layer(const WeightLayer *layer, const Panel *b, Picture *picture, Error *error)
{
    char text[SHEET_TEXT];
    heading(layer, text);
    draw_text(picture, b->x, b->y, ink, text);
    if (sees_image(layer)) {
        draw_patches(layer, b, picture);
        return true;
    }
    size_t positions = (size_t)layer->kernel * (size_t)layer->kernel;
    float *window = memory_allocate(positions, sizeof *window, "a window", error);
    if (!window)
        return false;
    draw_table(layer, b, window, picture);
    memory_free(window);
    return true;
}

bool sheet_weights(const char *caption, const WeightLayer *layers, int layer_count,
                   Picture *picture, Error *error)
{
    Panel panels[MAX_LAYERS];
    int width, height;
    for (int i = 0; i < layer_count; i++)
        panels[i] = measure(&layers[i]);
    arrange(panels, layer_count, &width, &height);
    if (!sheet_create(width, height, caption, picture, error))
        return false;
    for (int i = 0; i < layer_count; i++)
        if (!draw_layer(&layers[i], &panels[i], picture, error)) {
            picture_free(picture);
            return false;
        }
    return true;
}
