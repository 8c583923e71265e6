/* Options as a JSON object, by name: a run's config.json, and the metadata of checkpoints and
 * weights files. */
#ifndef NNMF_SETTINGS_JSON_H
#define NNMF_SETTINGS_JSON_H

#include "settings/settings.h"

#include <jansson.h>

typedef enum OptionsOf {
    OPTIONS_OF_CONFIG,     /* every stored option of train */
    OPTIONS_OF_CHECKPOINT, /* those fixed for the run, and the learning rates */
    OPTIONS_OF_WEIGHTS,    /* those needed to use the weights */
} OptionsOf;

/* Returns NULL if out of memory. */
json_t *settings_to_json(const Settings *settings, OptionsOf which);

/* For --resume: sets the options to those of the run's config.json at `path`, except options given
 * on the command line that a run may change. `version`: of the program that wrote it; NULL if
 * unknown. Options that an older version did not have keep their defaults, with a warning; unknown
 * options are ignored, with a warning. Errors: a given option that is fixed for the run, a missing
 * or bad value. */
bool settings_from_config(const json_t *options, const char *version, const char *path,
                          Settings *settings, Error *error);

#endif
