/* The training loop, from the settings to the last checkpoint. */
#ifndef NNMF_LOOP_H
#define NNMF_LOOP_H

#include "settings/settings.h"

/* Trains as `settings` specify and reports every epoch. Sets *signal to the signal that ended the
 * run early, after writing a checkpoint, or to 0. */
bool loop_train(const Settings *settings, int *signal, Error *error);

#endif
