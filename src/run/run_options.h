/* The options that a run stores: absolute paths, so that it can be resumed from any working
 * directory, and JSON text for the metadata of its weights. */
#ifndef NNMF_RUN_OPTIONS_H
#define NNMF_RUN_OPTIONS_H

#include "settings/settings.h"

typedef struct RunOptions {
    char data[SETTINGS_PATH]; /* absolute path of the data folder */
    char *of_last, *of_best;  /* JSON text for last.safetensors and best.safetensors */
} RunOptions;

/* Also makes the paths in `settings` absolute. Errors: a path that is too long, a name that is not
 * UTF-8 and would be written as JSON, out of memory. Free `options` even after an error. */
bool run_options_make(Settings *settings, RunOptions *options, Error *error);

/* Does nothing for empty options (all zero). */
void run_options_free(RunOptions *options);

#endif
