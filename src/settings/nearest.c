#include "settings/nearest.h"

#include <string.h>

enum { MAX_LENGTH = 40 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance; both at most MAX_LENGTH bytes. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t d[MAX_LENGTH + 1][MAX_LENGTH + 1];
    for (size_t i = 0; i <= a_length; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b_length; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = smaller(best, smaller(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = smaller(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[a_length][b_length];
}

const char *nearest_name(const char *word, size_t length, const char *const *names)
{
    if (length == 0 || length > MAX_LENGTH)
        return NULL;
    const char *nearest = NULL, *prefixed = NULL;
    size_t bound = length < 3 ? 2 : length / 3 + 1;
    for (; *names; names++) {
        size_t name_length = strlen(*names);
        if (name_length > MAX_LENGTH)
            continue;
        size_t distance = edit_distance(word, length, *names, name_length);
        if (distance < bound) {
            bound = distance;
            nearest = *names;
        }
        if (!prefixed && strncmp(*names, word, length) == 0)
            prefixed = *names;
    }
    return nearest ? nearest : prefixed;
}
