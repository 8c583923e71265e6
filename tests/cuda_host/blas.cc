/*
 * Matrix products, column-major like those of cuBLAS: every element is summed over k in ascending
 * order, in float32. TF32 first rounds both factors to 10 bits, as tensor cores do.
 */
#include "internal.h"
#include "race/race.h"

#include "cublas_v2.h"

#include <algorithm>
#include <cstring>
#include <vector>

struct cublasContext {
    cudaStream_t stream;
    cublasMath_t math;
    void *workspace;
    size_t workspace_bytes;
};

namespace cuda_host
{

struct Gemm {
    bool transpose_a, transpose_b, tf32;
    int m, n, k;
    float alpha, beta;
    const float *a, *b;
    float *c;
    int lda, ldb, ldc;
    void *workspace; /* which the real cuBLAS may use */
    size_t workspace_bytes;
};

static float to_tf32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000u) != 0x7f800000u) /* infinities and NaN are kept */
        bits = (bits + 0x1000u) & 0xffffe000u;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

/* Returns op(matrix) (rows, columns), without gaps. */
static std::vector<float> pack(const float *matrix, int ld, bool transpose, int rows, int columns,
                               bool tf32)
{
    std::vector<float> packed(size_t(rows) * size_t(columns));
    for (size_t j = 0; j < size_t(columns); j++)
        for (size_t i = 0; i < size_t(rows); i++) {
            float value = transpose ? matrix[i * size_t(ld) + j] : matrix[j * size_t(ld) + i];
            packed[j * size_t(rows) + i] = tf32 ? to_tf32(value) : value;
        }
    return packed;
}

/* sums += column * factor. Without sanitizers, for speed: both vectors have been checked. */
__attribute__((no_sanitize("address"), no_sanitize("undefined"), noinline)) static void
add_column(float *__restrict__ sums, const float *__restrict__ column, float factor, size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        sums[i] += column[i] * factor;
}

static void multiply(const Gemm &g)
{
    size_t m = size_t(g.m), n = size_t(g.n), k = g.alpha != 0 ? size_t(g.k) : 0;
    std::vector<float> left, right, sums(m);
    if (k) {
        left = pack(g.a, g.lda, g.transpose_a, g.m, g.k, g.tf32);
        right = pack(g.b, g.ldb, g.transpose_b, g.k, g.n, g.tf32);
    }
    for (size_t j = 0; j < n; j++) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (size_t l = 0; l < k; l++)
            add_column(sums.data(), &left[l * m], right[j * k + l], m);
        float *column = g.c + j * size_t(g.ldc);
        for (size_t i = 0; i < m; i++) /* C is not read without beta: it may be NaN */
            column[i] = g.alpha * sums[i] + (g.beta != 0 ? g.beta * column[i] : 0.0f);
    }
}

/* Reports the memory that the product reads and writes. */
static void report_accesses(const Gemm &g)
{
    const size_t element = sizeof(float);
    int a_columns = g.transpose_a ? g.m : g.k, b_columns = g.transpose_b ? g.k : g.n;
    int a_rows = g.transpose_a ? g.k : g.m, b_rows = g.transpose_b ? g.n : g.k;
    for (int j = 0; j < a_columns; j++)
        race::reads(g.a + j * size_t(g.lda), size_t(a_rows) * element);
    for (int j = 0; j < b_columns; j++)
        race::reads(g.b + j * size_t(g.ldb), size_t(b_rows) * element);
    for (int j = 0; j < g.n; j++)
        race::writes(g.c + j * size_t(g.ldc), size_t(g.m) * element);
}

static void run_gemm(const Gemm &g)
{
    race::task_is("a product of cuBLAS");
    race::writes(g.workspace, g.workspace_bytes);
    report_accesses(g);
    multiply(g);
}

static bool well_formed(const Gemm &g)
{
    return g.m >= 0 && g.n >= 0 && g.k >= 0 && g.lda >= std::max(1, g.transpose_a ? g.k : g.m) &&
           g.ldb >= std::max(1, g.transpose_b ? g.n : g.k) && g.ldc >= std::max(1, g.m);
}

static cublasStatus_t status_of(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return CUBLAS_STATUS_SUCCESS;
    case cudaErrorMemoryAllocation: return CUBLAS_STATUS_ALLOC_FAILED;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver: return CUBLAS_STATUS_NOT_INITIALIZED;
    default: return CUBLAS_STATUS_EXECUTION_FAILED;
    }
}

/* Unlike calls of the runtime, these leave no error behind for cudaGetLastError. */
template <class Body> static cublasStatus_t blas_call(Capturing capture, Body body)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    cudaError_t error = enter(capture);
    return error != cudaSuccess ? status_of(error) : body();
}

} // namespace cuda_host

using namespace cuda_host;

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    *handle = nullptr;
    return blas_call(Capturing::fails, [&] {
        *handle = new cublasContext();
        return CUBLAS_STATUS_SUCCESS;
    });
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    delete handle;
    return blas_call(Capturing::allowed, [] { return CUBLAS_STATUS_SUCCESS; });
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    return blas_call(Capturing::allowed, [&] {
        if (!handle)
            return CUBLAS_STATUS_NOT_INITIALIZED;
        handle->stream = stream;
        return CUBLAS_STATUS_SUCCESS;
    });
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t bytes)
{
    return blas_call(Capturing::allowed, [&] {
        if (!handle)
            return CUBLAS_STATUS_NOT_INITIALIZED;
        bool usable = !bytes || (on_device(workspace, bytes) &&
                                 reinterpret_cast<uintptr_t>(workspace) % 256 == 0);
        if (!usable)
            return CUBLAS_STATUS_INVALID_VALUE;
        handle->workspace = workspace;
        handle->workspace_bytes = bytes;
        return CUBLAS_STATUS_SUCCESS;
    });
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    return blas_call(Capturing::allowed, [&] {
        if (!handle)
            return CUBLAS_STATUS_NOT_INITIALIZED;
        handle->math = mode;
        return CUBLAS_STATUS_SUCCESS;
    });
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    switch (status) {
#define X(name)                                                                                    \
    case name: return #name;
        X(CUBLAS_STATUS_SUCCESS)
        X(CUBLAS_STATUS_NOT_INITIALIZED)
        X(CUBLAS_STATUS_ALLOC_FAILED)
        X(CUBLAS_STATUS_INVALID_VALUE)
        X(CUBLAS_STATUS_ARCH_MISMATCH)
        X(CUBLAS_STATUS_MAPPING_ERROR)
        X(CUBLAS_STATUS_EXECUTION_FAILED)
        X(CUBLAS_STATUS_INTERNAL_ERROR)
        X(CUBLAS_STATUS_NOT_SUPPORTED)
        X(CUBLAS_STATUS_LICENSE_ERROR)
#undef X
    }
    return "unknown status";
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa,
                           cublasOperation_t transb, int m, int n, int k, const float *alpha,
                           const float *A, int lda, const float *B, int ldb, const float *beta,
                           float *C, int ldc)
{
    return blas_call(Capturing::allowed, [&] {
        if (!handle)
            return CUBLAS_STATUS_NOT_INITIALIZED;
        Gemm g = {transa != CUBLAS_OP_N,
                  transb != CUBLAS_OP_N,
                  handle->math == CUBLAS_TF32_TENSOR_OP_MATH,
                  m,
                  n,
                  k,
                  0,
                  0,
                  A,
                  B,
                  C,
                  lda,
                  ldb,
                  ldc,
                  handle->workspace,
                  handle->workspace_bytes};
        if (!alpha || !beta || !well_formed(g))
            return CUBLAS_STATUS_INVALID_VALUE;
        if (m == 0 || n == 0)
            return CUBLAS_STATUS_SUCCESS;
        g.alpha = *alpha;
        g.beta = *beta;
        return status_of(submit(handle->stream, [=] {
            count_product();
            run_gemm(g);
        }));
    });
}
