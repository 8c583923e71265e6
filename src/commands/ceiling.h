/* What the best BLAS at hand reaches on this machine: the rate that other rates are shares of. */
#ifndef NNMF_CEILING_H
#define NNMF_CEILING_H

#include "nnmf/error.h"

/* Looks for a CBLAS at run time (OpenBLAS, or what libblas.so.3 is); times square float32 matrix
 * products on `threads` threads. Call measure several times across a run: it keeps the best, for
 * these machines are noisy. */
typedef struct Ceiling {
    void *library;    /* NULL: none was found */
    const char *name; /* of the library */
    double flops;     /* best so far, per second */
} Ceiling;

void ceiling_open(Ceiling *ceiling, int threads);
bool ceiling_measure(Ceiling *ceiling, Error *error);
void ceiling_close(Ceiling *ceiling);

#endif
