/* What the best BLAS at hand reaches on this machine: the rate that other rates are shares of. */
#ifndef NNMF_PEAK_H
#define NNMF_PEAK_H

#include "nnmf/device.h"

/* Times square float32 matrix products: on the CPU with a CBLAS that is looked for at run time
 * (OpenBLAS, or what libblas.so.3 is) on `threads` threads, with CUDA as the device's convolutions
 * make them, with cuBLAS in the chosen precision. Call measure several times across a run: it keeps
 * the best, for these machines are noisy. */
typedef struct Peak {
    const Device *device;
    void *library;       /* of the CPU; NULL: none was found */
    const char *name;    /* of the library; NULL: none was found */
    const char *kernels; /* that OpenBLAS chose among its own: "Zen"; NULL: another library */
    int side;            /* of the matrices */
    double flops;        /* best so far, per second */
} Peak;

void peak_open(Peak *peak, const Device *device, int threads);
bool peak_measure(Peak *peak, Error *error);
void peak_close(Peak *peak);

#endif
