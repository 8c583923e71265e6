/*
 * The options that weights were trained with, stored as JSON in their file's metadata
 * (checkpoint.h): best.safetensors has those needed to use the weights, last.safetensors all those
 * fixed for the run. Weights of version 0.1.0 and of other programs have none.
 */
#ifndef NNMF_SETTINGS_WEIGHTS_H
#define NNMF_SETTINGS_WEIGHTS_H

#include "formats/safetensors.h"
#include "settings/settings_json.h"
#include "training/checkpoint.h"

/* Returns the text for the metadata; NULL if out of memory. Free it with free(). */
char *weights_options_text(const json_t *options, Error *error);

/* Sets *options to those of the file, NULL if it has none; `path` is for messages. Release them
 * with json_decref. */
bool weights_options_read(const TensorFile *file, const char *path, json_t **options, Error *error);

/* Sets the options of the network, and of its tests, to those stored in the file of --weights or
 * --init, if any. Ignores an unreadable file, which the command reports. Errors: a bad value, a
 * given option that contradicts the file without --override, --override without a file. */
bool settings_use_weights(Settings *settings, Error *error);

/* Returns the options to store when the same weights are written again: `options` of the file they
 * were read from (NULL if it has none), updated with those of the network in `settings`. Returns
 * NULL if out of memory. */
json_t *weights_options_now(const Settings *settings, const json_t *options, Error *error);

/* For --resume: fails if an option that is fixed for the run differs between `settings`, read from
 * the file `config`, and `options`, read from the file `checkpoint`. */
bool settings_check_edits(const Settings *settings, const json_t *options, const char *config,
                          const char *checkpoint, Error *error);

/* Returns whether the option is missing from `options` or has another value there. */
bool weights_option_differs(const Settings *settings, const json_t *options, const char *name);

#endif
