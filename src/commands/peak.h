/* The rate of the available BLAS on this machine, to which other rates are compared. */
#ifndef NNMF_PEAK_H
#define NNMF_PEAK_H

#include "nnmf/device.h"

/* Times square float32 matrix products: on the CPU with a CBLAS found at run time (OpenBLAS, else
 * libblas.so.3) on `threads` threads; with CUDA with the device's convolution operation, which uses
 * cuBLAS in the chosen precision. Timings are noisy, so call peak_measure several times during a
 * run: it keeps the maximum. */
typedef struct Peak {
    const Device *device;
    void *library;       /* CPU only; NULL if none was found */
    const char *name;    /* of the library; NULL if none was found */
    const char *kernels; /* those that OpenBLAS has selected, like "Zen"; else NULL */
    int side;            /* rows and columns of the matrices */
    double flops;        /* maximum so far, per second */
} Peak;

void peak_open(Peak *peak, const Device *device, int threads);
bool peak_measure(Peak *peak, Error *error);
void peak_close(Peak *peak);

#endif
