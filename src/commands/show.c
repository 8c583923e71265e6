#include "commands/show.h"

#include "commands/commands.h"

#include <stdio.h>

static bool draw_sheet(const Settings *s, Picture *picture, Error *error)
{
    if (s->samples)
        return show_samples(s, picture, error);
    if (!s->weights[0])
        return fail_usage(error, "option missing: --weights: a safetensors file was expected");
    if (s->reconstruct)
        return show_reconstructions(s, picture, error);
    if (s->confusion)
        return show_confusion(s, picture, error);
    return show_weights(s, picture, error);
}

bool command_show(const Settings *s, int *status, Error *error)
{
    (void)status;
    if (!s->out[0])
        return fail_usage(error, "option missing: --out: a PNG file to write was expected");
    if ((s->samples > 0) + (s->reconstruct > 0) + s->confusion + (s->layer > 0) > 1)
        return fail_usage(error,
                          "conflicting options: --samples, --reconstruct, --confusion, "
                          "--layer: at most one was expected");
    if (s->batches_at_once > 1 && !s->confusion)
        return fail_usage(error,
                          "option of --confusion: --batches-at-once: other pictures need no "
                          "test pass");
    Picture picture;
    if (!draw_sheet(s, &picture, error))
        return false;
    bool written = picture_write_png(s->out, &picture, error);
    if (written)
        printf("%s: %d x %d pixels\n", s->out, picture.width, picture.height);
    picture_free(&picture);
    return written;
}
