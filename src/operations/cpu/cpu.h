/*
 * The fast CPU version. All sources of this folder except cpu.c are compiled once for each
 * instruction set, which CPU_SET names; CPU_NAME(f) is the name of f in that set.
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

typedef struct Scratch {
    float *shared;  /* for all threads */
    float *threads; /* the part of the first thread */
    size_t stride;  /* floats from one thread's part to the next */
} Scratch;

/* Provides uninitialised scratch memory for the current operation, aligned to 64 bytes: `shared`
 * floats for all threads, then `each` floats for every thread, both rounded up to whole cache
 * lines. Returns false after keeping the failure. */
bool cpu_scratch(Backend *backend, size_t shared, size_t each, Scratch *scratch);

/* Maximum number of chunks in a sum over rows. The sums of the chunks are added in order, and the
 * chunks depend only on the number of rows, so the result does not depend on the threads. */
enum { MAX_CPU_CHUNKS = 32 };

/* Returns the number of chunks of chunk_rows rows, or MAX_CPU_CHUNKS, which are then larger. */
static inline int cpu_chunks(size_t rows, size_t chunk_rows)
{
    size_t chunks = (rows + chunk_rows - 1) / chunk_rows;
    return chunks < MAX_CPU_CHUNKS ? (int)chunks : MAX_CPU_CHUNKS;
}

/* Returns the first row of a chunk. */
static inline size_t cpu_chunk_begin(size_t rows, int chunks, int chunk)
{
    return rows * (size_t)chunk / (size_t)chunks;
}

#define CPU_JOIN2(a, b) a##_##b
#define CPU_JOIN(a, b) CPU_JOIN2(a, b)
#define CPU_NAME(f) CPU_JOIN(f, CPU_SET)

/* Each function fills in the operations of its family, for one instruction set. */
#define CPU_DECLARE(family)                                                                        \
    void cpu_##family##_table_avx512(Operations *table);                                           \
    void cpu_##family##_table_avx2(Operations *table);                                             \
    void cpu_##family##_table_portable(Operations *table);
FAST_OPERATION_FAMILIES(CPU_DECLARE)
#undef CPU_DECLARE

#endif
