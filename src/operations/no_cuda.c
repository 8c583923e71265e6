/* Replaces kernels/ in a build without CUDA. */
#include "nnmf/device.h"

const bool cuda_is_built = false;
const int cuda_version_built = 0;

bool device_open_cuda(Device *device, const CudaOptions *options, Error *error)
{
    (void)device;
    (void)options;
    return fail(error, "no such device: --device cuda: this program was built without CUDA");
}
