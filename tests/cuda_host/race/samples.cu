/*
 * For every construct that orders memory: a correct kernel, and the same kernel without the
 * construct. `how` selects one, and is the same for all threads. nvcc compiles them as well: nvcc
 * -std=c++17 -arch=sm_90 -Werror all-warnings -I kernels -I include -c
 *         tests/cuda_host/race/samples.cu
 */
#include "samples.h"

#include "cluster.cuh"
#include "grid.cuh"
#include "launch.cuh"
#include "mma.cuh"

#include <cuda/atomic>
#include <cuda_pipeline.h>

enum { THREADS = 64, BLOCKS = 3 };

static __global__ void exchange(Exchange how, int *values)
{
    SHARED(int[THREADS], shared);
    for (int round = 0; round < 2; round++) {
        shared[threadIdx.x] = values[threadIdx.x];
        if (how != EXCHANGE_WITHOUT_BARRIER)
            __syncthreads();
        values[threadIdx.x] = shared[THREADS - 1 - threadIdx.x];
        if (how != EXCHANGE_WITHOUT_SECOND_BARRIER)
            __syncthreads();
    }
}

static __global__ void warp_exchange(Warp how, int *values)
{
    SHARED(int[WARP], shared);
    unsigned lane = threadIdx.x;
    bool in_halves = how == WARP_HALVES_RIGHT || how == WARP_ACROSS_HALVES;
    unsigned mask = !in_halves ? 0xffffffffu : lane < WARP / 2 ? 0x0000ffffu : 0xffff0000u;
    shared[lane] = values[lane];
    if (how == WARP_BY_SHUFFLE)
        values[lane] = __shfl_xor_sync(mask, values[lane], 1);
    else if (how == WARP_BY_VOTE)
        values[lane] = int(__ballot_sync(mask, values[lane] > 0));
    else if (how == WARP_BY_MMA) {
        float c[4] = {}, a[4] = {}, b[2] = {};
        mma_tf32(c, a, b);
        values[lane] = int(c[0]);
    } else if (how != WARP_WITHOUT_SYNC)
        __syncwarp(mask);
    values[lane] = shared[how == WARP_ACROSS_HALVES ? WARP - 1 - lane : lane ^ 1u];
}

static __global__ void cluster_exchange(Cluster how, int *values)
{
    DYNAMIC_SHARED(int, mine);
    mine[threadIdx.x] = int(threadIdx.x);
    if (how == CLUSTER_RIGHT)
        cluster_barrier();
    else
        __syncthreads();
    values[blockIdx.x * WARP + threadIdx.x] = of_block(mine, 1 - cluster_rank())[threadIdx.x];
    cluster_barrier();
}

using Flag = cuda::atomic_ref<unsigned, cuda::thread_scope_device>;
using FlagOfBlock = cuda::atomic_ref<unsigned, cuda::thread_scope_block>;

static __device__ unsigned read_again(const unsigned *address)
{
    return *(const volatile unsigned *)address;
}

/* Like the barrier of grid.cuh. */
static __device__ void arrive_by_atomics(Grid how, unsigned *count)
{
    const unsigned upper = 1u << 31;
    unsigned before = Flag(*count).fetch_add(
        blockIdx.x == 0 ? upper - (gridDim.x - 1) : 1u,
        how == GRID_BY_RELAXED_ARRIVAL ? cuda::memory_order_relaxed : cuda::memory_order_release);
    while (((Flag(*count).load(cuda::memory_order_relaxed) ^ before) & upper) == 0)
        SPIN();
    if (how != GRID_BY_RELAXED_LOOKS)
        cuda::atomic_thread_fence(cuda::memory_order_acquire, cuda::thread_scope_device);
}

static __device__ void barrier_of_grid(Grid how, unsigned *count)
{
    const unsigned upper = 1u << 31;
    __syncthreads();
    if (threadIdx.x == 0 && how >= GRID_BY_ATOMICS) {
        arrive_by_atomics(how, count);
    } else if (threadIdx.x == 0) {
        if (how == GRID_WITH_BLOCK_FENCES)
            __threadfence_block();
        else if (how != GRID_WITHOUT_FIRST_FENCE)
            __threadfence();
        unsigned before = atomicAdd(count, blockIdx.x == 0 ? upper - (gridDim.x - 1) : 1u);
        if (how == GRID_WITH_PLAIN_READ)
            while (((*count ^ before) & upper) == 0)
                SPIN();
        else
            while (((read_again(count) ^ before) & upper) == 0)
                SPIN();
        if (how == GRID_WITH_BLOCK_FENCES)
            __threadfence_block();
        else if (how != GRID_WITHOUT_LAST_FENCE)
            __threadfence();
    }
    __syncthreads();
}

static __global__ void grid_exchange(Grid how, int *values, int *sums, unsigned *count)
{
    if (threadIdx.x == 40)
        values[blockIdx.x] = int(blockIdx.x);
    if (how != GRID_WITHOUT_BARRIER)
        barrier_of_grid(how, count);
    if (threadIdx.x == 50)
        sums[blockIdx.x] = values[0] + values[1] + values[2];
}

static __global__ void last_block(Last how, int *values, int *sum, unsigned *count)
{
    SHARED(bool, last);
    values[blockIdx.x * THREADS + threadIdx.x] = int(threadIdx.x);
    if (how == LAST_FENCE_BEFORE_BARRIER)
        __threadfence();
    if (how != LAST_WITHOUT_FIRST_BARRIER)
        __syncthreads();
    if (threadIdx.x == 0 && how >= LAST_BY_ATOMIC) {
        cuda::memory_order order = how == LAST_BY_RELEASE   ? cuda::memory_order_release
                                   : how == LAST_BY_ACQUIRE ? cuda::memory_order_acquire
                                                            : cuda::memory_order_acq_rel;
        last = Flag(*count).fetch_add(1u, order) == gridDim.x - 1;
        if (last)
            Flag(*count).store(0u, cuda::memory_order_relaxed);
    } else if (threadIdx.x == 0) {
        if (how != LAST_WITHOUT_FIRST_FENCE && how != LAST_FENCE_BEFORE_BARRIER)
            __threadfence();
        last = atomicAdd(count, 1u) == gridDim.x - 1;
        if (last && how == LAST_PLAIN_RESET)
            *count = 0;
        else if (last)
            atomicExch(count, 0u);
        if (how != LAST_WITHOUT_LAST_FENCE)
            __threadfence();
    }
    if (how != LAST_WITHOUT_LAST_BARRIER)
        __syncthreads();
    if (!last || threadIdx.x != 1)
        return;
    *sum = 0;
    for (int i = 0; i < BLOCKS * THREADS; i++)
        *sum += values[i];
}

static __device__ void send(Message how, int *value, unsigned *flag)
{
    *value = 7;
    if (how == MESSAGE_BY_FENCES)
        __threadfence();
    if (how == MESSAGE_BY_FENCES || how == MESSAGE_WITHOUT_RELEASE)
        Flag(*flag).store(1, cuda::memory_order_relaxed);
    else if (how == MESSAGE_IN_BLOCK_SCOPE)
        FlagOfBlock(*flag).store(1, cuda::memory_order_release);
    else
        Flag(*flag).store(1, cuda::memory_order_release);
    if (how == MESSAGE_STORED_AGAIN)
        Flag(*flag).store(2, cuda::memory_order_relaxed);
}

static __device__ void wait_for(unsigned *flag, unsigned least, cuda::memory_order order)
{
    while (Flag(*flag).load(order) < least)
        SPIN();
}

static __device__ void pass_on(Message how, unsigned *flags)
{
    wait_for(how == MESSAGE_READ_BEFORE ? flags + 1 : flags, 1, cuda::memory_order_relaxed);
    if (how == MESSAGE_PASSED_ON)
        Flag(*flags).fetch_add(1, cuda::memory_order_relaxed);
    else
        Flag(*flags).store(2, cuda::memory_order_relaxed);
}

static __global__ void message(Message how, int *value, int *got, unsigned *flags)
{
    bool relaxed = how == MESSAGE_BY_FENCES || how == MESSAGE_WITHOUT_ACQUIRE;
    bool passed =
        how == MESSAGE_PASSED_ON || how == MESSAGE_STORED_OVER || how == MESSAGE_READ_BEFORE;
    if (threadIdx.x)
        return;
    if (blockIdx.x == 0)
        send(how, value, flags);
    else if (blockIdx.x == 2 && passed)
        pass_on(how, flags);
    else if (blockIdx.x == 1) {
        if (how == MESSAGE_READ_BEFORE) {
            wait_for(flags, 1, cuda::memory_order_relaxed);
            Flag(flags[1]).store(1, cuda::memory_order_relaxed);
        }
        wait_for(flags, passed || how == MESSAGE_STORED_AGAIN ? 2 : 1,
                 relaxed ? cuda::memory_order_relaxed : cuda::memory_order_acquire);
        if (how == MESSAGE_BY_FENCES)
            __threadfence();
        *got = *value;
    }
}

static __global__ void block_message(BlockMessage how, int *value, int *got, unsigned *flag)
{
    if (threadIdx.x == 0) {
        *value = 7;
        if (how == BLOCK_MESSAGE_RIGHT)
            __threadfence_block();
        FlagOfBlock(*flag).store(1, cuda::memory_order_relaxed);
    } else if (threadIdx.x == WARP) {
        while (FlagOfBlock(*flag).load(cuda::memory_order_relaxed) == 0)
            SPIN();
        __threadfence_block();
        *got = *value;
    }
}

static __global__ void copies(Copy how, int *in, int *out)
{
    DYNAMIC_SHARED(int, shared);
    unsigned i = threadIdx.x;
    bool two = how == COPY_TWO_GROUPS_RIGHT || how == COPY_WAIT_FOR_TOO_FEW;
    __pipeline_memcpy_async(shared + i, in + i, sizeof(int));
    if (how != COPY_WITHOUT_COMMIT)
        __pipeline_commit();
    if (two) {
        __pipeline_memcpy_async(shared + THREADS + i, in + THREADS + i, sizeof(int));
        __pipeline_commit();
    }
    if (how == COPY_SOURCE_CHANGED)
        in[i] = 0;
    if (how != COPY_WITHOUT_WAIT)
        __pipeline_wait_prior(two ? 1 : 0);
    if (how != COPY_WITHOUT_BARRIER)
        __syncthreads();
    out[i] = shared[(how == COPY_WAIT_FOR_TOO_FEW ? THREADS : 0) + (THREADS - 1 - i)];
}

static __global__ void touch_bytes(Bytes how, unsigned char *bytes)
{
    unsigned *number = reinterpret_cast<unsigned *>(bytes);
    if (how == BYTES_CONSTANT || how == BYTES_CHANGED_LATER) { /* of one block */
        unsigned sum = how == BYTES_CONSTANT ? __ldg(number) : *number;
        __syncthreads();
        if (threadIdx.x == 0)
            *number = sum;
        return;
    }
    if (threadIdx.x)
        return;
    if (how == BYTES_APART)
        bytes[blockIdx.x] = 1;
    else if (how == BYTES_TOGETHER)
        bytes[2] = 1;
    else if (how == BYTES_READ_BY_ALL)
        bytes[4 + blockIdx.x] = bytes[0];
    else if (how == BYTES_ATOMIC_IN_BLOCK_SCOPE)
        FlagOfBlock(*number).fetch_add(1, cuda::memory_order_relaxed);
    else if (how == BYTES_ATOMIC_AND_PLAIN && blockIdx.x == 1)
        *number = 1;
    else
        atomicAdd(number, 1u);
}

static __global__ void increment(int *values, int count)
{
    int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count)
        values[i]++;
}

/* ---- launchers ---- */

void sample_exchange(Exchange how, int *values, cudaStream_t stream)
{
    LAUNCH(exchange, 1, THREADS, 0, stream, how, values);
}

void sample_warp_exchange(Warp how, int *values, cudaStream_t stream)
{
    LAUNCH(warp_exchange, 1, WARP, 0, stream, how, values);
}

void sample_cluster_exchange(Cluster how, int *values, cudaStream_t stream)
{
    LAUNCH_CLUSTER(cluster_exchange, 2, 2, WARP, WARP * sizeof(int), stream, how, values);
}

void sample_grid_exchange(Grid how, int *values, int *sums, unsigned *count, cudaStream_t stream)
{
    LAUNCH_COOPERATIVE(grid_exchange, BLOCKS, THREADS, 0, stream, how, values, sums, count);
}

void sample_last_block(Last how, int *values, int *sum, unsigned *count, cudaStream_t stream)
{
    LAUNCH(last_block, BLOCKS, THREADS, 0, stream, how, values, sum, count);
}

void sample_message(Message how, int *value, int *got, unsigned *flags, cudaStream_t stream)
{
    LAUNCH_COOPERATIVE(message, BLOCKS, WARP, 0, stream, how, value, got, flags);
}

void sample_block_message(BlockMessage how, int *value, int *got, unsigned *flag,
                          cudaStream_t stream)
{
    LAUNCH_COOPERATIVE(block_message, 1, THREADS, 0, stream, how, value, got, flag);
}

void sample_copy(Copy how, int *in, int *out, cudaStream_t stream)
{
    LAUNCH(copies, 1, THREADS, 2 * THREADS * sizeof(int), stream, how, in, out);
}

void sample_bytes(Bytes how, unsigned char *bytes, cudaStream_t stream)
{
    unsigned blocks = how == BYTES_CONSTANT || how == BYTES_CHANGED_LATER ? 1 : 2;
    LAUNCH(touch_bytes, blocks, WARP, 0, stream, how, bytes);
}

void sample_increment(int *values, int count, cudaStream_t stream)
{
    LAUNCH(increment, unsigned(count + THREADS - 1) / THREADS, THREADS, 0, stream, values, count);
}
