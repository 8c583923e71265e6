/* cuBLAS: its library, and products. */
#include "cuda.cuh"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* With macros expanded: NVIDIA's header makes cublasCreate one for cublasCreate_v2. */
#define TEXT(macro) TEXT_OF(macro)
#define TEXT_OF(name) #name
#define MAJOR TEXT(CUBLAS_VER_MAJOR)
#define LIBRARY "libcublas.so." MAJOR

/* ---- the library ---- */

/* Opens the library where the loader finds it, or in the toolkit that the program was built with.
 * It stays open, since CUDA's libraries do not support unloading. */
static void *open_library(Error *error)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library)
        return library;
    char reason[256]; /* also names a missing dependency */
    char path[4096];
    snprintf(reason, sizeof reason, "%s", dlerror());
    snprintf(path, sizeof path, "%s/%s", cuda_toolkit_libraries, LIBRARY);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail(error,
             "no cuBLAS: %s: install NVIDIA's libcublas-%s-%d, or PyPI's %s with its folder in "
             "$LD_LIBRARY_PATH",
             reason, MAJOR, CUDART_VERSION % 1000 / 10,
             CUBLAS_VER_MAJOR < 13 ? "nvidia-cublas-cu" MAJOR : "nvidia-cublas");
    return library;
}

bool cublas_open(Cublas *cublas, Error *error)
{
    void *symbol, *library = open_library(error);
    if (!library)
        return false;
#define FIND(member, function)                                                                     \
    if (!(symbol = dlsym(library, TEXT(function))))                                                \
        return fail(error, "unusable cuBLAS: %s: it has no function %s", LIBRARY, TEXT(function)); \
    memcpy(&cublas->member, &symbol, sizeof symbol);
    CUBLAS_FUNCTIONS(FIND)
#undef FIND
    return true;
}

/* ---- in the back end ---- */

bool cublas_try(Backend *backend, const char *operation, const char *call, cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return true;
    if (backend->error.status == STATUS_OK)
        fail(&backend->error, "cuBLAS failed: %s: %s: %s", operation, call,
             backend->cublas.status_string(status));
    return false;
}

bool cuda_open_cublas(Backend *backend, Precision precision, Error *error)
{
    enum { WORKSPACE = 32 << 20 }; /* recommended by cuBLAS for Hopper; plenty elsewhere */
    const char *name = "opening cuBLAS";
    Cublas *cublas = &backend->cublas;
    if (!cublas_open(cublas, error))
        return false;
    if (!TRY_BLAS(backend, name, cublas->create(&backend->blas))) {
        *error = backend->error;
        return false;
    }
    backend->blas_workspace = cuda_allocate(backend, WORKSPACE, "work space of cuBLAS", error);
    if (!backend->blas_workspace)
        return false;
    TRY_BLAS(backend, name, cublas->set_stream(backend->blas, backend->stream));
    /* With a workspace of its own, cuBLAS is deterministic in graphs too. */
    TRY_BLAS(backend, name,
             cublas->set_workspace(backend->blas, backend->blas_workspace, WORKSPACE));
    TRY_BLAS(backend, name,
             cublas->set_math_mode(backend->blas, precision == PRECISION_TF32
                                                      ? CUBLAS_TF32_TENSOR_OP_MATH
                                                      : CUBLAS_PEDANTIC_MATH));
    return true;
}

void cuda_close_cublas(Backend *backend)
{
    cudaFree(backend->blas_workspace);
    if (backend->blas)
        backend->cublas.destroy(backend->blas);
}

void cuda_product(Backend *backend, const char *operation, bool transposed_a, bool transposed_b,
                  size_t rows, size_t columns, size_t depth, const float *a, const float *b,
                  float beta, float *c)
{
    const float one = 1.0f;
    /* cuBLAS is column-major, so it computes c^T = b^T a^T. */
    TRY_BLAS(backend, operation,
             backend->cublas.sgemm(backend->blas, transposed_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                                   transposed_a ? CUBLAS_OP_T : CUBLAS_OP_N, (int)columns,
                                   (int)rows, (int)depth, &one, b,
                                   (int)(transposed_b ? depth : columns), a,
                                   (int)(transposed_a ? rows : depth), &beta, c, (int)columns));
}
