/* The manual page in man(7) macros, generated from the table of options. */
#ifndef NNMF_MANUAL_H
#define NNMF_MANUAL_H

#include <stdio.h>

/* date: YYYY-MM-DD */
void manual_print(const char *date, FILE *stream);

#endif
