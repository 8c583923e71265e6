#include "augmenting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

const Augmentation nothing = {.brightness = 1.0f, .contrast = 1.0f, .saturation = 1.0f};

bool open_device(int number, Device *device)
{
    Error error = {0};
    if (number == 0)
        return device_open_plain(device, &error);
    const char *set = cpu_instruction_set(number - 1);
    if (!set)
        return false;
    assert_true(device_open_cpu(device, &(CpuOptions){set, 3}, &error));
    return true;
}
