/* A device: what computes the operations of a network. */
#ifndef NNMF_DEVICE_H
#define NNMF_DEVICE_H

#include "nnmf/error.h"
#include "nnmf/operations.h"

typedef enum DeviceKind { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA } DeviceKind;

/* Its table, its state, and how to let go of it. */
typedef struct Device {
    const Operations *operations;
    Backend *backend;
    char description[128]; /* "CPU, avx2, 2 threads" */
    void (*close)(Backend *);
} Device;

/* auto: CUDA where a usable GPU is there, else the CPU. threads, for the CPU: 0 is as many as
 * this process has processors. */
bool device_open(Device *device, DeviceKind kind, int threads, Error *error);

/* The plain C version of every operation. */
bool device_open_plain(Device *device, Error *error);

/* The instruction sets that the fast CPU version was built for and this processor has, best
 * first; NULL after the last. device_open takes the first. */
const char *cpu_instruction_set(int number);
bool device_open_cpu_with(Device *device, const char *instruction_set, int threads, Error *error);

/* Also fine on an empty device (all zero). */
void device_close(Device *device);

#endif
