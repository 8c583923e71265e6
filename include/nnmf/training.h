/* A training run from the settings to the last checkpoint. */
#ifndef NNMF_TRAINING_H
#define NNMF_TRAINING_H

#include "nnmf/settings.h"

/* Trains as `settings` say, printing the published lines after every epoch. *signal is the number
 * of the signal that ended the run early with a checkpoint, else 0. */
bool training_run(const Settings *settings, int *signal, Error *error);

#endif
