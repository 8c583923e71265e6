#include "nnmf/device.h"

bool device_open(Device *device, const DeviceOptions *options, Error *error)
{
    if (options->kind == DEVICE_CUDA)
        return device_open_cuda(device, &options->cuda, error);
    if (options->kind == DEVICE_AUTO && cuda_is_built) {
        Error reason = {0};
        if (device_open_cuda(device, &options->cuda, &reason))
            return true;
        warn("using the CPU: %s", reason.text);
    }
    return device_open_cpu(device, &options->cpu, error);
}

void device_close(Device *device)
{
    if (device->close)
        device->close(device->backend);
    *device = (Device){0};
}
