/* Arithmetic functions of kernels that the C library does not have under these names. */
#ifndef CUDA_HOST_MATH_FUNCTIONS_H
#define CUDA_HOST_MATH_FUNCTIONS_H

#include "bits.h"

#include <math.h>

template <class T> inline T min(T a, T b)
{
    static_assert(std::is_integral<T>::value, "fminf is for floats");
    return b < a ? b : a;
}

template <class T> inline T max(T a, T b)
{
    static_assert(std::is_integral<T>::value, "fmaxf is for floats");
    return a < b ? b : a;
}

/* Returns the bits of the NaN that GPU arithmetic produces for every NaN; those of x86 differ. */
inline unsigned __float_as_uint(float value)
{
    return value != value ? 0x7fffffffu : unsigned(cuda_host::to_bits(value));
}

inline float __uint_as_float(unsigned bits)
{
    return cuda_host::from_bits<float>(bits);
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
    return unsigned((uint64_t(a) * b) >> 32);
}

inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

/* Never contracted with a following sum. */
inline float __fmul_rn(float a, float b)
{
    return a * b;
}

inline float __fdividef(float a, float b)
{
    return a / b;
}

inline float __frcp_rn(float a)
{
    return 1.0f / a;
}

namespace cuda_host
{

/* PTX's rcp.approx.ftz, with an error of up to 2^-23: here it is off by one unit if the last bit of
 * the divisor is 1. */
inline float approximate_reciprocal(float a)
{
    if (fabsf(a) < 0x1p-126f)
        a = copysignf(0.0f, a);
    float reciprocal = 1.0f / a;
    bool off = isfinite(reciprocal) && fabsf(reciprocal) >= 0x1p-126f;
    if (off && to_bits(a) % 2)
        reciprocal = nextafterf(reciprocal, INFINITY);
    return fabsf(reciprocal) < 0x1p-126f ? copysignf(0.0f, reciprocal) : reciprocal;
}

inline float reciprocal_root(float a)
{
    return 1.0f / sqrtf(a);
}

} // namespace cuda_host

/* Macros, because the C library declares functions with these names. */
#define rsqrtf(a) ::cuda_host::reciprocal_root(a)
#define __expf(a) expf(a)

#endif
