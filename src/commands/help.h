/* The texts of --help, generated from the table of options, and --version. */
#ifndef NNMF_HELP_H
#define NNMF_HELP_H

#include "settings/options.h"

#include <stdio.h>

/* Prints the help of a command; NULL: of the program, with all commands and the options of train.
 * Width: $COLUMNS, else that of the terminal `stream`, else 80 columns. */
void help_print(const CommandSpec *command, FILE *stream);

/* Prints version, commit, compiler and CUDA version, one per line. */
void version_print(FILE *stream);

#endif
