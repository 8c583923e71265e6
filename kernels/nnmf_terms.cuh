/* The backward rule of NNMF (nnmf/operations.h) for one feature of one row. */
#ifndef NNMF_TERMS_CUH
#define NNMF_TERMS_CUH

#include "quotient.cuh"

#include "nnmf/operations.h"

/* dx, and the terms of dw = h^T b + (h dh)^T a; only LOCAL_NONE has an a. */
struct BackwardTerms {
    float dx, a, b;
};

/* Computes the terms from x, r = h w and u = (h dh) w. */
static __device__ __forceinline__ BackwardTerms backward_terms(LocalLearning local, float x,
                                                               float r, float u)
{
    float q = quotient(1.0f, r + (float)EPSILON_R), dx = u * q, a = x * q;
    float b = local == LOCAL_NONE ? -a * dx : local == LOCAL_KL ? -a : -2.0f * (x - r);
    return {dx, a, b};
}

#endif
