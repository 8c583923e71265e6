#include "commands/commands.h"
#include "commands/implementations.h"

/* Prints the device and the kernel that each NNMF layer uses on it. */
static bool print_device(const Settings *settings, const Network *network, Error *error)
{
    Device device;
    if (!settings_open_device(settings, &device, error))
        return false;
    printf("Device: %s, batches of %d\n", device.description, (int)settings->batch_size);
    implementations_print(network, &device, (int)settings->batch_size, stdout);
    bool good = device.operations->finish(device.backend, error);
    device_close(&device);
    return good;
}

bool command_info(const Settings *settings, int *status, Error *error)
{
    (void)status;
    Network network;
    NetworkOptions options = settings_network(settings);
    if (!network_for_dataset(settings->dataset, &options, &network, error))
        return false;
    network_print(&network, stdout);
    return print_device(settings, &network, error);
}
