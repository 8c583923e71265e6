/*
 * Measures the peak rates of this GPU and prints one line of JSON: its name, the float32 and TF32
 * rates of cuBLAS on large square matrices (FLOP/s), and the bandwidth of a copy in device memory
 * (bytes read plus bytes written per second). Each is the best of several runs.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <cublas_v2.h>
#include <cuda_runtime.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        auto status = call;                                                                        \
        if ((int)status != 0) {                                                                    \
            std::fprintf(stderr, "ceilings: %s failed with %d\n", #call, (int)status);             \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

static cudaEvent_t first, last;

template <class Work> static double best_seconds(int rounds, Work work)
{
    double best = 1e30;
    work(); /* warm up */
    for (int i = 0; i < rounds; i++) {
        float ms = 0.0f;
        CHECK(cudaEventRecord(first));
        work();
        CHECK(cudaEventRecord(last));
        CHECK(cudaEventSynchronize(last));
        CHECK(cudaEventElapsedTime(&ms, first, last));
        best = std::min(best, ms * 1e-3);
    }
    return best;
}

static double gemm_rate(cublasHandle_t blas, cublasMath_t mode, int side, const float *a,
                        const float *b, float *c)
{
    const float one = 1.0f, zero = 0.0f;
    CHECK(cublasSetMathMode(blas, mode));
    double seconds = best_seconds(10, [&] {
        CHECK(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, side, side, side, &one, a, side, b, side,
                          &zero, c, side));
    });
    return 2.0 * side * side * side / seconds;
}

int main()
{
    const int side = 8192;
    const size_t bytes = (size_t)side * side * sizeof(float);
    int driver = 0, runtime = 0, clock = 0;
    cudaDeviceProp properties;
    float *a = nullptr, *b = nullptr, *c = nullptr;
    cublasHandle_t blas;
    CHECK(cudaGetDeviceProperties(&properties, 0));
    CHECK(cudaDriverGetVersion(&driver));
    CHECK(cudaRuntimeGetVersion(&runtime));
    CHECK(cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, 0));
    CHECK(cudaEventCreate(&first));
    CHECK(cudaEventCreate(&last));
    CHECK(cudaMalloc(&a, bytes));
    CHECK(cudaMalloc(&b, bytes));
    CHECK(cudaMalloc(&c, bytes));
    /* Values do not affect the work, but zeros would reduce the power consumption. */
    float *host = (float *)std::malloc(bytes);
    if (!host)
        return 1;
    for (size_t i = 0; i < (size_t)side * side; i++)
        host[i] = (float)((i * 2654435761u >> 16) % 1000) * 0.001f;
    CHECK(cudaMemcpy(a, host, bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(b, host, bytes, cudaMemcpyHostToDevice));
    std::free(host);
    CHECK(cublasCreate(&blas));
    double fp32 = gemm_rate(blas, CUBLAS_PEDANTIC_MATH, side, a, b, c);
    double tf32 = gemm_rate(blas, CUBLAS_TF32_TENSOR_OP_MATH, side, a, b, c);
    double copy = 2.0 * (double)bytes / best_seconds(20, [&] {
                      CHECK(cudaMemcpyAsync(c, a, bytes, cudaMemcpyDeviceToDevice));
                  });
    std::printf(
        "{\"name\": \"%s\", \"capability\": \"%d.%d\", \"multiprocessors\": %d, "
        "\"clock_khz\": %d, \"shared_per_block\": %zu, \"memory_bytes\": %zu, "
        "\"driver_cuda\": \"%d.%d\", \"runtime_cuda\": \"%d.%d\", \"fp32_flops\": %.6g, "
        "\"tf32_flops\": %.6g, \"copy_bytes\": %.6g}\n",
        properties.name, properties.major, properties.minor, properties.multiProcessorCount, clock,
        properties.sharedMemPerBlockOptin, properties.totalGlobalMem, driver / 1000,
        driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, fp32, tf32, copy);
    CHECK(cublasDestroy(blas));
    CHECK(cudaFree(a));
    CHECK(cudaFree(b));
    CHECK(cudaFree(c));
    return 0;
}
