/* Which kernel each NNMF layer takes on a device. */
#ifndef NNMF_COMMANDS_IMPLEMENTATIONS_H
#define NNMF_COMMANDS_IMPLEMENTATIONS_H

#include "network/network.h"
#include "nnmf/device.h"

#include <stdio.h>

/* A line for each NNMF layer and direction, in batches of so many images; nothing where the device
 * has no choice of kernels. */
void implementations_print(const Network *network, const Device *device, int batch, FILE *stream);

#endif
