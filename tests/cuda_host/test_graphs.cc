/* The emulation's graphs: recorded, replayed, and broken by what a capture forbids. */
#include "cuda_host.h"
#include "expect.h"
#include "sample.h"

#include <cstdio>
#include <vector>

/* Recorded and replayed, with a barrier that continues where the previous run left it. */
static void test_cooperative_graph(void)
{
    const int blocks = 3;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    Buffer<int> parts(size_t(3 * blocks)), out(size_t(3 * blocks * 64));
    Buffer<unsigned> count(std::vector<unsigned>{0});
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    OK(sample_grid(parts.data, count.data, blocks, 1, 1, out.data, stream));
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    OK(cudaGraphUpload(executable, stream));
    OK(cudaGraphLaunch(executable, stream));
    OK(cudaStreamSynchronize(stream));
    EXPECT(cuda_host_cold_graph_launches() == 0);
    OK(cudaGraphExecDestroy(executable));
    GIVES(cudaErrorInvalidValue, cudaGraphUpload(nullptr, stream));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    OK(cudaGraphDestroy(graph));
    cuda_host_reset();
    for (int run = 1; run <= 3; run++) {
        OK(cudaMemsetAsync(out.data, 0, out.count * sizeof(int), stream));
        OK(cudaGraphLaunch(executable, stream));
        OK(cudaStreamSynchronize(stream));
        EXPECT(cuda_host_cooperative_launches() == unsigned(run));
        EXPECT(cuda_host_cold_graph_launches() == 1); /* the first brings it to the device */
        EXPECT(out.read().back() == 6 << 2);
    }
    OK(cudaGraphExecDestroy(executable));
    OK(cudaStreamDestroy(stream));
    cuda_host_reset();
}

static void test_graphs(void)
{
    cudaStream_t stream, other;
    cudaEvent_t begin, end;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    cublasHandle_t blas;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    OK(cudaEventCreate(&begin));
    OK(cudaEventCreate(&end));
    BLAS(cublasCreate(&blas));
    BLAS(cublasSetStream(blas, stream));
    Buffer<float> a(std::vector<float>{1, 2}), b(std::vector<float>{3, 4}),
        product(std::vector<float>{0});

    /* a doubles, b triples in a branch, product += a b. */
    const float one = 1;
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    OK(sample_scale(a.data, 2, 2.0f, stream));
    OK(cudaEventRecord(begin, stream));
    OK(cudaStreamWaitEvent(other, begin, 0));
    OK(sample_scale(b.data, 2, 3.0f, other));
    OK(cudaEventRecord(end, other));
    OK(cudaStreamWaitEvent(stream, end, 0));
    BLAS(cublasSgemm(blas, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 2, &one, a.data, 2, b.data, 2, &one,
                     product.data, 1));
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    OK(cudaGraphDestroy(graph));
    EXPECT(a.read()[0] == 1);
    unsigned long launches = cuda_host_launches();
    OK(cudaGraphLaunch(executable, stream));
    OK(cudaGraphLaunch(executable, stream));
    EXPECT(cuda_host_launches() == launches);
    OK(cudaStreamSynchronize(stream));
    EXPECT(cuda_host_launches() == launches + 4);
    EXPECT(a.read()[1] == 8 && b.read()[1] == 36);
    EXPECT(product.read()[0] == 66 + 66 * 6);
    OK(cudaGraphExecDestroy(executable));

    /* Forbidden calls break the capture. */
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    GIVES(cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(stream));
    GIVES(cudaErrorStreamCaptureInvalidated, sample_scale(a.data, 2, 2.0f, stream));
    GIVES(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(stream, &graph));
    EXPECT(!graph);
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    void *memory;
    GIVES(cudaErrorStreamCaptureUnsupported, cudaMalloc(&memory, 1));
    GIVES(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(stream, &graph));
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    OK(cudaEventRecord(begin, stream));
    OK(cudaStreamWaitEvent(other, begin, 0));
    GIVES(cudaErrorStreamCaptureUnjoined, cudaStreamEndCapture(stream, &graph));
    GIVES(cudaErrorIllegalState, cudaStreamEndCapture(stream, &graph));
    GIVES(cudaErrorIllegalState, cudaGetLastError());
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    OK(cudaMalloc(&memory, 1));
    OK(cudaFree(memory));
    GIVES(cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(stream));
    GIVES(cudaErrorStreamCaptureUnsupported, cudaGetLastError());

    BLAS(cublasDestroy(blas)); /* the stream is destroyed during its capture */
    OK(cudaEventDestroy(begin));
    OK(cudaEventDestroy(end));
    OK(cudaStreamDestroy(stream));
    OK(cudaStreamDestroy(other));
}

int main(void)
{
    test_cooperative_graph();
    test_graphs();
    puts("graphs work");
    return 0;
}
