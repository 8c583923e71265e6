/* What eval and trace have in common: a device, the network with the weights of --weights, and
 * the split of --split. */
#ifndef NNMF_SESSION_H
#define NNMF_SESSION_H

#include "nnmf/batches.h"
#include "nnmf/model.h"
#include "nnmf/settings.h"

typedef struct Session {
    Device device;
    Network network;
    Model model;
    Batches batches;
} Session;

/* The batches are those of images `range` (end 0: to the last one), in file order, centre crop.
 * On failure the session is empty. */
bool session_open(const Settings *settings, Range range, Session *session, Error *error);
void session_close(Session *session);

#endif
