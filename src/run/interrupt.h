/* SIGINT and SIGTERM: the first asks for an orderly end, the second ends the program at once. */
#ifndef NNMF_INTERRUPT_H
#define NNMF_INTERRUPT_H

#include "nnmf/error.h"

bool interrupt_catch(Error *error);

/* The signal's number once one came, else 0. */
int interrupt_signal(void);

#endif
