/* Integer division by a number known before the launch, as a product and a shift: GPUs have no
 * integer division and need about twenty instructions for one. */
#ifndef NNMF_DIVISION_CUH
#define NNMF_DIVISION_CUH

#include "launch.cuh"

/* Divides numbers below 2^31 by `by`, from 1 to 2^31. */
struct Divisor {
    unsigned by, multiplier, shift;
};

/* multiplier = 2^(31 + shift) / by, rounded up, with shift = log2(by), rounded up (Granlund,
 * Montgomery, "Division by Invariant Integers using Multiplication", 1994, theorem 4.2). */
static inline Divisor divisor(unsigned by)
{
    unsigned shift = 0;
    while (1ull << shift < by)
        shift++;
    return {by, (unsigned)(((1ull << (31 + shift)) + by - 1) / by), shift};
}

static __device__ __forceinline__ unsigned quotient_of(unsigned number, const Divisor &divisor)
{
    return __umulhi(2 * number, divisor.multiplier) >> divisor.shift;
}

struct QuotientAndRemainder {
    unsigned quotient, remainder;
};

static __device__ __forceinline__ QuotientAndRemainder divide(unsigned number,
                                                              const Divisor &divisor)
{
    unsigned quotient = quotient_of(number, divisor);
    return {quotient, number - quotient * divisor.by};
}

#endif
