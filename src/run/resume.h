/*
 * Resuming a run from its folder: config.json has the options; last.safetensors has the state and,
 * since version 0.2.0, the options that it was trained with. Options that --resume accepts may also
 * be edited in config.json. All others are fixed for the run, and an edit is an error.
 */
#ifndef NNMF_RESUME_H
#define NNMF_RESUME_H

#include "formats/safetensors.h"
#include "run/run_folder.h"
#include "training/checkpoint.h"

#include <jansson.h>

typedef struct Resume {
    json_t *config; /* config.json before the resumed run rewrites it */
    TensorFile last;
    json_t *options; /* of last.safetensors; NULL if version 0.1.0 wrote it */
} Resume;

/* Opens the folder of --resume and sets `settings` to the run's (settings_from_config). Close
 * `resume` even after an error. */
bool resume_open(Settings *settings, RunFolder *folder, Resume *resume, Error *error);

/* Loads model and state from last.safetensors, and applies learning rates that were given or
 * edited. */
bool resume_state(const Resume *resume, const Settings *settings, const RunFolder *folder,
                  size_t train_images, Model *model, TrainingState *state, Error *error);

/* Checks before training that the best weights are readable, because the end of the run needs them.
 * If the file is *missing, warns that other weights replace them: the model's if no step was made
 * since the last epoch, else those after the epoch in progress. */
bool resume_best(const RunFolder *folder, TrainingState *state, bool *missing, Error *error);

/* Warns if the data, the device or the instruction set differs between the run's configuration and
 * `config`, the new one. */
void resume_warn(const Resume *resume, const json_t *config);

/* Does nothing if `resume` is empty (all zero). */
void resume_close(Resume *resume);

#endif
