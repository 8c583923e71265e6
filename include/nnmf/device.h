/* A device: what computes the operations of a network. */
#ifndef NNMF_DEVICE_H
#define NNMF_DEVICE_H

#include "nnmf/error.h"
#include "nnmf/operations.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum DeviceKind { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA } DeviceKind;

/* Its table, its state, and how to let go of it. */
typedef struct Device {
    DeviceKind kind; /* DEVICE_CPU or DEVICE_CUDA */
    const Operations *operations;
    Backend *backend;
    char description[128]; /* "CPU, avx2, 2 threads" */
    void (*close)(Backend *);
} Device;

/* How a GPU does the NNMF iterations, and NNMF's backward rule: each in one kernel where the shape
 * fits, or product by product. */
typedef enum NnmfKernel { NNMF_KERNEL_FUSED, NNMF_KERNEL_CUBLAS } NnmfKernel;

/* Of a GPU's matrix products. */
typedef enum Precision {
    PRECISION_FP32,   /* float32 units */
    PRECISION_3XTF32, /* the fused NNMF iterations on tensor cores, each operand split into two TF32
                         numbers: errors like float32's; all else float32 */
    PRECISION_TF32,   /* tensor cores, operands rounded to TF32 (10 bits): the NNMF iterations and
                         cuBLAS's products; the fused backward rule remains float32 */
} Precision;

/* By NnmfKernel and by Precision ("fused", "fp32"), NULL at the end. */
extern const char *const nnmf_kernel_names[], *const precision_names[];

typedef struct CudaOptions {
    NnmfKernel kernel;
    Precision precision;
} CudaOptions;

/* Of the CPU. */
typedef struct CpuOptions {
    const char *instruction_set; /* one of cpu_instruction_set_names; NULL, "auto": the best */
    int threads;                 /* 0: as many as this process has processors */
} CpuOptions;

typedef struct DeviceOptions {
    DeviceKind kind;
    CpuOptions cpu;
    CudaOptions cuda;
} DeviceOptions;

/* auto: CUDA where a usable GPU is there, else the CPU, saying why on standard error if this
 * program was built with CUDA. */
bool device_open(Device *device, const DeviceOptions *options, Error *error);

/* The plain C version of every operation. */
bool device_open_plain(Device *device, Error *error);

/* "auto" and all instruction sets that there is a fast CPU version for, best first; NULL at the
 * end. */
extern const char *const cpu_instruction_set_names[];

/* Those that it was built for and this processor has, best first; NULL after the last. */
const char *cpu_instruction_set(int number);

/* Fails, naming those that are there, where this processor or this build lacks the set. */
bool device_open_cpu(Device *device, const CpuOptions *options, Error *error);

/* Also fine on an empty device (all zero). */
void device_close(Device *device);

/* ---- the CUDA back end (kernels/) ---- */

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
