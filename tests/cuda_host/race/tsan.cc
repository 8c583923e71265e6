/*
 * The functions called by code compiled with -fsanitize=thread (LLVM,
 * compiler-rt/lib/tsan/rtl/tsan_interface.h), instead of ThreadSanitizer's own library, which does
 * not know blocks, warps and streams and distinguishes at most 255 threads. The linker also
 * redirects all calls of memcpy, memmove and memset to this file.
 */
#include "../internal.h"
#include "access.h"

#include <cstring>

namespace cuda_host
{
namespace race
{

/* Records an access by the host or a thread of a kernel; copies of the device report themselves. */
static void touch_from(const void *memory, size_t bytes, Kind kind, void *place)
{
    std::unique_lock<std::recursive_mutex> lock(call_mutex(), std::defer_lock);
    if (on_the_host())
        lock.lock();
    if (is_tracked(memory))
        touch(memory, bytes, access_now(kind, reinterpret_cast<uintptr_t>(place)));
}

/* PTX: a volatile access is a relaxed atomic. */
static void touch_volatile(const void *memory, size_t bytes, Action action, void *place)
{
    if (on_the_host())
        touch_from(memory, bytes, action == Action::load ? Kind::read : Kind::write, place);
    else if (is_tracked(memory))
        atomic(memory, bytes, action, MemoryOrder::relaxed, Scope::device,
               reinterpret_cast<uintptr_t>(place));
}

} // namespace race
} // namespace cuda_host

using namespace cuda_host;
using namespace cuda_host::race;

#define HERE __builtin_return_address(0)

#define SIZE(bytes)                                                                                \
    void __tsan_read##bytes(void *memory)                                                          \
    {                                                                                              \
        touch_from(memory, bytes, Kind::read, HERE);                                               \
    }                                                                                              \
    void __tsan_write##bytes(void *memory)                                                         \
    {                                                                                              \
        touch_from(memory, bytes, Kind::write, HERE);                                              \
    }                                                                                              \
    void __tsan_read_write##bytes(void *memory)                                                    \
    {                                                                                              \
        touch_from(memory, bytes, Kind::read, HERE);                                               \
        touch_from(memory, bytes, Kind::write, HERE);                                              \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(void *memory)                                                \
    {                                                                                              \
        touch_from(memory, bytes, Kind::read, HERE);                                               \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void *memory)                                               \
    {                                                                                              \
        touch_from(memory, bytes, Kind::write, HERE);                                              \
    }                                                                                              \
    void __tsan_unaligned_read_write##bytes(void *memory)                                          \
    {                                                                                              \
        touch_from(memory, bytes, Kind::read, HERE);                                               \
        touch_from(memory, bytes, Kind::write, HERE);                                              \
    }                                                                                              \
    void __tsan_volatile_read##bytes(void *memory)                                                 \
    {                                                                                              \
        touch_volatile(memory, bytes, Action::load, HERE);                                         \
    }                                                                                              \
    void __tsan_volatile_write##bytes(void *memory)                                                \
    {                                                                                              \
        touch_volatile(memory, bytes, Action::store, HERE);                                        \
    }                                                                                              \
    void __tsan_unaligned_volatile_read##bytes(void *memory)                                       \
    {                                                                                              \
        touch_volatile(memory, bytes, Action::load, HERE);                                         \
    }                                                                                              \
    void __tsan_unaligned_volatile_write##bytes(void *memory)                                      \
    {                                                                                              \
        touch_volatile(memory, bytes, Action::store, HERE);                                        \
    }

extern "C" {

SIZE(1)
SIZE(2)
SIZE(4)
SIZE(8)
SIZE(16)

void __tsan_read_range(void *memory, unsigned long bytes)
{
    touch_from(memory, bytes, Kind::read, HERE);
}

void __tsan_write_range(void *memory, unsigned long bytes)
{
    touch_from(memory, bytes, Kind::write, HERE);
}

void __tsan_init()
{
}

void __tsan_func_entry(void *)
{
}

void __tsan_func_exit()
{
}

/* For guards of static variables: the kernels contain no other C++ atomics. */
unsigned char __tsan_atomic8_load(const volatile unsigned char *address, int order)
{
    (void)order;
    return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}

void *__real_memcpy(void *to, const void *from, size_t bytes);
void *__real_memmove(void *to, const void *from, size_t bytes);
void *__real_memset(void *to, int value, size_t bytes);

static void touch_two(void *to, const void *from, size_t bytes, void *place)
{
    touch_from(from, bytes, Kind::read, place);
    touch_from(to, bytes, Kind::write, place);
}

/* Clang 16 and newer calls these to copy structures. */
void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    touch_two(to, from, bytes, HERE);
    return __real_memcpy(to, from, bytes);
}

void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    touch_two(to, from, bytes, HERE);
    return __real_memmove(to, from, bytes);
}

void *__tsan_memset(void *to, int value, size_t bytes)
{
    touch_from(to, bytes, Kind::write, HERE);
    return __real_memset(to, value, bytes);
}

/* For the host; those of the device are part of the emulation. */
void *__wrap_memcpy(void *to, const void *from, size_t bytes)
{
    if (on_the_host())
        touch_two(to, from, bytes, HERE);
    return __real_memcpy(to, from, bytes);
}

void *__wrap_memmove(void *to, const void *from, size_t bytes)
{
    if (on_the_host())
        touch_two(to, from, bytes, HERE);
    return __real_memmove(to, from, bytes);
}

void *__wrap_memset(void *to, int value, size_t bytes)
{
    if (on_the_host())
        touch_from(to, bytes, Kind::write, HERE);
    return __real_memset(to, value, bytes);
}
}
