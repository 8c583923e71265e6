/*
 * How one kernel adds up what many blocks have summed: each leaves its part in device memory and
 * counts itself, and whichever comes last adds the parts, in an order that does not depend on who
 * that is.
 */
#ifndef NNMF_LAST_BLOCK_CUH
#define NNMF_LAST_BLOCK_CUH

#include "launch.cuh"

/* Is this the last of the gridDim.x blocks that share the count `done`, for which all others' parts
 * are there to be read? They are read past the first-level cache (__ldcg), which may hold older
 * values. The count is 0 before and after. */
static __device__ __forceinline__ bool is_last_block(unsigned *done)
{
    SHARED(bool, last);
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence(); /* what the block has written before its count */
        last = atomicAdd(done, 1u) == gridDim.x - 1;
        if (last)
            atomicExch(done, 0u); /* a plain write beside atomics would be a race */
        __threadfence();
    }
    __syncthreads();
    return last;
}

#endif
