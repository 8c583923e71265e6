/*
 * Random numbers as a function of where they are used: Philox 4x32-10 (Salmon, Moraes, Dror,
 * Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter and a key into
 * 128 random bits. It has no state, so every CPU or GPU thread draws the same number for the same
 * place, in any order. Compiles as C11 and as CUDA.
 */
#ifndef NNMF_PHILOX_H
#define NNMF_PHILOX_H

#include <stdint.h>

#ifndef NNMF_HD
#ifdef __CUDACC__
#define NNMF_HD __host__ __device__
#else
#define NNMF_HD
#endif
#endif

typedef struct {
    uint32_t v[4];
} Philox;

NNMF_HD static inline Philox philox(uint32_t counter0, uint32_t counter1, uint32_t counter2,
                                    uint32_t counter3, uint32_t key0, uint32_t key1)
{
    uint32_t a = counter0, b = counter1, c = counter2, d = counter3;
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * a;
        uint64_t product1 = (uint64_t)0xCD9E8D57u * c;
        a = (uint32_t)(product1 >> 32) ^ b ^ key0;
        b = (uint32_t)product1;
        c = (uint32_t)(product0 >> 32) ^ d ^ key1;
        d = (uint32_t)product0;
        key0 += 0x9E3779B9u; /* the golden ratio */
        key1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    Philox result = {{a, b, c, d}};
    return result;
}

/* Returns a float in [0, 1) from the upper 24 bits, which it holds exactly. */
NNMF_HD static inline float philox_uniform(uint32_t bits)
{
    return (float)(bits >> 8) * (1.0f / 16777216.0f);
}

/* Purpose of a draw. Part of the counter, so that no two purposes share numbers. */
typedef enum { DRAW_WEIGHTS, DRAW_SHUFFLE, DRAW_AUGMENT, DRAW_NOISE } Draw;

/* Returns the 128 random bits of element `index` of (seed, purpose, epoch, step). */
NNMF_HD static inline Philox draw(uint64_t seed, Draw purpose, uint32_t epoch, uint32_t step,
                                  uint32_t index)
{
    return philox(index, step, epoch, (uint32_t)purpose, (uint32_t)seed, (uint32_t)(seed >> 32));
}

/* Rounds of the Feistel network below. With 8, a chi-square test over 480000 permutations of 4
 * elements fails. */
enum { DRAW_ROUNDS = 12 };

/* Returns element `position` < `count` of the pseudo-random permutation of 0 .. count - 1 that
 * belongs to (seed, epoch), without a table (Mitchell, Stokes, Frank, Holmes, "Bandwidth-Optimal
 * Random Shuffling for GPUs", 2022). A Feistel network permutes the numbers with the smallest even
 * number of bits that covers `count`; a result outside the range is permuted again, until it is
 * inside: on average after at most four passes. Over more than two bits such a network produces
 * only the even permutations, half of all; positions of single elements do not reveal that. */
NNMF_HD static inline uint32_t draw_permuted(uint64_t seed, uint32_t epoch, uint32_t count,
                                             uint32_t position)
{
    uint32_t half = 1;
    while (half < 16 && (count - 1) >> (2 * half) != 0)
        half++;
    uint32_t mask = (1u << half) - 1;
    uint32_t value = position;
    do {
        uint32_t left = value >> half, right = value & mask;
        for (uint32_t round = 0; round < DRAW_ROUNDS; round++) {
            uint32_t word = draw(seed, DRAW_SHUFFLE, epoch, round, right).v[0];
            uint32_t mixed = left ^ (word & mask);
            left = right;
            right = mixed;
        }
        value = left << half | right;
    } while (value >= count);
    return value;
}

#endif
