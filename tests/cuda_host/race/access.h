/* Records of memory accesses, shared by the parts of the race detector. */
#ifndef CUDA_HOST_RACE_ACCESS_H
#define CUDA_HOST_RACE_ACCESS_H

#include "race.h"

#include <cstdint>

namespace cuda_host
{
namespace race
{

enum class Kind : uint8_t { read, write, constant_read, atomic_read, atomic_write, free };

/* An access by one thread of a kernel, or by a copy, a product or the host, each a thread of its
 * own. */
struct Access {
    uint32_t task; /* 0: no access */
    uint32_t thread, epoch;
    uint32_t site : 28;    /* offset in the program's code; 0: unknown */
    uint32_t in_block : 1; /* an atomic with the scope of the block */
    uint32_t kind : 3;
};

/* A task: an operation of a stream, or the work of the host between two submissions. */
struct TaskInfo {
    unsigned stream; /* 0: the host */
    uint32_t number; /* within its stream */
    const char *what;
    bool is_kernel;
    dim3 grid, block;
};

/* ---- order.cc ---- */

/* Returns an access by the running thread, task or host. */
Access access_now(Kind kind, uintptr_t place);

/* Returns whether `earlier` is ordered before `now`. */
bool is_over(const Access &earlier, const Access &now);
bool of_one_block(const Access &a, const Access &b);
bool on_the_host();
const TaskInfo &info_of(const Access &access);
unsigned threads_of(const TaskInfo &task);

/* Forgets the atomics in memory that has a new owner. */
void forget_atomics(const void *memory, size_t bytes);

/* ---- shadow.cc ---- */

void touch(const void *memory, size_t bytes, const Access &access);
bool is_tracked(const void *memory);

/* ---- report.cc ---- */

uint32_t site_of(uintptr_t place);

/* Reports two unordered accesses to byte `offset` of memory described by `what`. */
[[noreturn]] void report(const Access &earlier, const Access &now, const char *what, size_t offset);

} // namespace race
} // namespace cuda_host

#endif
