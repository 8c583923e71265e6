/* Who has touched memory, as the detector's parts share it. */
#ifndef CUDA_HOST_RACE_ACCESS_H
#define CUDA_HOST_RACE_ACCESS_H

#include "race.h"

#include <cstdint>

namespace cuda_host
{
namespace race
{

enum class Kind : uint8_t { read, write, constant_read, atomic_read, atomic_write, free };

/* By one thread of a kernel, or by a copy, a product or the host, which are threads of their own.
 */
struct Access {
    uint32_t task; /* 0: there is none */
    uint32_t thread, epoch;
    uint32_t site : 28;    /* in the program's code, from its begin; 0: unknown */
    uint32_t in_block : 1; /* an atomic whose scope is the block */
    uint32_t kind : 3;
};

/* What a task is: an operation of a stream, or what the host does between two submissions. */
struct TaskInfo {
    unsigned stream; /* 0: the host */
    uint32_t turn;   /* within its stream */
    const char *what;
    bool is_kernel;
    dim3 grid, block;
};

/* ---- order.cc ---- */

/* Whoever runs: an access of the current thread, or of the current task or the host. */
Access access_now(Kind kind, uintptr_t place);

/* Is what `earlier` did over for whoever runs now? */
bool is_over(const Access &earlier, const Access &now);
bool of_one_block(const Access &a, const Access &b);
bool on_the_host();
const TaskInfo &info_of(const Access &access);
unsigned threads_of(const TaskInfo &task);

/* The atomics of memory that is another's now are forgotten. */
void forget_atomics(const void *memory, size_t bytes);

/* ---- shadow.cc ---- */

void touch(const void *memory, size_t bytes, const Access &access);
bool is_tracked(const void *memory);

/* ---- report.cc ---- */

uint32_t site_of(uintptr_t place);

/* Two that nothing orders, in byte `offset` of memory that is `what`. */
[[noreturn]] void report(const Access &earlier, const Access &now, const char *what, size_t offset);

} // namespace race
} // namespace cuda_host

#endif
