/* What a run keeps of its settings: paths from the root, so that it may be resumed from anywhere,
 * in names that JSON can hold; and its options as text for the metadata of its weights. */
#ifndef NNMF_RUN_OPTIONS_H
#define NNMF_RUN_OPTIONS_H

#include "settings/settings.h"

typedef struct RunOptions {
    char data[SETTINGS_PATH]; /* the data's folder, from the root */
    char *of_last, *of_best;  /* of last.safetensors and best.safetensors, JSON */
} RunOptions;

/* Makes the paths in `settings` begin at the root too. Errors: a path that is too long, a name that
 * is not UTF-8 where JSON has to hold it. On failure too to be freed. */
bool run_options_make(Settings *settings, RunOptions *options, Error *error);

/* Also fine on empty options (all zero). */
void run_options_free(RunOptions *options);

#endif
