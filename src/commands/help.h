/* What --help and --version show, made from the table of options. */
#ifndef NNMF_HELP_H
#define NNMF_HELP_H

#include "settings/options.h"

#include <stdio.h>

/* For one command; NULL: for the program, with all commands first and then training's options.
 * As wide as $COLUMNS says, else as the terminal of `stream`, else 80 columns. */
void help_print(const CommandSpec *command, FILE *stream);

/* Version, commit, compiler, CUDA; one a line. */
void version_print(FILE *stream);

#endif
