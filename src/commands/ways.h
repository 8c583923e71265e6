/* Which kernel each NNMF layer takes on a device. */
#ifndef NNMF_COMMANDS_WAYS_H
#define NNMF_COMMANDS_WAYS_H

#include "network/network.h"
#include "nnmf/device.h"

#include <stdio.h>

/* A line for each NNMF layer and direction, in batches of so many images; nothing where the device
 * has no choice of kernels. */
void ways_print(const Network *network, const Device *device, int batch, FILE *stream);

#endif
