/* Training, from the settings to the last checkpoint. */
#ifndef NNMF_LOOP_H
#define NNMF_LOOP_H

#include "settings/settings.h"

/* Trains as `settings` say and prints the published lines after every epoch. *signal: the number of
 * the signal that ended the run early, with a checkpoint, or 0. */
bool loop_train(const Settings *settings, int *signal, Error *error);

#endif
