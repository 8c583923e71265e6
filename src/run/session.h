/* A device, the network with its weights on it, and the images of one or both splits: what every
 * command opens that computes with a network, except bench. */
#ifndef NNMF_SESSION_H
#define NNMF_SESSION_H

#include "network/model.h"
#include "settings/settings.h"
#include "training/evaluation.h"

typedef struct Session {
    Device device;
    Network network;
    Model model;                       /* points to both, so a session must not be moved */
    Batches batches[DATASET_SPLITS];   /* empty for splits that are not loaded */
    uint32_t checksum[DATASET_SPLITS]; /* of all images of a split (image_set_checksum) */
} Session;

/* Opens device and network, and loads the weights of --weights; without it they are zero.
 * batch_size: maximum. On failure the session is empty. */
bool session_open(const Settings *settings, int batch_size, Session *session, Error *error);

/* Also loads the images `range` of --split, in file order, centre crop. Requires --weights. On
 * failure the session is empty. */
bool session_open_split(const Settings *settings, Range range, Session *session, Error *error);

/* Loads the images `range` (end 0: up to the last) of a split, in batches of --batch-size, which
 * must not exceed the model's. Errors: those of dataset_load and batches_create. */
bool session_load(const Settings *settings, DatasetSplit split, Range range, Sampling sampling,
                  Session *session, Error *error);

/* Runs all batches of a split (evaluate) and shows the progress. */
bool session_evaluate(Session *session, DatasetSplit split, StepKind kind, Evaluation *evaluation,
                      Error *error);

/* Does nothing for an empty session (all zero). */
void session_close(Session *session);

#endif
