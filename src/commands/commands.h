/* The commands of the program; each gets the settings that its command line made. */
#ifndef NNMF_COMMANDS_H
#define NNMF_COMMANDS_H

#include "settings/settings.h"

/* *status: the exit status after success, STATUS_OK unless it says otherwise. */
bool command_train(const Settings *settings, int *status, Error *error);
bool command_eval(const Settings *settings, int *status, Error *error);
bool command_trace(const Settings *settings, int *status, Error *error);
bool command_statistics(const Settings *settings, int *status, Error *error);
bool command_info(const Settings *settings, int *status, Error *error);
bool command_bench(const Settings *settings, int *status, Error *error);
bool command_show(const Settings *settings, int *status, Error *error);
bool command_robustness(const Settings *settings, int *status, Error *error);
bool command_predict(const Settings *settings, int *status, Error *error);

#endif
