/*
 * Tensor cores: the matrix product of a warp, with TF32 operands. TF32 is float32 with 10 bits of
 * fraction; the product of two is exact in float32, and sums are float32.
 *
 * Fragments of mma.m16n8k8 (PTX ISA, "Matrix Fragments for mma.m16n8k8"), for the lane with
 * group = lane / 4 and member = lane % 4:
 *   a (16 x 8): (group, member), (group + 8, member), (group, member + 4), (group + 8, member + 4)
 *   b (8 x 8):  (member, group), (member + 4, group)
 *   c (16 x 8): (group, 2 member), (group, 2 member + 1), (group + 8, 2 member), (.., 2 member + 1)
 */
#ifndef NNMF_MMA_CUH
#define NNMF_MMA_CUH

#include "cuda.cuh"

enum { MMA_ROWS = 16, MMA_SIDE = 8 };

/* Rounds to the nearest TF32 number, ties away from zero; infinities and NaN are kept. */
static __device__ __forceinline__ float to_tf32(float value)
{
#ifdef __CUDACC__
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
    return __uint_as_float(rounded);
#else
    return isfinite(value) ? __uint_as_float((__float_as_uint(value) + 0x1000u) & 0xffffe000u)
                           : value;
#endif
}

/* Splits value into high + low. A finite high is rounded as by to_tf32, in half the instructions.
 * For a NaN only low is sure to be NaN: of 0x7fffffff, which GPUs produce, high is -0. */
static __device__ __forceinline__ void split_tf32(float value, float &high, float &low)
{
    high = __uint_as_float((__float_as_uint(value) + 0x1000u) & 0xffffe000u);
    low = value - high;
}

/* c += a b; all 32 lanes take part. The last 13 bits of a and b are ignored. */
static __device__ __forceinline__ void mma_tf32(float c[4], const float a[4], const float b[2])
{
#ifdef __CUDACC__
    /* volatile, so that it does not move into a branch that not all lanes take. */
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else
    ::cuda_host::mma_tf32(c, a, b, {__FILE__, __LINE__});
#endif
}

#endif
