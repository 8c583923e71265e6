/*
 * The state of the CUDA back end, and what its files share. Each file implements one family of
 * operations (nnmf/operations.h). An operation queues work on the back end's stream and returns;
 * the first failure is kept and reported by `finish`.
 *
 * Sums have a fixed order, and atomics only count blocks, so the same command on the same GPU gives
 * bit-identical results.
 */
#ifndef NNMF_CUDA_CUH
#define NNMF_CUDA_CUH

#include "cublas.cuh"
#include "launch.cuh"

#include "nnmf/device.h"
#include "nnmf/operations.h"

#include <cuda_runtime.h>

/* ---- the CUDA Toolkit that the back end is built with: toolkit.cu.in ---- */

/* The oldest NVIDIA driver that it works with: "580.65.06". */
extern const char cuda_oldest_driver[];

/* The folder of its libraries. */
extern const char cuda_toolkit_libraries[];

/* ---- state ---- */

struct RetiredScratch;
struct AdamRates;

enum { BLOCK_COUNTS = 1024 };

/* Scratch memory, counts and cuBLAS's workspace belong to the running operation: there is one
 * stream with one operation after another. An operation that ran beside it, on a branch of a graph
 * or before the previous kernel had ended, would need its own. */
struct Backend {
    int device;
    int multiprocessors;
    size_t shared_limit; /* maximum opt-in shared memory of a block, in bytes */
    bool clusters;       /* the GPU has clusters of blocks */
    bool fused;          /* --nnmf-kernel */
    Precision precision;
    cudaStream_t stream;
    Cublas cublas;
    cublasHandle_t blas;
    void *blas_workspace;
    unsigned *block_counts; /* (BLOCK_COUNTS), all 0 between operations: last_block.cuh */
    unsigned *grid_count;   /* 0 between operations, except for its upper bit: grid.cuh */
    AdamRates *adam_rates;  /* of the next update: adam.cu */
    unsigned norm_blocks;   /* maximum of a cooperative batch norm; 0: none is possible */
    bool norm_alone;        /* a cooperative launch of several batches has been refused */
    Error error;            /* the first failure since the last finish */
    void *scratch;
    size_t scratch_bytes;
    RetiredScratch *retired; /* former scratch memory that recordings may still use */
    int recordings;
    bool recording; /* a step is being recorded */
};

/* Keep the first failure, with the operation and the call. Return true if `status` is success. */
bool cuda_try(Backend *backend, const char *operation, const char *call, cudaError_t status);
bool cublas_try(Backend *backend, const char *operation, const char *call, cublasStatus_t status);

#define TRY(backend, operation, call) cuda_try(backend, operation, #call, call)
#define TRY_BLAS(backend, operation, call) cublas_try(backend, operation, #call, call)

/* Launches a kernel on the back end's stream and keeps a failure. */
#define RUN(backend, operation, kernel, grid, block, shared, ...)                                  \
    do {                                                                                           \
        LAUNCH(kernel, grid, block, shared, (backend)->stream, __VA_ARGS__);                       \
        cuda_try(backend, operation, "launch of " #kernel, cudaGetLastError());                    \
    } while (0)

/* The same in clusters of blocks. */
#define RUN_CLUSTER(backend, operation, kernel, cluster, grid, block, shared, ...)                 \
    do {                                                                                           \
        LAUNCH_CLUSTER(kernel, cluster, grid, block, shared, (backend)->stream, __VA_ARGS__);      \
        cuda_try(backend, operation, "launch of " #kernel, cudaGetLastError());                    \
    } while (0)

/* Returns uninitialised device memory for the current operation; NULL after keeping the failure.
 * Cannot grow during a recording. */
void *cuda_scratch(Backend *backend, size_t bytes);

/* Computes c (rows, columns) = a b + beta c by cuBLAS, all row-major, with a (rows, depth), or
 * (depth, rows) if transposed_a, and b (depth, columns), or (columns, depth) if transposed_b. */
void cuda_product(Backend *backend, const char *operation, bool transposed_a, bool transposed_b,
                  size_t rows, size_t columns, size_t depth, const float *a, const float *b,
                  float beta, float *c);

/* ---- shared by kernels ---- */

enum { WARP = 32, ALL_LANES = -1 };

static inline unsigned blocks_for(size_t items, size_t per_block)
{
    return (unsigned)((items + per_block - 1) / per_block);
}

static __device__ __forceinline__ float part(const float4 &v, int i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

static __device__ __forceinline__ float4 four(const float *from)
{
    return *(const float4 *)from;
}

/* Returns whether the pointer has the alignment of a float4. */
static inline bool is_aligned(const float *pointer)
{
    return (uintptr_t)pointer % sizeof(float4) == 0;
}

/* Loads four neighbouring floats, of which `left` exist; the others become 0. aligned: they have
 * the alignment of a float4, and either all exist or none. */
static __device__ __forceinline__ float4 load_four(const float *from, int left, bool aligned)
{
    if (aligned && left > 0)
        return four(from);
    return make_float4(left > 0 ? from[0] : 0.0f, left > 1 ? from[1] : 0.0f,
                       left > 2 ? from[2] : 0.0f, left > 3 ? from[3] : 0.0f);
}

/* Returns the sum over a warp to every lane. */
template <typename T> static __device__ __forceinline__ T warp_sum(T value)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

/* ---- tables: each function fills in the operations of its family (nnmf/operations.h) ---- */

void cuda_transfer_table(Operations *table);

#define CUDA_DECLARE(family) void cuda_##family##_table(Operations *table);
OPERATION_FAMILIES(CUDA_DECLARE)
#undef CUDA_DECLARE

/* ---- shared by operations ---- */

/* The table's `allocate`. */
void *cuda_allocate(Backend *backend, size_t bytes, const char *what, Error *error);

/* Opens cuBLAS and its workspace; fails if its library is missing. */
bool cuda_open_cublas(Backend *backend, Precision precision, Error *error);
void cuda_close_cublas(Backend *backend);

/* Sets norm_blocks. */
void cuda_open_batchnorm(Backend *backend);

/* Sets adam_rates. */
bool cuda_open_adam(Backend *backend, Error *error);

/* Allows the NNMF kernels all of the GPU's shared memory. This is done once, at opening, because a
 * recorded launch needs it for as long as it is replayed. */
void cuda_open_nnmf(Backend *backend);

/* NNMF by cuBLAS, one product after another. */
void cuda_nnmf_forward_cublas(Backend *, const NnmfParams *, const float *x, const float *w,
                              float *h);
void cuda_nnmf_backward_cublas(Backend *, const NnmfParams *, const float *x, const float *w,
                               const float *h, const float *dh, float *dx, float *dw);

#endif
