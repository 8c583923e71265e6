/* Fences, atomics and reads of constants. Threads take turns, so these matter only to the race
 * detector (race/race.h), to which they are reported. */
#ifndef CUDA_HOST_ATOMICS_H
#define CUDA_HOST_ATOMICS_H

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace cuda_host
{

/* Scope of an atomic or a fence; the scope of the system is treated as that of the device. */
enum class Scope : uint8_t { block, device };
enum class MemoryOrder : uint8_t { relaxed, acquire, release, both };
enum class Action : uint8_t { load, store, change };

void fence(MemoryOrder order, Scope scope);
void report_atomic(const void *address, size_t bytes, Action action, MemoryOrder order,
                   Scope scope);
void report_constant(const void *address, size_t bytes);
/* Copies without reporting an access to the race detector. */
void move_bytes(void *to, const void *from, size_t bytes);

} // namespace cuda_host

inline void __threadfence_block()
{
    cuda_host::fence(cuda_host::MemoryOrder::both, cuda_host::Scope::block);
}

inline void __threadfence()
{
    cuda_host::fence(cuda_host::MemoryOrder::both, cuda_host::Scope::device);
}

namespace cuda_host
{

/* Replaces *address by change(*address) and returns the old value. */
template <class T, class Change>
inline T change_atomically(T *address, MemoryOrder order, Scope scope, Change change)
{
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8),
                  "numbers of 4 or 8 bytes");
    T old;
    report_atomic(address, sizeof old, Action::change, order, scope);
    move_bytes(&old, address, sizeof old);
    T next = change(old);
    move_bytes(address, &next, sizeof next);
    return old;
}

template <class T> inline T change_relaxed(T *address, T value, T (*change)(T, T))
{
    return change_atomically(address, MemoryOrder::relaxed, Scope::device,
                             [=](T old) { return change(old, value); });
}

template <class T> inline T sum_of(T a, T b)
{
    return T(a + b);
}

} // namespace cuda_host

inline int atomicAdd(int *address, int value)
{
    return int(cuda_host::change_relaxed(reinterpret_cast<unsigned *>(address), unsigned(value),
                                         cuda_host::sum_of));
}

inline unsigned atomicAdd(unsigned *address, unsigned value)
{
    return cuda_host::change_relaxed(address, value, cuda_host::sum_of);
}

inline unsigned long long atomicAdd(unsigned long long *address, unsigned long long value)
{
    return cuda_host::change_relaxed(address, value, cuda_host::sum_of);
}

template <class T> inline T atomicExch(T *address, std::common_type_t<T> value)
{
    return cuda_host::change_atomically(address, cuda_host::MemoryOrder::relaxed,
                                        cuda_host::Scope::device, [=](T) { return value; });
}

template <class T>
inline T atomicCAS(T *address, std::common_type_t<T> compare, std::common_type_t<T> value)
{
    return cuda_host::change_atomically(address, cuda_host::MemoryOrder::relaxed,
                                        cuda_host::Scope::device,
                                        [=](T old) { return old == compare ? value : old; });
}

/* Reads through the read-only cache. */
template <class T> inline T __ldg(const T *address)
{
    cuda_host::report_constant(address, sizeof *address);
    return *address;
}

#endif
