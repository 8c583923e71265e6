/* Names of the values of CudaOptions, for the command line and for the CUDA back end. */
#include "nnmf/device.h"

const char *const nnmf_kernel_names[] = {"fused", "cublas", NULL};
const char *const precision_names[] = {"fp32", "3xtf32", "tf32", NULL};
