/*
 * Device memory is host memory, filled with ones. Under AddressSanitizer it is inaccessible except
 * while the device works.
 */
#include "internal.h"
#include "race/race.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace cuda_host
{

/* Keys are complements of addresses, so that LeakSanitizer does not take them for pointers. A lower
 * bound is therefore the allocation at or below an address. */
using Allocations = std::map<uintptr_t, size_t>;

static Allocations &device_allocations()
{
    static Allocations allocations;
    return allocations;
}

static Allocations &host_allocations()
{
    static Allocations allocations;
    return allocations;
}

static size_t used;
static bool is_open;

static uintptr_t hidden(const void *pointer)
{
    return ~reinterpret_cast<uintptr_t>(pointer);
}

/* Returns the bytes from the pointer to the end of its allocation; 0 if it is in none of these. */
static size_t room(const Allocations &allocations, const void *pointer)
{
    auto found = allocations.lower_bound(hidden(pointer));
    if (found == allocations.end())
        return 0;
    size_t offset = found->first - hidden(pointer);
    return offset < found->second ? found->second - offset : 0;
}

bool on_device(const void *pointer, size_t bytes)
{
    return room(device_allocations(), pointer) >= bytes;
}

static bool starts_on_device(const void *pointer)
{
    return room(device_allocations(), pointer) > 0;
}

bool pinned(const void *pointer)
{
    return room(host_allocations(), pointer) > 0;
}

static void set_access(const void *memory, size_t bytes, bool allowed)
{
#ifdef WITH_ASAN
    if (allowed)
        __asan_unpoison_memory_region(memory, bytes);
    else
        __asan_poison_memory_region(memory, bytes);
#else
    (void)memory, (void)bytes, (void)allowed;
#endif
}

void open_device_memory(bool open)
{
    is_open = open;
    for (const auto &allocation : device_allocations())
        set_access(reinterpret_cast<void *>(~allocation.first), allocation.second, open);
}

static void *allocate(Allocations &allocations, size_t bytes, const char *what)
{
    void *memory = nullptr;
    if (posix_memalign(&memory, 256, bytes) != 0)
        return nullptr;
    memset(memory, 0xff, bytes);
    allocations[hidden(memory)] = bytes;
    race::track(memory, bytes, what);
    return memory;
}

static cudaError_t host_malloc(void **pointer, size_t bytes)
{
    return call(Capturing::fails, [&] {
        if (!pointer)
            return cudaErrorInvalidValue;
        *pointer = bytes ? allocate(host_allocations(), bytes, "pinned memory") : nullptr;
        return *pointer || !bytes ? cudaSuccess : cudaErrorMemoryAllocation;
    });
}

enum Place { host_place, device_place };

static bool direction(cudaMemcpyKind kind, const void *to, const void *from, Place *target,
                      Place *source)
{
    if (kind == cudaMemcpyDefault) {
        *target = starts_on_device(to) ? device_place : host_place;
        *source = starts_on_device(from) ? device_place : host_place;
        return true;
    }
    *target = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice ? device_place
                                                                                 : host_place;
    *source = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice ? device_place
                                                                                 : host_place;
    return kind >= cudaMemcpyHostToHost && kind <= cudaMemcpyDefault;
}

/* Stricter than the real runtime: a device pointer is not accepted as a host pointer. */
static bool lies_in(Place place, const void *pointer, size_t bytes)
{
    return place == device_place ? on_device(pointer, bytes)
                                 : pointer && !starts_on_device(pointer);
}

static void move(void *to, const void *from, size_t bytes)
{
    race::task_is("a copy");
    race::reads(from, bytes);
    race::writes(to, bytes);
    memcpy(to, from, bytes);
}

static cudaError_t copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                        cudaStream_t stream)
{
    Place target, source;
    if (!direction(kind, to, from, &target, &source))
        return cudaErrorInvalidMemcpyDirection;
    if (bytes == 0)
        return cudaSuccess;
    if (!lies_in(target, to, bytes) || !lies_in(source, from, bytes))
        return cudaErrorInvalidValue;
    if (capturing(stream) ||
        (source == device_place ? target == device_place || pinned(to) : pinned(from)))
        return submit(stream, [=] { move(to, from, bytes); });
    /* Pageable memory is staged: a read happens at once, a write is waited for. */
    if (source == host_place) {
        std::string staged(static_cast<const char *>(from), bytes);
        return submit(stream, [=] { move(to, staged.data(), bytes); });
    }
    count_wait();
    cudaError_t error = submit(stream, [=] { move(to, from, bytes); });
    if (error == cudaSuccess)
        run_stream(stream);
    return error;
}

static cudaError_t set(void *pointer, int value, size_t bytes, cudaStream_t stream)
{
    if (bytes == 0)
        return cudaSuccess;
    if (!on_device(pointer, bytes))
        return cudaErrorInvalidValue;
    return submit(stream, [=] {
        race::task_is("a memset");
        race::writes(pointer, bytes);
        memset(pointer, value, bytes);
    });
}

} // namespace cuda_host

using namespace cuda_host;

size_t cuda_host_memory_used(void)
{
    return used;
}

cudaError_t cudaMalloc(void **pointer, size_t bytes)
{
    return call(Capturing::fails, [&] {
        if (!pointer)
            return cudaErrorInvalidValue;
        *pointer = nullptr;
        if (bytes == 0)
            return cudaSuccess;
        if (used > device.memory || bytes > device.memory - used)
            return cudaErrorMemoryAllocation;
        *pointer = allocate(device_allocations(), bytes, "device memory");
        if (!*pointer)
            return cudaErrorMemoryAllocation;
        set_access(*pointer, bytes, is_open);
        used += bytes;
        return cudaSuccess;
    });
}

cudaError_t cudaFree(void *pointer)
{
    return call_freeing(Capturing::fails, [&] {
        auto found = device_allocations().find(hidden(pointer));
        if (!pointer || found == device_allocations().end())
            return pointer ? cudaErrorInvalidValue : cudaSuccess;
        count_wait();
        run_everything();
        set_access(pointer, found->second, true);
        used -= found->second;
        device_allocations().erase(found);
        race::forget(pointer);
        free(pointer);
        return cudaSuccess;
    });
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes)
{
    return host_malloc(pointer, bytes);
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned int)
{
    return host_malloc(pointer, bytes);
}

cudaError_t cudaFreeHost(void *pointer)
{
    return call_freeing(Capturing::fails, [&] {
        if (pointer && !host_allocations().erase(hidden(pointer)))
            return cudaErrorInvalidValue;
        if (race::on)
            run_all_queues(); /* queued work may still use the memory */
        race::frees(pointer);
        free(pointer);
        return cudaSuccess;
    });
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    return call(Capturing::allowed, [&] {
        *available = used < device.memory ? device.memory - used : 0;
        *total = device.memory;
        return cudaSuccess;
    });
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    return call(Capturing::fails, [&] {
        cudaError_t error = copy(to, from, bytes, kind, nullptr);
        count_wait();
        if (error == cudaSuccess)
            run_stream(nullptr);
        return error;
    });
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return call(Capturing::allowed, [&] { return copy(to, from, bytes, kind, stream); });
}

cudaError_t cudaMemset(void *pointer, int value, size_t bytes)
{
    return call(Capturing::fails, [&] { return set(pointer, value, bytes, nullptr); });
}

cudaError_t cudaMemsetAsync(void *pointer, int value, size_t bytes, cudaStream_t stream)
{
    return call(Capturing::allowed, [&] { return set(pointer, value, bytes, stream); });
}
