#include "commands/help.h"

#include "base/version.h"
#include "commands/commit.h"
#include "nnmf/device.h"

#if defined(__clang__)
#define COMPILER "Clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "GCC " __VERSION__
#else
#define COMPILER "unknown"
#endif

void version_print(FILE *stream)
{
    fprintf(stream, "nnmf-train %s\ncommit: %s\ncompiler: %s\n", NNMF_VERSION, NNMF_COMMIT,
            COMPILER);
    if (cuda_is_built)
        fprintf(stream, "CUDA: %d.%d\n", cuda_version_built / 1000, cuda_version_built % 1000 / 10);
    else
        fputs("CUDA: none\n", stream);
}
