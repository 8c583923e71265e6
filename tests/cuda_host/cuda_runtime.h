/*
 * Replaces NVIDIA's cuda_runtime.h: the calls of the runtime and, for C++, the language of kernels.
 * Only what these two headers declare is supported on the CPU.
 */
#ifndef CUDA_HOST_CUDA_RUNTIME_H
#define CUDA_HOST_CUDA_RUNTIME_H

#include "cuda_runtime_api.h"
#ifdef __cplusplus
#include "device.h"
#endif

#endif
