#include "training/transfer.h"

#include <time.h>

bool transfer_wait(const Device *device, Transfer *transfer, Error *error)
{
    const struct timespec pause = {.tv_nsec = 50000}; /* much less than a step takes */
    bool arrived = false;
    while (device->operations->arrived(device->backend, transfer, &arrived, error) && !arrived)
        nanosleep(&pause, NULL);
    return arrived;
}
