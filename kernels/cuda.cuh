/*
 * The CUDA back end's own state, and what its files share. Each file has the operations of a family
 * of nnmf/operations.h: an operation queues work on the back end's stream and returns; the first
 * failure is kept and told by `finish`.
 *
 * Sums have a fixed order and atomics count blocks but add no floating-point numbers, so that the
 * same command on the same GPU gives the same bits.
 */
#ifndef NNMF_CUDA_CUH
#define NNMF_CUDA_CUH

#include "cublas.cuh"
#include "launch.cuh"

#include "nnmf/device.h"
#include "nnmf/operations.h"

#include <cuda_runtime.h>

/* ---- state ---- */

struct RetiredScratch;
struct AdamRates;

enum { BLOCK_COUNTS = 1024 };

/* Scratch, counts and cuBLAS's work space belong to the operation that runs: one stream, one after
 * another. What runs beside it, on a branch of a graph or before the kernel ahead has ended, would
 * need its own. */
struct Backend {
    int device;
    int multiprocessors;
    size_t shared_limit; /* bytes a block may have when it asks for them */
    bool clusters;       /* has it clusters of blocks? */
    bool fused;          /* --nnmf-kernel */
    Precision precision;
    cudaStream_t stream;
    cudaStream_t copies; /* of what is sent beside the operations */
    Cublas cublas;
    cublasHandle_t blas;
    void *blas_workspace;
    unsigned *block_counts; /* (BLOCK_COUNTS), all 0 between operations: last_block.cuh */
    unsigned *grid_count;   /* 0 between operations but for its upper bit: grid.cuh */
    AdamRates *adam_rates;  /* of the next update: adam.cu */
    unsigned norm_blocks;   /* of a cooperative batch norm, at most; 0: there is none */
    bool norm_alone;        /* has one of several batches been refused? */
    Error error;            /* the first failure since the last finish */
    void *scratch;
    size_t scratch_bytes;
    RetiredScratch *retired; /* what was scratch when recordings were made that still live */
    int recordings;
    bool recording; /* now */
};

/* Keep the first failure, with the operation and the call; true if there was none. */
bool cuda_try(Backend *backend, const char *operation, const char *call, cudaError_t status);
bool cublas_try(Backend *backend, const char *operation, const char *call, cublasStatus_t status);

#define TRY(backend, operation, call) cuda_try(backend, operation, #call, call)
#define TRY_BLAS(backend, operation, call) cublas_try(backend, operation, #call, call)

/* Launches on the back end's stream and checks. */
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

/* Device memory for the operation at hand, uninitialised; NULL after keeping the failure. It may
 * grow only outside a recording. */
void *cuda_scratch(Backend *backend, size_t bytes);

/* c (rows, columns) = a b + beta c, all row-major: a (rows, depth), b (depth, columns); with
 * transposed_a a is (depth, rows), with transposed_b b is (columns, depth). */
void cuda_product(Backend *backend, const char *operation, bool transposed_a, bool transposed_b,
                  size_t rows, size_t columns, size_t depth, const float *a, const float *b,
                  float beta, float *c);

/* ---- what kernels share ---- */

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

/* Do four neighbouring floats lie there as a float4 does? */
static inline bool is_aligned(const float *pointer)
{
    return (uintptr_t)pointer % sizeof(float4) == 0;
}

/* Four neighbouring floats, of which `left` are there; zeros beyond. aligned: do they lie as a
 * float4 does, and are all there or none? */
static __device__ __forceinline__ float4 load_four(const float *from, int left, bool aligned)
{
    if (aligned && left > 0)
        return four(from);
    return make_float4(left > 0 ? from[0] : 0.0f, left > 1 ? from[1] : 0.0f,
                       left > 2 ? from[2] : 0.0f, left > 3 ? from[3] : 0.0f);
}

/* The sum over a warp, in every lane. */
template <typename T> static __device__ __forceinline__ T warp_sum(T value)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

/* ---- tables: each fills in its operations, nnmf/operations.h ---- */

void cuda_transfer_table(Operations *table);

#define CUDA_DECLARE(family) void cuda_##family##_table(Operations *table);
OPERATION_FAMILIES(CUDA_DECLARE)
#undef CUDA_DECLARE

/* ---- what operations share between their files ---- */

/* Device memory, zeroed, as the table's `allocate`. */
void *cuda_allocate(Backend *backend, size_t bytes, const char *what, Error *error);

/* Sets what of the back end is for cuBLAS. */
bool cuda_open_cublas(Backend *backend, Precision precision, Error *error);
void cuda_close_cublas(Backend *backend);

/* Sets norm_blocks. */
void cuda_open_batchnorm(Backend *backend);

/* Sets adam_rates. */
bool cuda_open_adam(Backend *backend, Error *error);

/* Allows the NNMF kernels that may run their shared memory, all that the GPU has, once and for all:
 * a recorded launch needs it for as long as it is replayed. */
void cuda_open_nnmf(Backend *backend);

/* NNMF product by product. */
void cuda_nnmf_forward_cublas(Backend *, const NnmfShape *, const float *x, const float *w,
                              float *h);
void cuda_nnmf_backward_cublas(Backend *, const NnmfShape *, const float *x, const float *w,
                               const float *h, const float *dh, float *dx, float *dw);

#endif
