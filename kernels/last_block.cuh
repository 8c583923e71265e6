/*
 * Summation over many blocks in one kernel: each block stores its part in device memory and
 * increments a count; the block that finishes last sums the parts, in an order that does not depend
 * on which block that is.
 */
#ifndef NNMF_LAST_BLOCK_CUH
#define NNMF_LAST_BLOCK_CUH

#include "launch.cuh"

#include <cuda/atomic>

/* Returns whether this is the last of the gridDim.x blocks that share the count `done`; the last
 * one may read the parts of all others. The count is 0 before and after. The atomic of one thread
 * releases the writes of its whole block before the first barrier and acquires for all reads after
 * the second one (PTX ISA, "Memory Consistency Model": causality order goes through barriers). */
static __device__ __forceinline__ bool is_last_block(unsigned *done)
{
    SHARED(bool, last);
    __syncthreads();
    if (threadIdx.x == 0) {
        cuda::atomic_ref<unsigned, cuda::thread_scope_device> count(*done);
        last = count.fetch_add(1u, cuda::memory_order_acq_rel) == gridDim.x - 1;
        if (last)
            count.store(0u, cuda::memory_order_relaxed);
    }
    __syncthreads();
    return last;
}

#endif
