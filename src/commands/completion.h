/* Shell completions generated from the table of options: commands, their options, values to choose
 * from, and names of files and folders. */
#ifndef NNMF_COMPLETION_H
#define NNMF_COMPLETION_H

#include "settings/options.h"

#include <stdio.h>

void completion_print_bash(FILE *stream);
void completion_print_zsh(FILE *stream);

#endif
