/* Which kernel each NNMF layer uses on a device. */
#ifndef NNMF_COMMANDS_IMPLEMENTATIONS_H
#define NNMF_COMMANDS_IMPLEMENTATIONS_H

#include "network/network.h"
#include "nnmf/device.h"

#include <stdio.h>

/* Prints a line for each NNMF layer and direction, for batches of `batch` images. Prints nothing if
 * the device has no choice of kernels. */
void implementations_print(const Network *network, const Device *device, int batch, FILE *stream);

#endif
