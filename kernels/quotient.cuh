/*
 * Division without the slow path of x / y, a call that a whole warp waits for and that zeros and
 * very large or small numbers take. If x or y is NaN or infinite the result is not finite, except
 * that x / infinity may be.
 */
#ifndef NNMF_QUOTIENT_CUH
#define NNMF_QUOTIENT_CUH

#include "launch.cuh"

/* Returns 1 / y with a maximum relative error of 2^-23 (PTX ISA, "rcp"), for 1e-37 < y < 1e37. */
static __device__ __forceinline__ float approximate_reciprocal(float y)
{
#ifdef __CUDACC__
    float reciprocal;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(y));
    return reciprocal;
#else
    return ::cuda_host::approximate_reciprocal(y);
#endif
}

/* Returns x / y for these y with a maximum relative error of 2^-22, enough for TF32 operands. */
static __device__ __forceinline__ float approximate_quotient(float x, float y)
{
    return x * approximate_reciprocal(y);
}

/* Returns x / y for these y, correct to one unit in the last place, by one Newton step. */
static __device__ __forceinline__ float quotient(float x, float y)
{
    float reciprocal = approximate_reciprocal(y), q = x * reciprocal;
    return __fmaf_rn(__fmaf_rn(-q, y, x), reciprocal, q);
}

#endif
