/*
 * The options that weights were made with, in the metadata of their file (checkpoint.h) as JSON:
 * best.safetensors has those that whoever uses the weights has to know, last.safetensors all those
 * that belong to the run. Weights from elsewhere, or of version 0.1.0, have none.
 */
#ifndef NNMF_SETTINGS_WEIGHTS_H
#define NNMF_SETTINGS_WEIGHTS_H

#include "formats/safetensors.h"
#include "settings/settings_json.h"
#include "training/checkpoint.h"

/* As text for the metadata; NULL when out of memory. Free with free(). */
char *weights_options_text(const json_t *options, Error *error);

/* Those of the file, NULL where it has none; `path` is for messages. Release with json_decref. */
bool weights_options_read(const TensorFile *file, const char *path, json_t **options, Error *error);

/* The options of the network, and of its tests, become those of the file of --weights or --init,
 * where it has any. A file that cannot be read is left to the command. Errors: a bad value, an
 * option that was given and contradicts the file without --override, --override without a file. */
bool settings_use_weights(Settings *settings, Error *error);

/* What a file of the same weights keeps that was made with `settings`: the options of the file that
 * they are from, NULL: it has none, with those of the network as they are now. NULL when out of
 * memory. */
json_t *weights_options_now(const Settings *settings, const json_t *options, Error *error);

/* For --resume: fails if an option that belongs to the run has another value in its `config` than
 * in its `checkpoint`, whose options these are. */
bool settings_check_edits(const Settings *settings, const json_t *options, const char *config,
                          const char *checkpoint, Error *error);

/* Has the option of this name another value in `options`, or none? */
bool weights_option_differs(const Settings *settings, const json_t *options, const char *name);

#endif
