/* The emulation's launches: clusters, cooperative grids, shared memory, and bad arguments. */
#include "cuda_host.h"
#include "expect.h"
#include "sample.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

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
    cuda_host_set_largest_cluster(2); /* as on a part of a GPU */
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

static void test_launch_errors(void)
{
    Buffer<float> out(1);
    Buffer<int> ints(2048);
    GIVES(cudaErrorInvalidConfiguration, sample_barriers(ints.data, 0, 32, 0, nullptr));
    GIVES(cudaErrorInvalidConfiguration, sample_barriers(ints.data, 1, 0, 0, nullptr));
    GIVES(cudaErrorInvalidConfiguration, sample_barriers(ints.data, 1, 1025, 0, nullptr));
    OK(cudaGetLastError()); /* reading the error clears it */
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

/* A kernel's limit of shared memory also applies to launches that were made or recorded under a
 * higher limit and have not run yet. */
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

int main(void)
{
    test_clusters();
    test_cooperative_grids();
    test_cooperative_errors();
    test_launch_errors();
    test_lowered_limits();
    puts("launches work");
    return 0;
}
