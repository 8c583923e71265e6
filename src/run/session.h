/* What every command that uses a network opens: a device, the network with its weights on it, and
 * the images of one or both splits. */
#ifndef NNMF_SESSION_H
#define NNMF_SESSION_H

#include "network/model.h"
#include "settings/settings.h"
#include "training/evaluation.h"

typedef struct Session {
    Device device;
    Network network;
    Model model;                       /* points to both: a session must not be moved */
    Batches batches[DATASET_SPLITS];   /* of the splits that are loaded; empty otherwise */
    uint32_t checksum[DATASET_SPLITS]; /* of all images of these splits (image_set_checksum) */
} Session;

/* Opens device and network, with the weights of --weights, or zeros without. On failure the session
 * is empty. */
bool session_open(const Settings *settings, int batch_size, Session *session, Error *error);

/* Opens the same with the images `range` (end 0: to the last one) of the split of --split, in file
 * order, centre crop. --weights is required. On failure the session is empty. */
bool session_open_split(const Settings *settings, Range range, Session *session, Error *error);

/* Loads images of a split into such a session, in batches of --batch-size, at most that of the
 * model. */
bool session_load(const Settings *settings, DatasetSplit split, Range range, Sampling sampling,
                  Session *session, Error *error);

/* Runs all batches of a split (evaluate) and shows the progress. Never stops before the end. */
bool session_evaluate(Session *session, DatasetSplit split, StepKind kind, Evaluation *evaluation,
                      Error *error);

/* Does nothing for an empty session (all zero). */
void session_close(Session *session);

#endif
