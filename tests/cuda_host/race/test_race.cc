/* Tests of the race detector: it accepts correct code, and reports the same code without the
 * construct that makes it correct. */
#include "../cuda_host.h"
#include "../expect.h"
#include "samples.h"

#include <cstring>
#include <functional>

using Body = std::function<void()>;

const uint64_t orders = 8;

static void run_in_order(uint64_t seed, const Body &body)
{
    cuda_host_set_seed(seed);
    body();
    OK(cudaDeviceSynchronize());
}

static void must_pass(const char *what, const Body &body)
{
    printf("right: %s\n", what);
    fflush(stdout);
    for (uint64_t seed = 0; seed < orders; seed++)
        run_in_order(seed, body);
}

static const char report_begins[] = "cuda_host: a race: nothing orders two accesses to ";

/* The race must be found in every order. Returns the last report. */
static std::string must_be_found(const char *what, const Body &body)
{
    printf("a race: %s\n", what);
    std::string text;
    for (uint64_t seed = 0; seed < orders; seed++) {
        text = death([&] { run_in_order(seed, body); });
        HAS(text, report_begins);
    }
    return text;
}

/* The race must be found in at least one order, for races that do not happen in all. */
static void must_be_found_in_some_order(const char *what, const Body &body)
{
    printf("a race in some order: %s\n", what);
    HAS(death([&] {
            for (uint64_t seed = 0; seed < orders; seed++)
                run_in_order(seed, body);
        }),
        report_begins);
}

#define RIGHT(...) must_pass(#__VA_ARGS__, [&] { __VA_ARGS__; })
#define RACE(...) must_be_found(#__VA_ARGS__, [&] { __VA_ARGS__; })
#define RACE_IN_SOME_ORDER(...) must_be_found_in_some_order(#__VA_ARGS__, [&] { __VA_ARGS__; })

/* ---- within a kernel ---- */

static void test_blocks_and_warps()
{
    Buffer<int> values(std::vector<int>(64));
    RIGHT(sample_exchange(EXCHANGE_RIGHT, values.data, nullptr));
    RACE(sample_exchange(EXCHANGE_WITHOUT_BARRIER, values.data, nullptr));
    RACE(sample_exchange(EXCHANGE_WITHOUT_SECOND_BARRIER, values.data, nullptr));

    RIGHT(sample_warp_exchange(WARP_RIGHT, values.data, nullptr));
    RIGHT(sample_warp_exchange(WARP_HALVES_RIGHT, values.data, nullptr));
    RACE(sample_warp_exchange(WARP_WITHOUT_SYNC, values.data, nullptr));
    RACE(sample_warp_exchange(WARP_BY_SHUFFLE, values.data, nullptr));
    RACE(sample_warp_exchange(WARP_BY_VOTE, values.data, nullptr));
    RACE(sample_warp_exchange(WARP_BY_MMA, values.data, nullptr));
    RACE(sample_warp_exchange(WARP_ACROSS_HALVES, values.data, nullptr));

    cuda_host_set_capability(9, 0);
    RIGHT(sample_cluster_exchange(CLUSTER_RIGHT, values.data, nullptr));
    RACE(sample_cluster_exchange(CLUSTER_BY_BLOCK_BARRIER, values.data, nullptr));
    cuda_host_reset();
}

static void test_grids()
{
    Buffer<int> values(std::vector<int>(3 * 64)), sums(std::vector<int>(3));
    Buffer<unsigned> count(std::vector<unsigned>(1));
    auto grid = [&](Grid how) {
        sample_grid_exchange(how, values.data, sums.data, count.data, nullptr);
    };
    RIGHT(grid(GRID_RIGHT));
    RIGHT(grid(GRID_RIGHT)); /* reuses the count */
    RACE(grid(GRID_WITHOUT_BARRIER));
    RACE(grid(GRID_WITHOUT_FIRST_FENCE));
    RACE(grid(GRID_WITHOUT_LAST_FENCE));
    RACE(grid(GRID_WITH_PLAIN_READ));
    RACE(grid(GRID_WITH_BLOCK_FENCES));
    RIGHT(grid(GRID_BY_ATOMICS));
    RIGHT(grid(GRID_BY_ATOMICS)); /* with the upper bit of the count at 0 */
    RACE(grid(GRID_BY_RELAXED_ARRIVAL));
    RACE(grid(GRID_BY_RELAXED_LOOKS));

    auto last = [&](Last how) {
        sample_last_block(how, values.data, sums.data, count.data, nullptr);
    };
    RIGHT(last(LAST_RIGHT));
    RACE(last(LAST_WITHOUT_FIRST_BARRIER));
    RACE(last(LAST_WITHOUT_FIRST_FENCE));
    RACE(last(LAST_WITHOUT_LAST_FENCE));
    RACE(last(LAST_WITHOUT_LAST_BARRIER));
    RACE(last(LAST_FENCE_BEFORE_BARRIER));
    RACE(last(LAST_PLAIN_RESET));
    RIGHT(last(LAST_BY_ATOMIC));
    RACE(last(LAST_BY_RELEASE));
    RACE(last(LAST_BY_ACQUIRE));
}

static void test_atomics()
{
    Buffer<int> value(std::vector<int>(1)), got(std::vector<int>(1));
    auto send = [&](Message how) {
        Buffer<unsigned> flags(std::vector<unsigned>(2));
        sample_message(how, value.data, got.data, flags.data, nullptr);
        OK(cudaDeviceSynchronize());
        EXPECT(got.read()[0] == 7);
    };
    RIGHT(send(MESSAGE_RIGHT));
    RIGHT(send(MESSAGE_BY_FENCES));
    RIGHT(send(MESSAGE_PASSED_ON));
    RIGHT(send(MESSAGE_STORED_AGAIN));
    RIGHT(send(MESSAGE_READ_BEFORE));
    RACE(send(MESSAGE_WITHOUT_RELEASE));
    RACE(send(MESSAGE_WITHOUT_ACQUIRE));
    RACE(send(MESSAGE_IN_BLOCK_SCOPE));
    /* The receiver may acquire the message before it is overwritten. */
    RACE_IN_SOME_ORDER(send(MESSAGE_STORED_OVER));

    auto send_in_block = [&](BlockMessage how) {
        Buffer<unsigned> flag(std::vector<unsigned>(1));
        sample_block_message(how, value.data, got.data, flag.data, nullptr);
        OK(cudaDeviceSynchronize());
    };
    RIGHT(send_in_block(BLOCK_MESSAGE_RIGHT));
    RACE(send_in_block(BLOCK_MESSAGE_WITHOUT_FENCE));
}

static void test_asynchronous_copies()
{
    std::vector<int> numbers(128);
    for (size_t i = 0; i < numbers.size(); i++)
        numbers[i] = int(i);
    Buffer<int> in(numbers), out(64);
    for (Copy how : {COPY_RIGHT, COPY_TWO_GROUPS_RIGHT}) {
        RIGHT(sample_copy(how, in.data, out.data, nullptr));
        std::vector<int> got = out.read();
        for (size_t i = 0; i < got.size(); i++)
            EXPECT(got[i] == int(63 - i));
    }
    RACE(sample_copy(COPY_WITHOUT_WAIT, in.data, out.data, nullptr));
    RACE(sample_copy(COPY_WITHOUT_COMMIT, in.data, out.data, nullptr));
    RACE(sample_copy(COPY_WAIT_FOR_TOO_FEW, in.data, out.data, nullptr));
    RACE(sample_copy(COPY_WITHOUT_BARRIER, in.data, out.data, nullptr));
    std::string text = RACE(sample_copy(COPY_SOURCE_CHANGED, in.data, out.data, nullptr));
    HAS(text, "reads it asynchronously: block (0, 0, 0), thread (");
}

static void test_bytes()
{
    Buffer<unsigned char> bytes(std::vector<unsigned char>(8));
    RIGHT(sample_bytes(BYTES_APART, bytes.data, nullptr));
    RIGHT(sample_bytes(BYTES_ATOMIC, bytes.data, nullptr));
    RIGHT(sample_bytes(BYTES_READ_BY_ALL, bytes.data, nullptr));
    RIGHT(sample_bytes(BYTES_CHANGED_LATER, bytes.data, nullptr));
    RACE(sample_bytes(BYTES_TOGETHER, bytes.data, nullptr));
    RACE(sample_bytes(BYTES_ATOMIC_AND_PLAIN, bytes.data, nullptr));
    RACE(sample_bytes(BYTES_ATOMIC_IN_BLOCK_SCOPE, bytes.data, nullptr));
    RACE(sample_bytes(BYTES_CONSTANT, bytes.data, nullptr));
}

/* A report names both places, both threads and blocks, and the kernel. */
static void test_report()
{
    Buffer<unsigned char> bytes(8);
    cuda_host_set_seed(0);
    std::string text = RACE(sample_bytes(BYTES_TOGETHER, bytes.data, nullptr));
    HAS(text, "a race: nothing orders two accesses to byte 2 of device memory\n");
    HAS(text, "kernel touch_bytes in stream 1 writes it: block (1, 0, 0), thread (0, 0, 0)\n");
    HAS(text, "kernel touch_bytes in stream 1 writes it: block (0, 0, 0), thread (0, 0, 0)\n");
    HAS(text, "touch_bytes(Bytes, unsigned char*) at samples.cu:");
    Buffer<int> values(std::vector<int>(64));
    text = RACE(sample_exchange(EXCHANGE_WITHOUT_SECOND_BARRIER, values.data, nullptr));
    HAS(text, " of shared memory\n");
    HAS(text, "kernel exchange in stream 1 reads it: block (0, 0, 0), thread (");
    HAS(text, "kernel exchange in stream 1 writes it: block (0, 0, 0), thread (");
    cuda_host_reset();
}

/* ---- between streams and the host ---- */

enum { COUNT = 200, BYTES = COUNT * int(sizeof(int)) };

struct Streams {
    cudaStream_t first, second, blocking;
    cudaEvent_t event;
    Buffer<int> values{std::vector<int>(COUNT)};
    int *pinned;

    Streams()
    {
        OK(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&blocking, cudaStreamDefault));
        OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
        OK(cudaMallocHost(reinterpret_cast<void **>(&pinned), BYTES));
    }
    ~Streams()
    {
        OK(cudaDeviceSynchronize());
        OK(cudaEventDestroy(event));
        for (cudaStream_t stream : {first, second, blocking})
            OK(cudaStreamDestroy(stream));
        OK(cudaFreeHost(pinned));
    }
    void increment(cudaStream_t stream)
    {
        sample_increment(values.data, COUNT, stream);
        OK(cudaGetLastError());
    }
    void upload(cudaStream_t stream)
    {
        OK(cudaMemcpyAsync(values.data, pinned, BYTES, cudaMemcpyHostToDevice, stream));
    }
    void download(cudaStream_t stream)
    {
        OK(cudaMemcpyAsync(pinned, values.data, BYTES, cudaMemcpyDeviceToHost, stream));
    }
    void pass(cudaStream_t from, cudaStream_t to)
    {
        OK(cudaEventRecord(event, from));
        OK(cudaStreamWaitEvent(to, event, 0));
    }
};

static void test_streams()
{
    Streams s;
    RIGHT(s.increment(s.first); s.increment(s.first));
    RIGHT(s.increment(s.first); s.pass(s.first, s.second); s.increment(s.second));
    std::string text = RACE(s.increment(s.first); s.increment(s.second));
    HAS(text, "kernel increment in stream ");
    RACE(s.increment(s.first); OK(cudaStreamWaitEvent(s.second, s.event, 0));
         s.increment(s.second)); /* never recorded since */
    RACE(OK(cudaEventRecord(s.event, s.first)); s.increment(s.first);
         OK(cudaStreamWaitEvent(s.second, s.event, 0)); s.increment(s.second));
    RACE(s.increment(s.first); s.pass(s.first, s.blocking); s.increment(s.second));

    RIGHT(s.upload(s.first); s.pass(s.first, s.second); s.increment(s.second));
    text = RACE(s.upload(s.first); s.increment(s.second));
    HAS(text, "a copy in stream ");
    RACE(s.increment(s.first); s.download(s.second));
    RIGHT(s.download(s.first); s.pass(s.first, s.second); s.download(s.second));
    RACE(s.download(s.first); s.download(s.second)); /* to the same memory */
    text = RACE(OK(cudaMemsetAsync(s.values.data, 0, BYTES, s.first)); s.increment(s.second));
    HAS(text, "a memset in stream ");

    /* The legacy stream synchronises with blocking streams. */
    RIGHT(s.increment(s.blocking); s.increment(nullptr); s.increment(s.blocking));
    RACE(s.increment(s.first); s.increment(nullptr));
    RACE(s.increment(nullptr); s.increment(s.first));
}

static void test_host()
{
    std::vector<int> copy(COUNT);
    Streams s;
    RIGHT(s.pinned[3] = 1; s.upload(s.first); OK(cudaStreamSynchronize(s.first)); s.pinned[3] = 2);
    RIGHT(s.upload(s.first); OK(cudaEventRecord(s.event, s.first));
          OK(cudaEventSynchronize(s.event)); s.pinned[3] = 2);
    RIGHT(s.upload(s.first); OK(cudaEventRecord(s.event, s.first));
          while (cudaEventQuery(s.event) != cudaSuccess) cudaGetLastError(); s.pinned[3] = 2);
    RIGHT(s.upload(s.first); OK(cudaDeviceSynchronize()); s.pinned[3] = 2);
    RIGHT(s.download(s.first); OK(cudaStreamSynchronize(s.first)); EXPECT(s.pinned[3] == 2));
    /* A wait for another stream, or for an event before the copy, is not enough, though work has
     * run. */
    std::string text =
        RACE(s.upload(s.first); s.upload(s.second); OK(cudaEventRecord(s.event, s.second));
             OK(cudaEventSynchronize(s.event)); s.pinned[3] = 2);
    HAS(text, "the host writes it");
    HAS(text, "test_race.cc:");
    HAS(text, "of pinned memory");
    RACE(OK(cudaEventRecord(s.event, s.first)); s.download(s.first);
         OK(cudaEventSynchronize(s.event)); memcpy(copy.data(), s.pinned, BYTES));
    text = RACE(s.upload(s.first); memset(s.pinned, 0, BYTES));
    HAS(text, "test_race.cc:");
}

static void test_freeing()
{
    Streams s;
    int *memory;
    auto allocate = [&] { OK(cudaMallocHost(reinterpret_cast<void **>(&memory), BYTES)); };
    auto upload = [&] {
        OK(cudaMemcpyAsync(s.values.data, memory, BYTES, cudaMemcpyHostToDevice, s.first));
    };
    RIGHT(allocate(); upload(); OK(cudaStreamSynchronize(s.first)); OK(cudaFreeHost(memory)));
    std::string text = RACE(allocate(); upload(); OK(cudaFreeHost(memory)));
    HAS(text, "the host frees it");
}

static void record(Streams &s, bool forks, bool joins, cudaGraphExec_t *executable)
{
    cudaGraph_t graph;
    cudaEvent_t begin, end;
    OK(cudaEventCreateWithFlags(&begin, cudaEventDisableTiming));
    OK(cudaEventCreateWithFlags(&end, cudaEventDisableTiming));
    OK(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeThreadLocal));
    if (!forks)
        s.increment(s.first);
    OK(cudaEventRecord(begin, s.first));
    OK(cudaStreamWaitEvent(s.second, begin, 0));
    if (forks)
        s.increment(s.first); /* concurrently with the other */
    s.increment(s.second);
    OK(cudaEventRecord(end, s.second));
    OK(cudaStreamWaitEvent(s.first, end, 0));
    if (joins)
        s.increment(s.first);
    OK(cudaStreamEndCapture(s.first, &graph));
    OK(cudaGraphInstantiate(executable, graph, 0));
    OK(cudaGraphDestroy(graph));
    OK(cudaEventDestroy(begin));
    OK(cudaEventDestroy(end));
}

static void test_graphs()
{
    Streams s;
    for (bool forks : {false, true}) {
        cudaGraphExec_t executable;
        record(s, forks, true, &executable);
        if (forks)
            RACE(OK(cudaGraphLaunch(executable, s.first)));
        else
            RIGHT(OK(cudaGraphLaunch(executable, s.first));
                  OK(cudaGraphLaunch(executable, s.first)); s.increment(s.first));
        if (!forks)
            RACE(OK(cudaGraphLaunch(executable, s.first)); s.increment(s.second));
        OK(cudaGraphExecDestroy(executable));
    }
}

static void test_products()
{
    enum { SIDE = 8 };
    Streams s;
    Buffer<float> a(std::vector<float>(SIDE * SIDE)), b(std::vector<float>(SIDE * SIDE));
    Buffer<float> c(std::vector<float>(SIDE * SIDE)), d(std::vector<float>(SIDE * SIDE));
    Buffer<char> workspace(1024);
    const float one = 1, zero = 0;
    cublasHandle_t handles[2];
    cudaStream_t streams[2] = {s.first, s.second};
    auto multiply = [&](int i, const float *left, float *to) {
        BLAS(cublasSgemm(handles[i], CUBLAS_OP_N, CUBLAS_OP_N, SIDE, SIDE, SIDE, &one, left, SIDE,
                         b.data, SIDE, &zero, to, SIDE));
    };
    for (int i = 0; i < 2; i++) {
        BLAS(cublasCreate(&handles[i]));
        BLAS(cublasSetStream(handles[i], streams[i]));
    }
    RIGHT(multiply(0, a.data, c.data); multiply(1, a.data, d.data));
    RIGHT(multiply(0, a.data, c.data); s.pass(s.first, s.second); multiply(1, c.data, d.data));
    std::string text = RACE(multiply(0, a.data, c.data); multiply(1, c.data, d.data));
    HAS(text, "a product of cuBLAS in stream ");
    for (cublasHandle_t handle : handles)
        BLAS(cublasSetWorkspace(handle, workspace.data, workspace.count));
    RACE(multiply(0, a.data, c.data); multiply(1, a.data, d.data));
    for (cublasHandle_t handle : handles)
        BLAS(cublasDestroy(handle));
}

int main()
{
    test_blocks_and_warps();
    test_grids();
    test_atomics();
    test_asynchronous_copies();
    test_bytes();
    test_report();
    test_streams();
    test_host();
    test_freeing();
    test_graphs();
    test_products();
    puts("the search for races works");
    return 0;
}
