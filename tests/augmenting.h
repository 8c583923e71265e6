/* What the tests of augmentation share. */
#ifndef NNMF_TESTS_AUGMENTING_H
#define NNMF_TESTS_AUGMENTING_H

#include "nnmf/augment.h"
#include "nnmf/device.h"

#include <stdbool.h>

/* Changes no pixel. */
extern const Augmentation nothing;

/* The plain device for number 0, then one for every instruction set; false after the last. */
bool open_device(int number, Device *device);

#endif
