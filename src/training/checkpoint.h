/*
 * Where a training run stands, and the files that keep it: `last.safetensors` holds the weights
 * under their published names, the Adam moments as optimiser.first.NAME and
 * optimiser.second.NAME, and the rest of the state as metadata; `best.safetensors` the weights
 * alone. Both have population statistics (population.h) where the model has them.
 */
#ifndef NNMF_CHECKPOINT_H
#define NNMF_CHECKPOINT_H

#include "network/model.h"
#include "nnmf/operations.h"
#include "training/schedule.h"

typedef struct TrainingState {
    uint32_t epoch;       /* the one in progress, from 0 */
    uint32_t step;        /* training steps made in it; all of them: it waits for its test */
    uint64_t updates;     /* training steps since the start of the run */
    Totals totals;        /* of the epoch's training so far */
    double train_seconds; /* spent on them */
    Schedule schedules[GROUPS];
    uint64_t best_correct, last_correct; /* test images, after the epochs so far */
    uint32_t best_epoch;
} TrainingState;

/* Writes weights, moments and state beside `path` and renames. Fails, leaving the old file whole,
 * if a number is not finite. */
bool checkpoint_write(const char *path, const Model *model, const TrainingState *state,
                      Error *error);

/* Writes the weights alone. `epoch` and `correct` go into the metadata. */
bool checkpoint_write_weights(const char *path, const Model *model, uint32_t epoch,
                              uint64_t correct, Error *error);

/* The same with any metadata: key, value, key, value, ... (metadata_count pairs). */
bool checkpoint_write_tensors(const char *path, const Model *model, const char *const *metadata,
                              size_t metadata_count, Error *error);

/* Reads what checkpoint_write wrote. Errors: those of safetensors.h and model_load_weights, and
 * missing or malformed moments and metadata. */
bool checkpoint_read(const char *path, Model *model, TrainingState *state, Error *error);

#endif
