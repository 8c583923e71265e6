/* Options as JSON, under their names: in a run's config.json, and as text in the metadata of
 * checkpoints and weights files. */
#ifndef NNMF_SETTINGS_JSON_H
#define NNMF_SETTINGS_JSON_H

#include "settings/settings.h"

#include <jansson.h>

typedef enum OptionsOf {
    OPTIONS_OF_CONFIG,     /* every option that makes up a training run */
    OPTIONS_OF_CHECKPOINT, /* those that belong to the run: they are not to change in it */
    OPTIONS_OF_WEIGHTS,    /* those that whoever uses the weights has to know */
} OptionsOf;

/* NULL when out of memory. */
json_t *settings_to_json(const Settings *settings, OptionsOf which);

/* For --resume: replaces the options of a training run by those of its config.json at `path`; those
 * that may be given stay if they were. `version`: of the program that wrote it, NULL: unknown.
 * Options that an older version did not have keep their defaults, which a warning tells, as it
 * does of options that are unknown. Errors: an option that was given and may not be, a missing or
 * bad value. */
bool settings_from_config(const json_t *options, const char *version, const char *path,
                          Settings *settings, Error *error);

#endif
