/*
 * Division without the way out that x / y has for divisors beyond the usual range, a call that a
 * whole warp waits for. NaN and infinities of x or y give no finite number, but that x / infinity
 * may.
 */
#ifndef NNMF_QUOTIENT_CUH
#define NNMF_QUOTIENT_CUH

#include "launch.cuh"

/* 1 / y with an error of at most 2^-23 (PTX ISA, "rcp"), for y from 1e-37 to 1e37. */
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

/* x / y for these y, with an error of at most 2^-22: where operands have no more bits. */
static __device__ __forceinline__ float approximate_quotient(float x, float y)
{
    return x * approximate_reciprocal(y);
}

/* x / y for these y, with the last bit right or next to it: a step of Newton's. */
static __device__ __forceinline__ float quotient(float x, float y)
{
    float reciprocal = approximate_reciprocal(y), q = x * reciprocal;
    return __fmaf_rn(__fmaf_rn(-q, y, x), reciprocal, q);
}

#endif
