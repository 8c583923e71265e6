/* What commands that use a network have in common: a device, the network with the weights of
 * --weights, and images. */
#ifndef NNMF_SESSION_H
#define NNMF_SESSION_H

#include "network/model.h"
#include "settings/settings.h"
#include "training/batches.h"

typedef struct Session {
    Device device;
    Network network;
    Model model;
    Batches batches;
} Session;

/* With the images `range` (end 0: to the last one) of the split of --split as batches, in file
 * order, centre crop. --weights is required. On failure the session is empty. */
bool session_open(const Settings *settings, Range range, Session *session, Error *error);

/* Without images, and with the initial zeros where there is no --weights. On failure the session
 * is empty. */
bool session_open_model(const Settings *settings, int batch_size, Session *session, Error *error);

/* Images for such a session, --batch-size at a time: at most as many as its model holds. */
bool session_load_images(const Settings *settings, DatasetSplit split, Range range,
                         Session *session, Error *error);

void session_close(Session *session);

#endif
