/*
 * The language of kernels in C++: qualifiers, vector types, indices, barriers, warp shuffles,
 * atomics. All threads of all blocks take turns on one CPU thread, each running from one
 * synchronisation with others to the next, so a loop that spins on memory must call spin().
 * Stricter than a GPU where the behaviour of a GPU is undefined:
 *   - all threads of a block must reach the same __syncthreads, by file and line; none has exited;
 *   - all lanes named by a mask must call the same warp function with that mask; none has exited,
 * and a block that uses full masks consists of whole warps;
 *   - a shuffle from a lane outside the mask gives all ones;
 *   - shared memory must be declared by SHARED and DYNAMIC_SHARED of launch.cuh.
 */
#ifndef CUDA_HOST_DEVICE_H
#define CUDA_HOST_DEVICE_H

#include "atomics.h"
#include "bits.h"
#include "math_functions.h"
#include "vector_types.h"

#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
/* A static array would keep the previous block's contents, and overruns would go undetected. */
#define __shared__                                                                                 \
    static_assert(false, "declare shared memory by SHARED or DYNAMIC_SHARED of launch.cuh");

/* Of the running thread. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
extern const int warpSize;

namespace cuda_host
{

/* A place in a kernel, to distinguish and report barriers. */
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

/* A lane's contribution to a collective function of its warp. */
struct Meeting {
    Collective kind;
    unsigned mask;
    uint64_t value;
    unsigned operand; /* of a shuffle: the lane, the distance or the XOR mask */
    unsigned width;
};

/* The memory of one declaration of SHARED, reused by all clusters of a launch. */
struct SharedSlot {
    void *memory;
    uint64_t cluster;
};

int barrier(int predicate, Site site); /* returns the number of true predicates */
uint64_t meet(const Meeting &meeting, Site site);
unsigned active_lanes();
void cluster_barrier(Site site);
void spin(Site site); /* lets all other threads run first */
unsigned cluster_rank();
void *dynamic_shared();
void *cluster_dynamic_shared(unsigned rank);
void *static_shared(SharedSlot &slot, size_t bytes);

const unsigned whole_grid = 0; /* cluster size of a cooperative launch */

void enqueue(const char *name, const void *kernel, unsigned cluster, dim3 grid, dim3 block,
             size_t shared_bytes, cudaStream_t stream, std::function<void()> body);

template <class T> struct Identity {
    using type = T;
};

/* Arguments are converted to the parameters' types as in a call, and copied once, at the launch. */
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

template <class T>
inline T shuffle(Collective kind, unsigned mask, T value, unsigned operand, int width, Site site)
{
    return from_bits<T>(meet({kind, mask, to_bits(value), operand, unsigned(width)}, site));
}

inline unsigned ballot(unsigned mask, int predicate, Site site)
{
    return unsigned(meet({Collective::ballot, mask, predicate != 0, 0, 32}, site));
}

/* One lane's fragments of a warp's product; kernels/mma.cuh lists their elements. */
struct Fragments {
    float *c;
    const float *a, *b;
};

/* Maps an address in this block's dynamic shared memory to the same place in block `rank`. */
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

/* Default parameters with the location of the call. */
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

/* Returns every lane that has not exited; on a GPU only those that have converged. */
inline unsigned __activemask()
{
    return cuda_host::active_lanes();
}

#endif
