/* Reports two unordered accesses and where they are in the sources. */
#include "../internal.h"
#include "access.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

/* Start of the program, defined by the linker. */
extern "C" const char __executable_start[];

namespace cuda_host
{
namespace race
{

static const uintptr_t code_limit = uintptr_t(1) << 27;

uint32_t site_of(uintptr_t place)
{
    uintptr_t offset = place - reinterpret_cast<uintptr_t>(__executable_start);
    return offset < code_limit ? uint32_t(offset) : 0;
}

static const char *verb(const Access &access)
{
    switch (Kind(access.kind)) {
    case Kind::read: return "reads it";
    case Kind::write: return "writes it";
    case Kind::constant_read: return "reads it by __ldg";
    case Kind::atomic_read: return "reads it atomically";
    case Kind::free: return "frees it";
    default: return "changes it atomically";
    }
}

/* Returns the index of block or thread number `i` in a grid or block of this size. */
static dim3 index_in(const dim3 &size, unsigned i)
{
    return dim3(i % size.x, i / size.x % size.y, i / size.x / size.y);
}

static void print_who(const Access &access)
{
    const TaskInfo &task = info_of(access);
    if (task.stream == host_stream)
        fprintf(stderr, "    the host %s", verb(access));
    else
        fprintf(stderr, "    %s%s in stream %u %s", task.is_kernel ? "kernel " : "", task.what,
                task.stream, verb(access));
    if (task.is_kernel) {
        const dim3 &size = task.block;
        unsigned threads = threads_of(task), block_threads = size.x * size.y * size.z;
        unsigned number = access.thread % threads; /* copiers are numbered after all threads */
        dim3 block = index_in(task.grid, number / block_threads);
        dim3 thread = index_in(size, number % block_threads);
        fprintf(stderr, "%s: block (%u, %u, %u), thread (%u, %u, %u)",
                access.thread >= threads ? " asynchronously" : "", block.x, block.y, block.z,
                thread.x, thread.y, thread.z);
    }
    fprintf(stderr, "\n");
}

/* Returns whether the line is in a header that implements the language of kernels. */
static bool is_of_language(const char *line)
{
    for (const char *header :
         {" at atomics.h:", " at atomic:", " at cuda_pipeline.h:", " at device.h:"})
        if (strstr(line, header))
            return true;
    return false;
}

/* Prints the function and line, and those that it was inlined into. */
static void print_where(const Access &access)
{
    char command[256];
    if (!access.site)
        return;
    /* The instruction before the return address. Addresses in a position-independent executable are
     * relative to its start. */
    unsigned long at = access.site - 1;
    if (reinterpret_cast<uintptr_t>(__executable_start) < code_limit)
        at += reinterpret_cast<uintptr_t>(__executable_start);
    snprintf(command, sizeof command,
             "addr2line --exe=/proc/%ld/exe --inlines --functions --demangle --basenames "
             "--pretty-print %#lx",
             long(getpid()), at);
    FILE *lines = popen(command, "r");
    char line[512];
    while (lines && fgets(line, sizeof line, lines))
        if (!is_of_language(line))
            fprintf(stderr, "        %s", line);
    if (lines)
        pclose(lines);
}

static void print(const Access &access)
{
    print_who(access);
    print_where(access);
}

void report(const Access &earlier, const Access &now, const char *what, size_t offset)
{
    fflush(stdout);
    fprintf(stderr, "cuda_host: a race: nothing orders two accesses to byte %zu of %s\n", offset,
            what);
    print(now);
    print(earlier);
    abort();
}

} // namespace race
} // namespace cuda_host
