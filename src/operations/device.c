#include "nnmf/device.h"

bool device_open(Device *device, DeviceKind kind, int threads, const CudaOptions *cuda,
                 Error *error)
{
    if (kind == DEVICE_CUDA)
        return device_open_cuda(device, cuda, error);
    if (kind == DEVICE_AUTO && cuda_is_built) {
        Error reason = {0};
        if (device_open_cuda(device, cuda, &reason))
            return true;
        warn("using the CPU: %s", reason.text);
    }
    return device_open_cpu_with(device, cpu_instruction_set(0), threads, error);
}

void device_close(Device *device)
{
    if (device->close)
        device->close(device->backend);
    *device = (Device){0};
}
