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

/* The key of the options in the metadata of both files. */
#define CHECKPOINT_OPTIONS "options"

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

/* Writes weights, moments and state beside `path` and renames; `options`, JSON text, go into the
 * metadata. Fails, leaving the old file whole, if a number is not finite. */
bool checkpoint_write(const char *path, const Model *model, const TrainingState *state,
                      const char *options, Error *error);

/* Writes the weights alone; `epoch`, `correct` and `options` go into the metadata. */
bool checkpoint_write_weights(const char *path, const Model *model, uint32_t epoch,
                              uint64_t correct, const char *options, Error *error);

/* Is it one of checkpoint_write's, by its metadata, or weights alone? */
bool checkpoint_is(const TensorFile *file);

/* Takes what checkpoint_write wrote from the file's tensors and metadata; `path` is for messages.
 * Errors: those of model_load_weights, and missing or malformed moments and metadata. */
bool checkpoint_load(const TensorFile *file, const char *path, Model *model, TrainingState *state,
                     Error *error);

#endif
