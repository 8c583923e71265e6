/* The CUDA back end (kernels/). */
#ifndef NNMF_CUDA_DEVICE_H
#define NNMF_CUDA_DEVICE_H

#include "nnmf/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Was this program built with the CUDA back end? Without, device_open_cuda always fails. */
extern const bool cuda_is_built;

/* The CUDA runtime that it was built with, as 1000 major + 10 minor; 0 without. */
extern const int cuda_version_built;

/* Fails, saying what is missing, where there is no driver, too old a driver, no GPU, or one that
 * this program was not built for. */
bool device_open_cuda(Device *device, const CudaOptions *options, Error *error);

#ifdef __cplusplus
}
#endif

#endif
