/* Transfers (nnmf/operations.h) as the host uses them. */
#ifndef NNMF_TRANSFER_H
#define NNMF_TRANSFER_H

#include "nnmf/device.h"

/* Waits until the transfer has arrived; the device goes on meanwhile. False with the device's first
 * failure. */
bool transfer_wait(const Device *device, Transfer *transfer, Error *error);

#endif
