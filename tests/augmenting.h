/* Shared by the tests of augmentation. */
#ifndef NNMF_TESTS_AUGMENTING_H
#define NNMF_TESTS_AUGMENTING_H

#include "nnmf/augment.h"
#include "nnmf/device.h"

#include <stdbool.h>

/* The augmentation that changes no pixel. */
extern const Augmentation nothing;

/* Opens the plain device for number 0, then the CPU device with each instruction set. Returns false
 * after the last. */
bool open_device(int number, Device *device);

#endif
