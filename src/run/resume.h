/*
 * Going on with a run. Its folder says what it is: config.json the options, last.safetensors the
 * state and, since version 0.2.0, the options that the state was trained with. One rule holds for
 * all of them: what --resume takes as an option may be edited in config.json too, anything else
 * belongs to the run, and an edit of it is refused.
 */
#ifndef NNMF_RESUME_H
#define NNMF_RESUME_H

#include "formats/safetensors.h"
#include "run/run_folder.h"
#include "training/checkpoint.h"

#include <jansson.h>

typedef struct Resume {
    json_t *config; /* config.json as it was */
    TensorFile last;
    json_t *options; /* of last.safetensors, NULL: it is of version 0.1.0, which kept none */
} Resume;

/* Opens the folder of --resume; `settings` become the run's (settings_from_config). On failure too
 * to be closed. */
bool resume_open(Settings *settings, RunFolder *folder, Resume *resume, Error *error);

/* The state of last.safetensors, with the learning rates that were given or edited. */
bool resume_state(const Resume *resume, const Settings *settings, const RunFolder *folder,
                  size_t train_images, Model *model, TrainingState *state, Error *error);

/* Looks, before hours of training, whether the best weights can be read, which the end of a run
 * needs. Where the file is *missing those of the last epoch take their place, which a warning
 * tells: the model's if no step was made since, else those after the epoch in progress. */
bool resume_best(const RunFolder *folder, TrainingState *state, bool *missing, Error *error);

/* Warns of what may change the results: other data, another device or instruction set than in the
 * configuration as it was. `config`: as it is now. */
void resume_warn(const Resume *resume, const json_t *config);

/* Also fine on an empty one (all zero). */
void resume_close(Resume *resume);

#endif
