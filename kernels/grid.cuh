/* A barrier for all blocks of a grid, for cooperative launches, whose blocks all run at once. */
#ifndef NNMF_GRID_CUH
#define NNMF_GRID_CUH

#include "launch.cuh"

#include <cuda/atomic>

#ifdef __CUDACC__
#define SPIN() ((void)0)
#else
#define SPIN() ::cuda_host::spin({__FILE__, __LINE__})
#endif

/*
 * Waits for all threads of the grid; each then sees what the others wrote to device memory. Every
 * other block adds 1 to the count and the first block adds the remainder to 2^31. So the upper bit
 * flips when all blocks have arrived, and the lower bits are 0 before and after: the count can be
 * reused at once, by a grid of any size. The first thread of each block waits for that bit. Blocks
 * must be one-dimensional.
 */
static __device__ __forceinline__ void grid_barrier(unsigned *count)
{
    const unsigned upper = 1u << 31;
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned others = gridDim.x * gridDim.y * gridDim.z - 1;
        bool first = blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0;
        cuda::atomic_ref<unsigned, cuda::thread_scope_device> arrived(*count);
        unsigned before =
            arrived.fetch_add(first ? upper - others : 1u, cuda::memory_order_release);
        while (((arrived.load(cuda::memory_order_relaxed) ^ before) & upper) == 0)
            SPIN();
        /* One fence after the loop, not one for each load. */
        cuda::atomic_thread_fence(cuda::memory_order_acquire, cuda::thread_scope_device);
    }
    __syncthreads();
}

#endif
