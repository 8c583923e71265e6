/*
 * The fast CPU version. The sources of this folder but cpu.c are compiled once for each
 * instruction set, with CPU_SET naming it; CPU_NAME(f) is f's name in that set.
 */
#ifndef NNMF_CPU_H
#define NNMF_CPU_H

#include "nnmf/operations.h"

struct Backend {
    int threads;
    Error error; /* the first failure since the last finish */
    void *scratch;
    size_t scratch_bytes;
};

/* Scratch memory for the operation at hand, uninitialised, aligned to 64 bytes: `shared` floats
 * for all threads and after them `each` floats for every thread. Both are rounded up to whole
 * cache lines. NULL after recording the failure. */
typedef struct Scratch {
    float *shared;
    float *threads;
    size_t stride; /* floats from one thread's part to the next */
} Scratch;

bool cpu_scratch(Backend *backend, size_t shared, size_t each, Scratch *scratch);

/* Sums over rows are made of the sums of at most this many chunks of rows, added in order: the
 * chunks depend on the rows alone, so the result does not depend on the threads. */
enum { CPU_CHUNKS = 32 };

static inline int cpu_chunks(size_t rows, size_t least)
{
    size_t chunks = (rows + least - 1) / least;
    return chunks < CPU_CHUNKS ? (int)chunks : CPU_CHUNKS;
}

static inline size_t cpu_chunk_begin(size_t rows, int chunks, int chunk)
{
    return rows * (size_t)chunk / (size_t)chunks;
}

#define CPU_JOIN2(a, b) a##_##b
#define CPU_JOIN(a, b) CPU_JOIN2(a, b)
#define CPU_NAME(f) CPU_JOIN(f, CPU_SET)

/* Each fills in its family's operations, for one instruction set. */
#define CPU_DECLARE(family)                                                                        \
    void cpu_##family##_table_avx512(Operations *table);                                           \
    void cpu_##family##_table_avx2(Operations *table);                                             \
    void cpu_##family##_table_portable(Operations *table);
FAST_OPERATION_FAMILIES(CPU_DECLARE)
#undef CPU_DECLARE

#endif
