/* Tests of the host emulation itself, with the kernels of sample.cu. */
#include "cuda_host.h"
#include "expect.h"
#include "quotient.cuh"
#include "sample.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
static const bool with_asan = true;
#elif defined(__has_feature)
static const bool with_asan = __has_feature(address_sanitizer);
#else
static const bool with_asan = false;
#endif

static std::vector<float> numbers(size_t count)
{
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++)
        values[i] = float(i * 7 % 23) - 11.0f;
    return values;
}

static void test_block_sum(void)
{
    for (int count : {1, 255, 256, 257, 1000}) {
        size_t blocks = size_t(count + 255) / 256;
        std::vector<float> values = numbers(size_t(count));
        std::vector<double> doubles(values.begin(), values.end());
        Buffer<float> in(values), out(blocks);
        Buffer<double> in_double(doubles), out_double(blocks);
        OK(sample_block_sum(in.data, count, out.data, nullptr));
        OK(sample_block_sum_double(in_double.data, count, out_double.data, nullptr));
        std::vector<float> sums = out.read();
        std::vector<double> double_sums = out_double.read();
        for (size_t block = 0; block < blocks; block++) {
            float sum = 0;
            for (size_t i = block * 256; i < values.size() && i < block * 256 + 256; i++)
                sum += values[i];
            EXPECT(sums[block] == sum);
            EXPECT(double_sums[block] == double(sum));
        }
    }
}

static void test_transpose(void)
{
    const int shapes[][2] = {{1, 1}, {32, 32}, {33, 7}, {5, 100}};
    for (const auto &shape : shapes) {
        size_t rows = size_t(shape[0]), columns = size_t(shape[1]);
        std::vector<float> values = numbers(rows * columns);
        Buffer<float> in(values), out(rows * columns);
        OK(sample_transpose(in.data, shape[0], shape[1], out.data, nullptr));
        std::vector<float> got = out.read();
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++)
                EXPECT(got[j * rows + i] == values[i * columns + j]);
    }
}

static void test_warp_functions(void)
{
    Buffer<unsigned> out(32 * SAMPLE_WARP_RESULTS);
    OK(sample_warp(out.data, nullptr));
    std::vector<unsigned> all = out.read();
    for (unsigned lane = 0; lane < 32; lane++) {
        const unsigned *got = &all[lane * SAMPLE_WARP_RESULTS];
        float half = 2.0f;
        EXPECT(got[0] == 5);
        EXPECT(got[1] == lane / 8 * 8 + 1);
        EXPECT(got[2] == (lane < 3 ? lane : lane - 3));
        EXPECT(got[3] == (lane % 16 + 3 < 16 ? lane + 3 : lane));
        EXPECT(got[4] == (lane ^ 7));
        EXPECT(got[5] == 0x49249249u);
        EXPECT(got[6] == 1 && got[7] == 0);
        EXPECT(memcmp(&got[8], &half, sizeof half) == 0);
        EXPECT(got[9] == 6);
        EXPECT(got[10] == (lane < 16 ? 120u : 376u));
        EXPECT(got[11] == lane);
    }
}

static void test_count(void)
{
    for (int threads : {2, 33, 1024}) {
        Buffer<int> out(3);
        Buffer<unsigned> total(std::vector<unsigned>{0});
        OK(sample_count(3, threads, out.data, total.data, nullptr));
        for (int odd : out.read())
            EXPECT(odd == threads / 2);
        EXPECT(total.read()[0] == unsigned(3 * threads));
    }
}

/* No block and no launch finds what another has left. */
static void test_unset_shared_memory(void)
{
    for (int launch = 0; launch < 2; launch++) {
        Buffer<float> out(2 * 32 * 4);
        OK(sample_unset(out.data, 4, nullptr));
        for (float value : out.read())
            EXPECT(std::isnan(value));
    }
}

static void test_seeds_reveal_a_missing_barrier(void)
{
    std::vector<int> values(64 * 3), got(values.size());
    for (size_t i = 0; i < values.size(); i++)
        values[i] = int(i);
    for (int barrier = 0; barrier < 2; barrier++) {
        auto run = [&] {
            Buffer<int> buffer(values);
            OK(sample_reverse(buffer.data, 3, barrier, nullptr));
            std::vector<int> all = buffer.read();
            std::copy(all.begin(), all.end(), got.begin());
        };
        if (!barrier)
            fprintf(stderr, "(expected) ");
        EXPECT(cuda_host_same_for_seeds(8, run, got.data(), got.size() * sizeof(int)) == barrier);
    }
    for (size_t i = 0; i < got.size(); i++)
        EXPECT(got[i] == int(i / 64 * 64 + 63 - i % 64));
}

static void test_faults_are_reported(void)
{
    Buffer<int> out(64);
    Buffer<float> floats(64);
    std::string text = death([] {
        sample_exit_before_barrier(40, nullptr);
        cudaDeviceSynchronize();
    });
    HAS(text, "kernel exit_before_barrier, block (");
    HAS(text, "thread (0, 0, 0) waits at the barrier in ");
    HAS(text, "sample.cu:");
    HAS(text, ", and 39 more");
    HAS(text, "thread (40, 0, 0) has exited, and 23 more");
    HAS(death([&] {
            sample_two_barriers(out.data, nullptr);
            cudaDeviceSynchronize();
        }),
        "threads wait at different barriers");
    text = death([&] {
        sample_absent_lane(floats.data, nullptr);
        cudaDeviceSynchronize();
    });
    HAS(text, "waits in __shfl_down_sync under mask ffffffff");
    HAS(text, "thread (7, 0, 0) has exited");

    if (!with_asan)
        return;
    for (int dynamic = 0; dynamic < 2; dynamic++)
        HAS(death([&] {
                sample_overrun(64, dynamic, nullptr);
                cudaDeviceSynchronize();
            }),
            "AddressSanitizer: heap-buffer-overflow");
    HAS(death([&] {
            sample_scale(floats.data, 65, 2.0f, nullptr);
            cudaDeviceSynchronize();
        }),
        "AddressSanitizer: heap-buffer-overflow");
    HAS(death([&] { floats.data[0] = 1; }), "AddressSanitizer: use-after-poison");
}

static void test_clusters(void)
{
    const int blocks = 6, threads = 40;
    Buffer<int> out(size_t(blocks) * 3 * threads);
    GIVES(cudaErrorNotSupported, sample_cluster(out.data, 3, blocks, nullptr));
    int room = -1;
    GIVES(cudaErrorNotSupported, sample_cluster_room(3, &room));
    cuda_host_set_capability(9, 0);
    GIVES(cudaErrorInvalidClusterSize, sample_cluster(out.data, 4, blocks, nullptr));
    GIVES(cudaErrorInvalidClusterSize, sample_cluster(out.data, 9, 9, nullptr));
    for (int seed = 0; seed < 4; seed++) {
        cuda_host_set_seed(uint64_t(seed));
        OK(sample_cluster(out.data, 3, blocks, nullptr));
        std::vector<int> got = out.read();
        for (int i = 0; i < blocks * 3 * threads; i++) {
            int block = i / threads / 3, rank = i / threads % 3;
            EXPECT(got[size_t(i)] == 100 * (block / 3 * 3 + rank) + i % threads);
        }
    }
    OK(sample_cluster_room(3, &room));
    EXPECT(room > 0 && room <= 32 * 24 / 3);
    cuda_host_set_largest_cluster(2); /* as a part of a GPU may have it */
    OK(sample_cluster_room(3, &room));
    EXPECT(room == 0);
    GIVES(cudaErrorInvalidClusterSize, sample_cluster(out.data, 3, blocks, nullptr));
    OK(sample_cluster_room(2, &room));
    EXPECT(room > 0);
    cuda_host_set_largest_cluster(8);
    HAS(death([&] {
            sample_early_end(out.data, nullptr);
            cudaDeviceSynchronize();
        }),
        "the shared memory of a block that may have ended");
    std::string text = death([] {
        sample_absent_block(nullptr);
        cudaDeviceSynchronize();
    });
    HAS(text, "some threads wait for others that never come");
    HAS(text, "block (0, 0, 0), thread (0, 0, 0) waits at the cluster's barrier in ");
    HAS(text, "block (1, 0, 0), thread (0, 0, 0) has exited, and 31 more");
    cuda_host_reset();
}

static void test_cooperative_grids(void)
{
    const int columns = 5, rows = 2, blocks = columns * rows, threads = 64;
    Buffer<int> parts(size_t(3 * blocks)), out(size_t(3 * blocks * threads));
    Buffer<unsigned> count(std::vector<unsigned>{0});
    std::vector<int> got(out.count);
    for (int barrier = 0; barrier < 2; barrier++) {
        auto run = [&] {
            OK(cudaMemset(parts.data, 0, parts.count * sizeof(int)));
            OK(sample_grid(parts.data, count.data, columns, rows, barrier, out.data, nullptr));
            std::vector<int> all = out.read();
            std::copy(all.begin(), all.end(), got.begin());
        };
        if (!barrier)
            fprintf(stderr, "(expected) ");
        EXPECT(cuda_host_same_for_seeds(8, run, got.data(), got.size() * sizeof(int)) == barrier);
        EXPECT((count.read()[0] & 0x7fffffffu) == 0);
    }
    for (int i = 0; i < 3 * blocks * threads; i++)
        EXPECT(got[size_t(i)] == blocks * (blocks + 1) / 2 << i / (blocks * threads));
    EXPECT(cuda_host_cooperative_launches() == 10 && cuda_host_cluster_launches() == 0);
    cuda_host_reset();
}

static void test_cooperative_errors(void)
{
    int room = 0, able = 0;
    cudaDeviceProp properties;
    Buffer<unsigned> count(std::vector<unsigned>{0});
    OK(cudaGetDeviceProperties(&properties, 0));
    OK(sample_grid_room(&room));
    int most = room * properties.multiProcessorCount;
    Buffer<int> parts(size_t(3 * most)), out(size_t(3 * most * 64));
    OK(sample_grid(parts.data, count.data, 1, most, 1, out.data, nullptr));
    EXPECT(out.read()[0] == most * (most + 1) / 2);
    GIVES(cudaErrorCooperativeLaunchTooLarge,
          sample_grid(parts.data, count.data, 1, most + 1, 1, out.data, nullptr));
    cuda_host_set_cooperative(false);
    OK(cudaDeviceGetAttribute(&able, cudaDevAttrCooperativeLaunch, 0));
    EXPECT(able == 0);
    GIVES(cudaErrorNotSupported, sample_grid(parts.data, count.data, 1, 1, 1, out.data, nullptr));
    cuda_host_reset();
    OK(cudaDeviceGetAttribute(&able, cudaDevAttrCooperativeLaunch, 0));
    EXPECT(able == 1);
    cuda_host_set_partition(1);
    GIVES(cudaErrorCooperativeLaunchTooLarge,
          sample_grid(parts.data, count.data, 1, most, 1, out.data, nullptr));
    OK(sample_grid(parts.data, count.data, 1, room, 1, out.data, nullptr));
    cuda_host_reset();

    for (int waits = 0; waits < 2; waits++) {
        std::string text = death([&] {
            sample_absent_from_grid(count.data, waits, nullptr);
            cudaDeviceSynchronize();
        });
        HAS(text, "some threads wait for others that never come");
        HAS(text, "block (0, 0, 0), thread (0, 0, 0) spins in ");
        HAS(text, "grid.cuh:");
        HAS(text, waits ? "block (1, 0, 0), thread (0, 0, 0) waits at the barrier in "
                        : "block (1, 0, 0), thread (0, 0, 0) has exited");
    }
    HAS(death([&] {
            sample_alone_at_grid_barrier(count.data, nullptr);
            cudaDeviceSynchronize();
        }),
        "some threads wait for others that never come");
    HAS(death([] {
            sample_cluster_in_grid(nullptr);
            cudaDeviceSynchronize();
        }),
        "a cluster's function in a cooperative launch");
}

/* Recorded and replayed, with a barrier that goes on from where the run before has left it. */
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

static void test_launch_errors(void)
{
    Buffer<float> out(1);
    Buffer<int> ints(2048);
    GIVES(cudaErrorInvalidConfiguration, sample_barriers(ints.data, 0, 32, 0, nullptr));
    GIVES(cudaErrorInvalidConfiguration, sample_barriers(ints.data, 1, 0, 0, nullptr));
    GIVES(cudaErrorInvalidConfiguration, sample_barriers(ints.data, 1, 1025, 0, nullptr));
    OK(cudaGetLastError()); /* once read it is gone */
    OK(sample_barriers(ints.data, 1, 1024, 0, nullptr));
    OK(sample_nothing(nullptr));

    OK(sample_shared_bytes(48 << 10, out.data, nullptr));
    GIVES(cudaErrorInvalidValue, sample_shared_bytes((48 << 10) + 16, out.data, nullptr));
    GIVES(cudaErrorInvalidValue, sample_allow_shared_bytes(101376 + 16));
    GIVES(cudaErrorInvalidValue, cudaGetLastError());
    OK(sample_allow_shared_bytes(101376));
    OK(sample_shared_bytes(101376, out.data, nullptr));
    GIVES(cudaErrorInvalidValue, sample_shared_bytes(101376 + 16, out.data, nullptr));
    EXPECT(out.read()[0] == 101376 / 16 - 1);
    cuda_host_set_shared_optin(227 << 10);
    OK(sample_allow_shared_bytes(227 << 10));
    OK(sample_shared_bytes(227 << 10, out.data, nullptr));
    EXPECT(out.read()[0] == (227 << 10) / 16 - 1);
    cuda_host_reset();
}

/* A kernel's limit of shared memory holds for what was launched or recorded under a higher one, and
 * has not run. */
static void test_lowered_limits(void)
{
    const int bytes = 64 << 10;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    Buffer<float> out(1);
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(sample_allow_shared_bytes(bytes));
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    OK(sample_shared_bytes(size_t(bytes), out.data, stream));
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaGraphInstantiate(&executable, graph, 0));
    OK(cudaGraphDestroy(graph));
    OK(sample_allow_shared_bytes(2 * bytes - (48 << 10)));
    OK(cudaGraphLaunch(executable, stream));
    OK(cudaStreamSynchronize(stream));
    EXPECT(out.read()[0] == bytes / 16 - 1);
    for (bool recorded : {false, true})
        HAS(death([&] {
                if (!recorded)
                    sample_shared_bytes(size_t(bytes), out.data, stream);
                sample_allow_shared_bytes(bytes - 16);
                if (recorded)
                    cudaGraphLaunch(executable, stream);
                cudaStreamSynchronize(stream);
            }),
            "kernel large_shared, block (0, 0, 0): the kernel's limit of shared memory is lower");
    OK(cudaGraphExecDestroy(executable));
    OK(cudaStreamDestroy(stream));
    cuda_host_reset();
}

/* Of kernels/quotient.cuh, with a reciprocal that is off as PTX's may be. */
static void test_quotients(void)
{
    double worst = 0.0;
    for (int i = 0; i < 1000000; i++) {
        float x = std::ldexp(1.0f + float(i % 977) / 977, i % 61 - 40);
        float y = std::ldexp(1.0f + float(i) / 1000000, i % 245 - 122);
        double exact = double(x) / double(y);
        if (exact < 1e-30 || exact > 1e38)
            continue;
        float q = quotient(x, y);
        float away = std::fabs(std::nextafterf(float(exact), INFINITY) - float(exact));
        worst = std::fmax(worst, std::fabs(double(q) - exact) / double(away));
        EXPECT(std::fabs(double(approximate_quotient(x, y)) / exact - 1.0) < 0x1p-22);
    }
    printf("quotients: at most %.3f of the last place off\n", worst);
    EXPECT(worst < 1.0);
    EXPECT(quotient(0.0f, 1e-20f) == 0.0f && quotient(1.0f, 1e-37f) == 1e37f);
    for (float wrong : {NAN, INFINITY, -INFINITY}) {
        EXPECT(!std::isfinite(quotient(wrong, 0.5f)) && !std::isfinite(quotient(wrong, 0.0f)));
        EXPECT(!std::isfinite(approximate_quotient(wrong, 0.5f)));
    }
    EXPECT(std::isnan(quotient(0.5f, NAN)) && std::isnan(approximate_quotient(0.5f, NAN)));
}

/* Work waits for the host to wait. */
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

/* Beside the kernels: an upload from pinned memory reads it as late as it may, and comes too late
 * for a stream that does not wait for it. Polling its event is no wait of the host's. */
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
        cudaGetLastError(); /* which "not ready" is, too */
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

    /* What is forbidden breaks the capture. */
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

    BLAS(cublasDestroy(blas)); /* the stream is destroyed amid its capture */
    OK(cudaEventDestroy(begin));
    OK(cudaEventDestroy(end));
    OK(cudaStreamDestroy(stream));
    OK(cudaStreamDestroy(other));
}

static float element(const std::vector<float> &matrix, int ld, bool transpose, int i, int j)
{
    return matrix[size_t(transpose ? i * ld + j : j * ld + i)];
}

static void test_sgemm(void)
{
    const int m = 5, n = 3, k = 7, lda = 9, ldb = 8, ldc = 6, batch = 2;
    const float alpha = 0.5f, beta = 2, zero = 0;
    cublasHandle_t blas;
    BLAS(cublasCreate(&blas));
    for (int way = 0; way < 4; way++) {
        bool ta = way & 1, tb = way & 2;
        std::vector<float> a = numbers(size_t(lda * (ta ? m : k) * batch)),
                           b = numbers(size_t(ldb * (tb ? k : n) * batch)),
                           c = numbers(size_t(ldc * n * batch));
        Buffer<float> da(a), db(b), dc(c), fresh(size_t(ldc * n));
        cublasOperation_t opa = ta ? CUBLAS_OP_T : CUBLAS_OP_N,
                          opb = tb ? CUBLAS_OP_T : CUBLAS_OP_N;
        long long sa = (long long)a.size() / batch, sb = (long long)b.size() / batch;
        BLAS(cublasSgemmStridedBatched(blas, opa, opb, m, n, k, &alpha, da.data, lda, sa, db.data,
                                       ldb, sb, &beta, dc.data, ldc, ldc * n, batch));
        BLAS(cublasGemmEx(blas, opa, opb, m, n, k, &alpha, da.data, CUDA_R_32F, lda, db.data,
                          CUDA_R_32F, ldb, &zero, fresh.data, CUDA_R_32F, ldc,
                          CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT));
        std::vector<float> got = dc.read(), got_fresh = fresh.read();
        for (int item = 0; item < batch; item++) {
            std::vector<float> ai(a.begin() + item * sa, a.begin() + (item + 1) * sa);
            std::vector<float> bi(b.begin() + item * sb, b.begin() + (item + 1) * sb);
            for (int j = 0; j < n; j++)
                for (int i = 0; i < ldc; i++) {
                    float sum = 0;
                    for (int l = 0; l < k && i < m; l++)
                        sum += element(ai, lda, ta, i, l) * element(bi, ldb, tb, l, j);
                    size_t at = size_t(item * ldc * n + j * ldc + i);
                    EXPECT(got[at] == (i < m ? alpha * sum + beta * c[at] : c[at]));
                    if (item == 0) /* small integers are exact in TF32, gaps stay unset */
                        EXPECT(i < m ? got_fresh[at] == alpha * sum : std::isnan(got_fresh[at]));
                }
        }
    }
    Buffer<float> x(std::vector<float>{1.0f + 0x1p-11f}), y(std::vector<float>{1}), z(1);
    const float one = 1;
    BLAS(cublasSetMathMode(blas, CUBLAS_TF32_TENSOR_OP_MATH));
    BLAS(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, x.data, 1, y.data, 1, &zero,
                     z.data, 1));
    EXPECT(z.read()[0] == 1.0f + 0x1p-10f);
    EXPECT(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 1, 1, &one, x.data, 1, y.data, 1, &zero,
                       z.data, 2) == CUBLAS_STATUS_INVALID_VALUE);
    EXPECT(cublasSgemm(blas, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 2, &one, x.data, 1, y.data, 2, &zero,
                       z.data, 1) == CUBLAS_STATUS_INVALID_VALUE);
    BLAS(cublasDestroy(blas));
}

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

static double seconds(void)
{
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

/* What a launch costs; no limit, machines differ. */
static void test_speed(void)
{
    const int blocks = 391, threads = 256, rounds = 50;
    Buffer<int> out(size_t(blocks * threads));
    double begin = seconds();
    OK(sample_barriers(out.data, blocks, threads, rounds, nullptr));
    std::vector<int> got = out.read();
    printf("%d threads with %d barriers each: %.2f s\n", blocks * threads, rounds,
           seconds() - begin);
    for (int i = 0; i < blocks * threads; i++)
        EXPECT(got[size_t(i)] == (i % threads + rounds / 2) % threads);

    Buffer<float> values(numbers(1 << 20));
    begin = seconds();
    OK(sample_scale(values.data, 1 << 20, 2.0f, nullptr));
    OK(cudaDeviceSynchronize());
    printf("%d threads without: %.2f s\n", 1 << 20, seconds() - begin);
}

int main(void)
{
    test_block_sum();
    test_transpose();
    test_warp_functions();
    test_count();
    test_unset_shared_memory();
    test_seeds_reveal_a_missing_barrier();
    test_faults_are_reported();
    test_clusters();
    test_cooperative_grids();
    test_cooperative_errors();
    test_cooperative_graph();
    test_launch_errors();
    test_lowered_limits();
    test_quotients();
    test_streams();
    test_uploads();
    test_graphs();
    test_sgemm();
    test_device();
    test_speed();
    puts("the host emulation works");
    return 0;
}
