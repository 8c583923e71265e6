/*
 * Runs a command if there is a GPU; otherwise prints the reason and exits with 77, which CTest
 * reports as skipped. A GPU that cannot be used is a failure.
 *
 *     with_gpu [COMMAND ARGUMENTS...]
 */
#include "nnmf/device.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SKIPPED = 77 };

static bool is_missing(const char *reason)
{
    static const char *const reasons[] = {
        "no NVIDIA driver: ", "no NVIDIA GPU: ", "no such device: "};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strncmp(reason, reasons[i], strlen(reasons[i])) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    Device device = {0};
    Error error = {0};
    if (!device_open_cuda(&device, &(CudaOptions){.kernel = NNMF_KERNEL_FUSED}, &error)) {
        fprintf(stderr, "with_gpu: %s\n", error.text);
        return is_missing(error.text) ? SKIPPED : 1;
    }
    printf("%s\n", device.description);
    fflush(stdout);
    device_close(&device);
    if (argc < 2)
        return 0;
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
}
