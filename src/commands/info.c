#include "commands/commands.h"

bool command_info(const Settings *settings, int *status, Error *error)
{
    (void)status;
    Network network;
    NetworkOptions options = settings_network(settings);
    if (!network_for_dataset((DatasetKind)settings->dataset, &options, &network, error))
        return false;
    network_print(&network, stdout);
    return true;
}
