/* Conversion between numbers and their bits. */
#ifndef CUDA_HOST_BITS_H
#define CUDA_HOST_BITS_H

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace cuda_host
{

template <class T> inline uint64_t to_bits(T value)
{
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8),
                  "numbers of 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}

template <class T> inline T from_bits(uint64_t bits)
{
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace cuda_host

#endif
