/*
 * The language of kernels as C++ understands it: qualifiers, vector types, indices, barriers, warp
 * shuffles, atomics. All threads of all blocks run in turn on one CPU thread, each from one meeting
 * with others to the next, so that whoever spins on memory has to call spin() in the loop. Atomics
 * and fences only matter to the search for races (race/race.h). Stricter than a GPU where a GPU's
 * answer would be luck:
 *   - all threads of a block reach the same __syncthreads, by file and line: none has exited;
 *   - all lanes that a mask names call the same warp function with that mask: none has exited, and
 *     a block that uses full masks consists of whole warps;
 *   - a shuffle from a lane outside the mask gives all ones;
 *   - shared memory is declared by SHARED and DYNAMIC_SHARED of launch.cuh.
 */
#ifndef CUDA_HOST_DEVICE_H
#define CUDA_HOST_DEVICE_H

#include <cstdint>
#include <cstring>
#include <functional>
#include <math.h>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
/* A static array would keep what the block before has left, and have no bounds to overrun. */
#define __shared__                                                                                 \
    static_assert(false, "declare shared memory by SHARED or DYNAMIC_SHARED of launch.cuh");

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

struct alignas(8) float2 {
    float x, y;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

struct alignas(8) int2 {
    int x, y;
};

struct alignas(16) int4 {
    int x, y, z, w;
};

struct alignas(8) uint2 {
    unsigned x, y;
};

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

inline float2 make_float2(float x, float y)
{
    return {x, y};
}

inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

inline int2 make_int2(int x, int y)
{
    return {x, y};
}

inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}

inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}

inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

/* Of the thread that runs now. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
extern const int warpSize;

namespace cuda_host
{

/* A place in a kernel, to tell barriers apart and to report them. */
struct Site {
    const char *file;
    int line;
};

enum class Collective : uint8_t {
    sync,
    ballot,
    shuffle,
    shuffle_up,
    shuffle_down,
    shuffle_xor,
    mma
};

/* What one lane brings to a meeting of its warp's lanes. */
struct Meeting {
    Collective kind;
    unsigned mask;
    uint64_t value;
    unsigned operand; /* of a shuffle: the lane, the distance or the lanes' difference */
    unsigned width;
};

/* Of an atomic or a fence: what is true of the device is taken to be of the whole system. */
enum class Scope : uint8_t { block, device };
enum class MemoryOrder : uint8_t { relaxed, acquire, release, both };
enum class Action : uint8_t { load, store, change };

/* The memory of one declaration of SHARED, kept from cluster to cluster of a launch. */
struct SharedSlot {
    void *memory;
    uint64_t cluster;
};

int barrier(int predicate, Site site); /* how many predicates hold */
uint64_t meet(const Meeting &meeting, Site site);
unsigned active_lanes();
void cluster_barrier(Site site);
void spin(Site site); /* all others go first */
unsigned cluster_rank();
void *dynamic_shared();
void *cluster_dynamic_shared(unsigned rank);
void *static_shared(SharedSlot &slot, size_t bytes);

void fence(MemoryOrder order, Scope scope);
void tell_of_atomic(const void *address, size_t bytes, Action action, MemoryOrder order,
                    Scope scope);
void tell_of_constant(const void *address, size_t bytes);
/* As the memory does it, unseen by the search for races. */
void move_bytes(void *to, const void *from, size_t bytes);

/* ---- copies.cc: a thread's asynchronous copies, each done as late as it may ---- */
void copy_asynchronously(void *to, const void *from, size_t bytes, size_t zeros);
void commit_copies();
void wait_for_copies(unsigned left); /* but the last of those committed */

const unsigned whole_grid = 0; /* as a cluster: a cooperative launch */

void enqueue(const char *name, const void *kernel, unsigned cluster, dim3 grid, dim3 block,
             size_t shared_bytes, cudaStream_t stream, std::function<void()> body);

template <class T> struct Identity {
    using type = T;
};

/* Arguments convert to the parameters' types as in a call, and are copied once, at the launch. */
template <class... P>
void launch_cluster(const char *name, void (*kernel)(P...), unsigned cluster, dim3 grid, dim3 block,
                    size_t shared_bytes, cudaStream_t stream,
                    typename Identity<P>::type... arguments)
{
    enqueue(name, reinterpret_cast<const void *>(kernel), cluster, grid, block, shared_bytes,
            stream, [=] { kernel(arguments...); });
}

template <class... P>
void launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, typename Identity<P>::type... arguments)
{
    launch_cluster(name, kernel, 1, grid, block, shared_bytes, stream, arguments...);
}

template <class... P>
void launch_cooperative(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                        size_t shared_bytes, cudaStream_t stream,
                        typename Identity<P>::type... arguments)
{
    launch_cluster(name, kernel, whole_grid, grid, block, shared_bytes, stream, arguments...);
}

template <class T> inline uint64_t to_bits(T value)
{
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8),
                  "warps exchange numbers of 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}

template <class T> inline T from_bits(uint64_t bits)
{
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class T>
inline T shuffle(Collective kind, unsigned mask, T value, unsigned operand, int width, Site site)
{
    return from_bits<T>(meet({kind, mask, to_bits(value), operand, unsigned(width)}, site));
}

inline unsigned ballot(unsigned mask, int predicate, Site site)
{
    return unsigned(meet({Collective::ballot, mask, predicate != 0, 0, 32}, site));
}

/* One lane's fragments of a warp's product: kernels/mma.cuh says which elements they are. */
struct Fragments {
    float *c;
    const float *a, *b;
};

/* `address`, in this block's dynamic shared memory, as it lies in that of block `rank`. */
template <class T> inline T *of_block(T *address, unsigned rank)
{
    char *own = static_cast<char *>(dynamic_shared());
    return reinterpret_cast<T *>(static_cast<char *>(cluster_dynamic_shared(rank)) +
                                 (reinterpret_cast<char *>(address) - own));
}

inline void mma_tf32(float c[4], const float a[4], const float b[2], Site site)
{
    Fragments fragments = {c, a, b};
    meet({Collective::mma, 0xffffffffu, reinterpret_cast<uintptr_t>(&fragments), 0, 32}, site);
}

} // namespace cuda_host

/* The last parameters are never passed: they say where the call stands. */
#define CUDA_HOST_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(CUDA_HOST_SITE)
{
    cuda_host::barrier(0, {file, line});
}

inline int __syncthreads_count(int predicate, CUDA_HOST_SITE)
{
    return cuda_host::barrier(predicate, {file, line});
}

inline int __syncthreads_or(int predicate, CUDA_HOST_SITE)
{
    return cuda_host::barrier(predicate, {file, line}) != 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_HOST_SITE)
{
    cuda_host::meet({cuda_host::Collective::sync, mask, 0, 0, 32}, {file, line});
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, CUDA_HOST_SITE)
{
    return cuda_host::shuffle(cuda_host::Collective::shuffle, mask, value, unsigned(lane), width,
                              {file, line});
}

template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, CUDA_HOST_SITE)
{
    return cuda_host::shuffle(cuda_host::Collective::shuffle_up, mask, value, distance, width,
                              {file, line});
}

template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, CUDA_HOST_SITE)
{
    return cuda_host::shuffle(cuda_host::Collective::shuffle_down, mask, value, distance, width,
                              {file, line});
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int difference, int width = 32, CUDA_HOST_SITE)
{
    return cuda_host::shuffle(cuda_host::Collective::shuffle_xor, mask, value, unsigned(difference),
                              width, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_HOST_SITE)
{
    return cuda_host::ballot(mask, predicate, {file, line});
}

inline int __any_sync(unsigned mask, int predicate, CUDA_HOST_SITE)
{
    return cuda_host::ballot(mask, predicate, {file, line}) != 0;
}

inline int __all_sync(unsigned mask, int predicate, CUDA_HOST_SITE)
{
    return cuda_host::ballot(mask, predicate, {file, line}) == mask;
}

/* Every lane that has not exited: converged or not is for a GPU to say. */
inline unsigned __activemask()
{
    return cuda_host::active_lanes();
}

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

/* value = change(value), which is the old one's successor. */
template <class T, class Change>
inline T change_atomically(T *address, MemoryOrder order, Scope scope, Change change)
{
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8),
                  "numbers of 4 or 8 bytes");
    T old;
    tell_of_atomic(address, sizeof old, Action::change, order, scope);
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

template <class T> inline T atomicExch(T *address, typename cuda_host::Identity<T>::type value)
{
    return cuda_host::change_atomically(address, cuda_host::MemoryOrder::relaxed,
                                        cuda_host::Scope::device, [=](T) { return value; });
}

template <class T>
inline T atomicCAS(T *address, typename cuda_host::Identity<T>::type compare,
                   typename cuda_host::Identity<T>::type value)
{
    return cuda_host::change_atomically(address, cuda_host::MemoryOrder::relaxed,
                                        cuda_host::Scope::device,
                                        [=](T old) { return old == compare ? value : old; });
}

/* By the cache for constants. */
template <class T> inline T __ldg(const T *address)
{
    cuda_host::tell_of_constant(address, sizeof *address);
    return *address;
}

template <class T> inline T __ldcg(const T *address)
{
    return *address;
}

template <class T> inline T min(T a, T b)
{
    static_assert(std::is_integral<T>::value, "fminf is for floats");
    return b < a ? b : a;
}

template <class T> inline T max(T a, T b)
{
    static_assert(std::is_integral<T>::value, "fmaxf is for floats");
    return a < b ? b : a;
}

inline unsigned __float_as_uint(float value)
{
    return unsigned(cuda_host::to_bits(value));
}

inline float __uint_as_float(unsigned bits)
{
    return cuda_host::from_bits<float>(bits);
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
    return unsigned((uint64_t(a) * b) >> 32);
}

inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

inline float __fdividef(float a, float b)
{
    return a / b;
}

inline float __frcp_rn(float a)
{
    return 1.0f / a;
}

namespace cuda_host
{

inline float reciprocal_root(float a)
{
    return 1.0f / sqrtf(a);
}

} // namespace cuda_host

/* Macros, since the C library declares functions of these names. */
#define rsqrtf(a) ::cuda_host::reciprocal_root(a)
#define __expf(a) expf(a)

#endif
