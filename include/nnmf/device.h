/* A device computes the operations of a network: the CPU or a GPU. */
#ifndef NNMF_DEVICE_H
#define NNMF_DEVICE_H

#include "nnmf/error.h"
#include "nnmf/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum DeviceKind { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA } DeviceKind;

typedef struct Device {
    DeviceKind kind; /* DEVICE_CPU or DEVICE_CUDA */
    const Operations *operations;
    Backend *backend;      /* first argument of every operation */
    char description[128]; /* "CPU, avx2, 2 threads" */
    void (*close)(Backend *);
} Device;

/* How a GPU computes NNMF, forward and backward: fused into one kernel each if the shape fits, or
 * by cuBLAS, one product after another. */
typedef enum NnmfKernel { NNMF_KERNEL_FUSED, NNMF_KERNEL_CUBLAS } NnmfKernel;

/* Precision of matrix products on a GPU. */
typedef enum Precision {
    PRECISION_FP32,   /* float32 units */
    PRECISION_3XTF32, /* the fused NNMF iterations on tensor cores, each operand split into two TF32
                         numbers: errors like those of float32; everything else in float32 */
    PRECISION_TF32,   /* the NNMF iterations and cuBLAS products on tensor cores, operands rounded
                         to TF32 (10 bits); the fused backward rule stays in float32 */
} Precision;

/* Names indexed by NnmfKernel and by Precision ("fused", "fp32"); NULL-terminated. */
extern const char *const nnmf_kernel_names[], *const precision_names[];

typedef struct CudaOptions {
    NnmfKernel kernel;
    Precision precision;
} CudaOptions;

typedef struct CpuOptions {
    const char *instruction_set; /* one of cpu_instruction_set_names; NULL or "auto": the best */
    int threads;                 /* 0: one for each processor available to this process */
} CpuOptions;

typedef struct DeviceOptions {
    DeviceKind kind;
    CpuOptions cpu;
    CudaOptions cuda;
} DeviceOptions;

/* Opens the device of options->kind. DEVICE_AUTO uses a GPU if one is usable, otherwise the CPU; a
 * CUDA build then prints the reason to stderr. */
bool device_open(Device *device, const DeviceOptions *options, Error *error);

/* Opens the plain C version of every operation, the reference for all other devices. */
bool device_open_plain(Device *device, Error *error);

/* "auto" and the instruction sets that have a fast CPU version, best first; NULL-terminated. */
extern const char *const cpu_instruction_set_names[];

/* Returns instruction set `number`, from 0, of those that this build and this processor support,
 * best first; NULL after the last. */
const char *cpu_instruction_set(int number);

/* Fails if this build or this processor lacks the instruction set; the error lists the supported
 * ones. Also fails if memory or the threads are not available. */
bool device_open_cpu(Device *device, const CpuOptions *options, Error *error);

/* Does nothing to an empty device (all zero). */
void device_close(Device *device);

/* ---- the CUDA back end (kernels/) ---- */

/* Whether this program was built with the CUDA back end. If not, device_open_cuda always fails. */
extern const bool cuda_is_built;

/* Version of the CUDA runtime it was built with, as 1000 major + 10 minor; 0 without CUDA. */
extern const int cuda_version_built;

/* Fails if there is no driver, the driver is too old, or there is no GPU that this program was
 * built for; the error states what is missing. */
bool device_open_cuda(Device *device, const CudaOptions *options, Error *error);

#ifdef __cplusplus
}
#endif

#endif
