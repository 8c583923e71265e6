/*
 * Clusters: neighbouring blocks that run at the same time and access each other's shared memory, on
 * GPUs of compute capability 9.0 and newer (PTX ISA, "Cluster of Cooperative Thread Arrays"). On
 * older GPUs, where they are never called, these functions trap.
 */
#ifndef NNMF_CLUSTER_CUH
#define NNMF_CLUSTER_CUH

#include "launch.cuh"

#ifdef __CUDACC__

/* Returns the number of this block within its cluster. */
static __device__ __forceinline__ unsigned cluster_rank()
{
    unsigned rank = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#else
    __trap();
#endif
    return rank;
}

/* Waits for all threads of the cluster; each then sees what the others wrote to shared memory. */
static __device__ __forceinline__ void cluster_barrier()
{
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "barrier.cluster.arrive.release.aligned;\n"
        "barrier.cluster.wait.acquire.aligned;" ::
            : "memory");
#else
    __trap();
#endif
}

/* Maps an address in this block's dynamic shared memory to the same place in that of block `rank`,
 * which must not have ended. */
template <class T> static __device__ __forceinline__ T *of_block(T *address, unsigned rank)
{
    T *there = address;
#if __CUDA_ARCH__ >= 900
    asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(address), "r"(rank));
#else
    __trap();
#endif
    return there;
}

#else

using ::cuda_host::cluster_rank;
using ::cuda_host::of_block;
#define cluster_barrier() ::cuda_host::cluster_barrier({__FILE__, __LINE__})

#endif

#endif
