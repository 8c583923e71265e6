/* A training run from the settings to the last checkpoint. */
#ifndef NNMF_RUN_H
#define NNMF_RUN_H

#include "settings/settings.h"

/* Trains as `settings` say, printing the published lines after every epoch. *signal is the number
 * of the signal that ended the run early with a checkpoint, else 0. */
bool run_train(const Settings *settings, int *signal, Error *error);

#endif
