/* The emulation's streams, events and copies. */
#include "cuda_host.h"
#include "expect.h"
#include "sample.h"

#include <cmath>
#include <cstdio>
#include <vector>

/* Work runs when the host waits for it. */
static void test_streams(void)
{
    cudaStream_t streams[2];
    cudaEvent_t event, timed[2];
    for (cudaStream_t &stream : streams)
        OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    for (cudaEvent_t &each : timed)
        OK(cudaEventCreate(&each));
    OK(cudaEventQuery(event));
    Buffer<float> values(std::vector<float>{1, 2, 3});
    float *host;
    OK(cudaMallocHost(&host, 3 * sizeof(float)));
    EXPECT(std::isnan(host[0]));

    OK(cudaEventRecord(timed[0], streams[0]));
    OK(sample_scale(values.data, 3, 2.0f, streams[0]));
    OK(cudaEventRecord(timed[1], streams[0]));
    OK(cudaEventRecord(event, streams[0]));
    OK(cudaStreamWaitEvent(streams[1], event, 0));
    OK(cudaMemcpyAsync(host, values.data, 3 * sizeof(float), cudaMemcpyDeviceToHost, streams[1]));
    GIVES(cudaErrorNotReady, cudaEventQuery(event));
    GIVES(cudaErrorNotReady, cudaGetLastError());
    EXPECT(std::isnan(host[0]));
    OK(cudaStreamSynchronize(streams[1]));
    EXPECT(host[0] == 2 && host[1] == 4 && host[2] == 6);
    OK(cudaEventQuery(event));
    float milliseconds = -1;
    OK(cudaEventElapsedTime(&milliseconds, timed[0], timed[1]));
    EXPECT(milliseconds >= 0);

    /* Without the event the other stream does not wait. */
    OK(sample_scale(values.data, 3, 2.0f, streams[0]));
    OK(cudaMemcpyAsync(host, values.data, 3 * sizeof(float), cudaMemcpyDeviceToHost, streams[1]));
    OK(cudaStreamSynchronize(streams[1]));
    EXPECT(host[0] == 2);
    OK(cudaEventRecord(event, streams[0]));
    int polls = 0;
    while (cudaEventQuery(event) == cudaErrorNotReady)
        polls++;
    EXPECT(polls == 2);
    EXPECT(values.read()[2] == 12);

    GIVES(cudaErrorInvalidValue, cudaMemcpy(values.data, host, 16, cudaMemcpyHostToDevice));
    GIVES(cudaErrorInvalidValue, cudaMemset(host, 0, 4));
    OK(cudaMemsetAsync(values.data, 0, 4, streams[0]));
    OK(cudaDeviceSynchronize());
    EXPECT(values.read()[0] == 0 && values.read()[1] == 8);

    OK(cudaFreeHost(host));
    OK(cudaEventDestroy(event));
    for (cudaEvent_t each : timed)
        OK(cudaEventDestroy(each));
    for (cudaStream_t stream : streams)
        OK(cudaStreamDestroy(stream));
    cuda_host_reset();
}

/* An upload from pinned memory beside kernels reads the memory as late as it may, and comes too
 * late for a stream that does not wait for it. Polling its event does not count as a wait of the
 * host. */
static void test_uploads(void)
{
    cudaStream_t kernels, copies;
    cudaEvent_t event;
    OK(cudaStreamCreateWithFlags(&kernels, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking));
    OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    Buffer<float> values(std::vector<float>{1, 2, 3});
    float *host;
    OK(cudaHostAlloc(&host, 3 * sizeof(float), cudaHostAllocDefault));
    for (bool awaited : {false, true}) {
        OK(cudaMemcpy(values.data, std::vector<float>{1, 2, 3}.data(), 3 * sizeof(float),
                      cudaMemcpyHostToDevice));
        unsigned long waits = cuda_host_waits();
        host[2] = 5;
        OK(cudaMemcpyAsync(values.data, host, 3 * sizeof(float), cudaMemcpyHostToDevice, copies));
        host[2] = 7; /* not yet read */
        OK(cudaEventRecord(event, copies));
        if (awaited)
            OK(cudaStreamWaitEvent(kernels, event, 0));
        OK(sample_scale(values.data, 3, 2.0f, kernels));
        EXPECT(cuda_host_waits() == waits);
        OK(cudaStreamSynchronize(kernels));
        EXPECT(cuda_host_waits() == waits + 1);
        GIVES(awaited ? cudaSuccess : cudaErrorNotReady, cudaEventQuery(event));
        cudaGetLastError(); /* "not ready" is an error too */
        OK(cudaEventSynchronize(event));
        EXPECT(cuda_host_waits() == waits + 2);
        EXPECT(values.read()[2] == (awaited ? 14 : 7));
    }
    OK(cudaFreeHost(host));
    OK(cudaEventDestroy(event));
    OK(cudaStreamDestroy(kernels));
    OK(cudaStreamDestroy(copies));
    cuda_host_reset();
}

int main(void)
{
    test_streams();
    test_uploads();
    puts("streams work");
    return 0;
}
