/*
 * The state of a training run and its files. `last.safetensors` holds the weights under their
 * published names, the Adam moments as optimiser.first.NAME and optimiser.second.NAME, and the rest
 * of the state as metadata; `best.safetensors` holds only the weights. Both include population
 * statistics (population.h) if the model has them.
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
    uint32_t step;        /* training steps done in it; if all are, its test is next */
    uint64_t updates;     /* training steps since the start of the run */
    Totals totals;        /* of these steps */
    double train_seconds; /* spent on these steps */
    Schedule schedules[GROUPS];
    uint64_t best_correct, last_correct; /* test images, of the best and the last epoch */
    uint32_t best_epoch;
} TrainingState;

/* Writes weights, moments and state to a temporary file and renames it to `path`. options: JSON
 * text for the metadata. Fails and keeps the old file if a number is not finite. */
bool checkpoint_write(const char *path, const Model *model, const TrainingState *state,
                      const char *options, Error *error);

/* Writes only the weights, with `epoch`, `correct` and `options` as metadata. */
bool checkpoint_write_weights(const char *path, const Model *model, uint32_t epoch,
                              uint64_t correct, const char *options, Error *error);

/* Returns whether checkpoint_write wrote the file, judging by its metadata. */
bool checkpoint_is(const TensorFile *file);

/* Loads model and state from the file's tensors and metadata; `path` is for messages.
 * Errors: those of model_load_weights, and missing or malformed moments and metadata. */
bool checkpoint_load(const TensorFile *file, const char *path, Model *model, TrainingState *state,
                     Error *error);

#endif
