/* The emulation's threads, barriers and warps, and its reports of faults, with the kernels of
 * sample.cu. */
#include "cuda_host.h"
#include "expect.h"
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

/* No block and no launch finds values that another has left. */
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

static double seconds(void)
{
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

/* What a launch costs: prints it, with no limit, since machines differ. */
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
    test_speed();
    puts("kernels work");
    return 0;
}
