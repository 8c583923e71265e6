/* A barrier of all blocks of a grid, for cooperative launches, whose blocks all run at once. */
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
 * What the grid's threads wrote to device memory before is there for all after. The first block
 * adds what the others leave to 2^31, so that the count's upper bit changes when all have arrived
 * and the lower ones are 0 before and after: it can be used again at once, by a grid of any size.
 * Every block's first thread waits for that bit; blocks are of one dimension.
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
        /* Once, and not with every look. */
        cuda::atomic_thread_fence(cuda::memory_order_acquire, cuda::thread_scope_device);
    }
    __syncthreads();
}

#endif
