/* The emulated device: its properties, its memory, and the errors that tests have it return. */
#include "cuda_host.h"
#include "expect.h"

#include <cstdio>
#include <cstring>

static void test_device(void)
{
    cudaDeviceProp properties;
    int value = 0;
    size_t available, total;
    OK(cudaGetDeviceCount(&value));
    EXPECT(value == 1);
    OK(cudaGetDeviceProperties(&properties, 0));
    EXPECT(!strcmp(properties.name, "host emulation") && properties.multiProcessorCount == 32);
    OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    EXPECT(value == 101376);

    cuda_host_set_memory(1000);
    void *memory, *more;
    size_t used = cuda_host_memory_used();
    OK(cudaMalloc(&memory, 600 - used));
    GIVES(cudaErrorMemoryAllocation, cudaMalloc(&more, 401));
    EXPECT(!more);
    OK(cudaMemGetInfo(&available, &total));
    EXPECT(available == 400 && total == 1000);
    OK(cudaFree(memory));
    GIVES(cudaErrorInvalidValue, cudaFree(&total));
    GIVES(cudaErrorInvalidValue, cudaGetLastError());

    cuda_host_set_driver(cudaErrorInsufficientDriver);
    GIVES(cudaErrorInsufficientDriver, cudaGetDeviceCount(&value));
    EXPECT(value == 0);
    GIVES(cudaErrorInsufficientDriver, cudaSetDevice(0));
    OK(cudaDriverGetVersion(&value));
    EXPECT(value == 0);
    cublasHandle_t blas;
    EXPECT(cublasCreate(&blas) == CUBLAS_STATUS_NOT_INITIALIZED);
    cuda_host_reset();

    cuda_host_fail_call(2, cudaErrorMemoryAllocation);
    OK(cudaMalloc(&memory, 1));
    GIVES(cudaErrorMemoryAllocation, cudaMalloc(&more, 1));
    OK(cudaMalloc(&more, 1));
    EXPECT(cuda_host_calls() == 3);
    GIVES(cudaErrorMemoryAllocation, cudaGetLastError());
    OK(cudaGetLastError());
    cuda_host_fail_call(1, cudaErrorIllegalAddress); /* this one stays */
    GIVES(cudaErrorIllegalAddress, cudaDeviceSynchronize());
    GIVES(cudaErrorIllegalAddress, cudaGetLastError());
    GIVES(cudaErrorIllegalAddress, cudaFree(memory));
    GIVES(cudaErrorIllegalAddress, cudaGetLastError());
    cuda_host_reset();
    OK(cudaFree(more));
    EXPECT(!strcmp(cudaGetErrorName(cudaErrorNoDevice), "cudaErrorNoDevice"));
    EXPECT(!strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory"));
}

int main(void)
{
    test_device();
    puts("the device works");
    return 0;
}
