/* The commands of the program. Each takes the settings parsed from the command line. */
#ifndef NNMF_COMMANDS_H
#define NNMF_COMMANDS_H

#include "settings/settings.h"

/* *status: exit status on success; initially STATUS_OK, and a command may set another. */
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
