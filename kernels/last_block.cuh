/*
 * How one kernel adds up what many blocks have summed: each leaves its part in device memory and
 * counts itself, and whichever comes last adds the parts, in an order that does not depend on who
 * that is.
 */
#ifndef NNMF_LAST_BLOCK_CUH
#define NNMF_LAST_BLOCK_CUH

#include "launch.cuh"

#include <cuda/atomic>

/* Is this the last of the gridDim.x blocks that share the count `done`, for which all others' parts
 * are there to be read? The count is 0 before and after. One thread's atomic releases what its
 * whole block has written before the barrier, and acquires what all threads read behind the other
 * one (PTX ISA, "Memory Consistency Model": causality order goes through barriers). */
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
