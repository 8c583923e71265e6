/* What the backward rule of NNMF makes of one feature of one row. */
#ifndef NNMF_TERMS_CUH
#define NNMF_TERMS_CUH

#include "quotient.cuh"

#include "nnmf/operations.h"

/* dx, and the terms of dw = h^T b + (h dh)^T a; a belongs to LOCAL_NONE alone. */
struct BackwardTerms {
    float dx, a, b;
};

/* From x, r = h w and u = (h dh) w. */
static __device__ __forceinline__ BackwardTerms backward_terms(LocalLearning local, float x,
                                                               float r, float u)
{
    float q = quotient(1.0f, r + (float)EPSILON_R), dx = u * q, a = x * q;
    float b = local == LOCAL_NONE ? -a * dx : local == LOCAL_KL ? -a : -2.0f * (x - r);
    return {dx, a, b};
}

#endif
