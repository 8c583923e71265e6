/*
 * Stands where NVIDIA's cuda_runtime.h would: the runtime's calls, and for C++ the language of
 * kernels. Only what is listed in the two headers has a meaning on the CPU.
 */
#ifndef CUDA_HOST_CUDA_RUNTIME_H
#define CUDA_HOST_CUDA_RUNTIME_H

#include "cuda_runtime_api.h"
#ifdef __cplusplus
#include "device.h"
#endif

#endif
