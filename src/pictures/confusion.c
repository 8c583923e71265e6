#include "pictures/sheets.h"

#include "pictures/layout.h"

#include <inttypes.h>
#include <stdio.h>

enum { CLASSES = DATASET_CLASSES, CELL_HEIGHT = 40, PADDING = 8 };

typedef struct Table {
    Picture *picture;
    int x, y, cell; /* of the first cell, and its width */
} Table;

static int widest(const char *const *names)
{
    int width = 0;
    for (int i = 0; i < CLASSES; i++)
        if (text_width(names[i]) > width)
            width = text_width(names[i]);
    return width;
}

/* Correct answers in blue, wrong ones in red, the deeper the larger their share of the row. */
static void draw_cell(const Table *t, int row, int column, uint64_t count, uint64_t total)
{
    static const Colour correct = {8, 48, 107}, wrong = {165, 15, 21};
    double share = total ? (double)count / (double)total : 0.0;
    /* The share of a wrong answer is usually small: scaled from 0 to a quarter. */
    double depth = row == column ? share : share < 0.25 ? share * 4 : 1.0;
    int x = t->x + column * t->cell, y = t->y + row * CELL_HEIGHT;
    draw_rectangle(t->picture, x, y, t->cell - 1, CELL_HEIGHT - 1,
                   colour_between(paper, row == column ? correct : wrong, depth));
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, count);
    draw_centred(t->picture, x, y + (CELL_HEIGHT - TEXT_HEIGHT) / 2, t->cell,
                 depth > 0.5 ? paper : ink, text);
}

static void draw_share(const Table *t, int row, int column, uint64_t count, uint64_t total)
{
    char text[32] = "-";
    if (total)
        snprintf(text, sizeof text, "%.1f%%", 100.0 * (double)count / (double)total);
    draw_centred(t->picture, t->x + column * t->cell,
                 t->y + row * CELL_HEIGHT + (CELL_HEIGHT - TEXT_HEIGHT) / 2, t->cell, faint, text);
}

static void draw_table(const Table *t, uint64_t counts[CLASSES][CLASSES])
{
    draw_rectangle(t->picture, t->x - 1, t->y - 1, CLASSES * t->cell + 1, CLASSES * CELL_HEIGHT + 1,
                   colour_between(paper, ink, 0.25));
    for (int i = 0; i < CLASSES; i++) {
        uint64_t in_row = 0, in_column = 0;
        for (int j = 0; j < CLASSES; j++) {
            in_row += counts[i][j];
            in_column += counts[j][i];
        }
        for (int j = 0; j < CLASSES; j++)
            draw_cell(t, i, j, counts[i][j], in_row);
        draw_share(t, i, CLASSES, counts[i][i], in_row);
        draw_share(t, CLASSES, i, counts[i][i], in_column);
    }
}

static void draw_names(const Table *t, const char *const *names)
{
    int middle = (CELL_HEIGHT - TEXT_HEIGHT) / 2, left = t->x - PADDING;
    for (int i = 0; i < CLASSES; i++) {
        draw_text(t->picture, left - text_width(names[i]), t->y + i * CELL_HEIGHT + middle, ink,
                  names[i]);
        draw_centred(t->picture, t->x + i * t->cell, t->y - LINE, t->cell, ink, names[i]);
    }
    draw_centred(t->picture, t->x + CLASSES * t->cell, t->y - LINE, t->cell, faint, "recall");
    draw_text(t->picture, left - text_width("precision"), t->y + CLASSES * CELL_HEIGHT + middle,
              faint, "precision");
    draw_text(t->picture, MARGIN, t->y - LINE, faint, "true");
    draw_text(t->picture, t->x, t->y - 2 * LINE, faint,
              "predicted as          (blue: share of the class; red: four times the share)");
}

bool sheet_confusion(const char *caption, uint64_t counts[CLASSES][CLASSES],
                     const char *const *names, Picture *picture, Error *error)
{
    int name = widest(names) > text_width("precision") ? widest(names) : text_width("precision");
    int cell = name + PADDING, left = name + PADDING;
    if (!sheet_create(left + (CLASSES + 1) * cell, 2 * LINE + (CLASSES + 1) * CELL_HEIGHT, caption,
                      picture, error))
        return false;
    Table table = {.picture = picture, .x = MARGIN + left, .y = CAPTION + 2 * LINE, .cell = cell};
    draw_table(&table, counts);
    draw_names(&table, names);
    return true;
}
