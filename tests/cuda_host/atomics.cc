/* Reports atomics, fences and constants to the race detector; without it, does nothing. */
#include "internal.h"
#include "race/race.h"

#include <cstring>

namespace cuda_host
{

void fence(MemoryOrder order, Scope scope)
{
    check_in_kernel("a fence outside of kernels");
    race::fence(order, scope);
}

void report_atomic(const void *address, size_t bytes, Action action, MemoryOrder order, Scope scope)
{
    check_in_kernel("an atomic outside of kernels");
    race::atomic(address, bytes, action, order, scope,
                 reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
}

void report_constant(const void *address, size_t bytes)
{
    race::reads_constant(address, bytes, reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
}

void move_bytes(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

} // namespace cuda_host
