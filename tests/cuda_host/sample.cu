/*
 * Kernels of every kind that the back end has, correct and wrong ones, for the tests of the
 * emulation. nvcc compiles them as well: nvcc -std=c++17 -arch=sm_89 -Werror all-warnings -I
 * kernels -c tests/cuda_host/sample.cu
 */
#include "sample.h"

#include "cluster.cuh"
#include "grid.cuh"
#include "launch.cuh"

static const unsigned full = 0xffffffffu;

template <class T> static __device__ __forceinline__ T warp_sum(T value)
{
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value += __shfl_xor_sync(full, value, distance);
    return value;
}

template <class T, int threads>
__global__ void __launch_bounds__(threads) block_sum(const T *__restrict__ in, int count, T *out)
{
    SHARED(T[threads / 32], sums);
    int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    int lane = int(threadIdx.x) % warpSize, warp = int(threadIdx.x) / warpSize;
    T sum = warp_sum(i < count ? __ldg(in + i) : T(0));
    if (lane == 0)
        sums[warp] = sum;
    __syncthreads();
    if (warp == 0) {
        sum = warp_sum(lane < threads / 32 ? sums[lane] : T(0));
        if (lane == 0)
            out[blockIdx.x] = sum;
    }
}

static __global__ void transpose(const float *__restrict__ in, int rows, int columns, float *out)
{
    SHARED(float[32][33], tile);
    int column = int(blockIdx.x * 32 + threadIdx.x), row = int(blockIdx.y * 32 + threadIdx.y);
    for (int i = 0; i < 32; i += 8)
        if (column < columns && row + i < rows)
            tile[threadIdx.y + unsigned(i)][threadIdx.x] = in[(row + i) * columns + column];
    __syncthreads();
    column = int(blockIdx.y * 32 + threadIdx.x);
    row = int(blockIdx.x * 32 + threadIdx.y);
    for (int i = 0; i < 32; i += 8)
        if (column < rows && row + i < columns)
            out[(row + i) * rows + column] = tile[threadIdx.x][threadIdx.y + unsigned(i)];
}

static __global__ void scale(float *values, int count, float factor)
{
    int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count)
        values[i] *= factor;
}

static __global__ void warp_functions(unsigned *out)
{
    unsigned lane = threadIdx.x;
    unsigned *mine = out + lane * SAMPLE_WARP_RESULTS;
    mine[0] = __shfl_sync(full, lane, 5);
    mine[1] = __shfl_sync(full, lane, 9, 8);
    mine[2] = __shfl_up_sync(full, lane, 3);
    mine[3] = __shfl_down_sync(full, lane, 3, 16);
    mine[4] = __shfl_xor_sync(full, lane, 7);
    mine[5] = __ballot_sync(full, lane % 3 == 0);
    mine[6] = unsigned(__any_sync(full, lane == 31));
    mine[7] = unsigned(__all_sync(full, lane < 31));
    mine[8] = __float_as_uint(__shfl_sync(full, 0.5f * float(lane), 4));
    mine[9] = unsigned(__shfl_sync(full, (unsigned long long)lane << 40, 6) >> 40);
    /* The two halves of the warp, separately. */
    unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    unsigned sum = lane;
    for (int distance = 8; distance > 0; distance /= 2)
        sum += __shfl_xor_sync(half, sum, distance, 16);
    mine[10] = sum;
    __syncwarp();
    mine[11] = __umulhi(0x80000000u, lane * 2);
}

static __global__ void count_threads(int *out, unsigned *total)
{
    int odd = __syncthreads_count(threadIdx.x & 1);
    int any = __syncthreads_or(threadIdx.x == 1);
    atomicAdd(total, 1u);
    if (threadIdx.x == 0)
        out[blockIdx.x] = any ? odd : -1;
}

template <bool barrier> __global__ void reverse(int *values)
{
    DYNAMIC_SHARED(int, copy);
    int *part = values + blockIdx.x * blockDim.x;
    copy[threadIdx.x] = part[threadIdx.x];
    if (barrier)
        __syncthreads();
    part[threadIdx.x] = copy[blockDim.x - 1 - threadIdx.x];
}

static __global__ void unset(float *out)
{
    SHARED(float, kept);
    DYNAMIC_SHARED(float, more);
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    out[2 * i] = kept;
    out[2 * i + 1] = more[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0)
        kept = 1.0f;
    more[threadIdx.x] = 1.0f;
}

static __global__ void barriers(int *out, int rounds)
{
    SHARED(int[1024], ring);
    int value = int(threadIdx.x);
    for (int i = 0; i < rounds / 2; i++) {
        ring[threadIdx.x] = value;
        __syncthreads();
        value = ring[(threadIdx.x + 1) % blockDim.x];
        __syncthreads();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

template <bool dynamic, int size> __global__ void overrun(int index)
{
    if (dynamic) {
        DYNAMIC_SHARED(float, values);
        values[index] = 1.0f;
    } else {
        SHARED(float[size], array);
        float *values = array;
        values[index] = 1.0f;
    }
}

static __global__ void large_shared(int count, float *out)
{
    DYNAMIC_SHARED(float4, values);
    for (int i = int(threadIdx.x); i < count; i += int(blockDim.x))
        values[i] = make_float4(1.0f, 2.0f, 3.0f, float(i));
    __syncthreads();
    if (threadIdx.x == 0)
        *out = values[count - 1].w;
}

static __global__ void nothing()
{
}

static __global__ void exit_before_barrier(unsigned threads)
{
    if (threadIdx.x >= threads)
        return;
    __syncthreads();
}

static __global__ void two_barriers(int *out)
{
    if (threadIdx.x < 40) {
        __syncthreads();
        out[threadIdx.x] = 1;
    } else {
        __syncthreads();
        out[threadIdx.x] = 2;
    }
}

static __global__ void absent_lane(float *out)
{
    if (threadIdx.x == 7)
        return;
    out[threadIdx.x] = __shfl_down_sync(full, float(threadIdx.x), 1);
}

static __global__ void cluster(int *out, int size)
{
    DYNAMIC_SHARED(int, mine);
    mine[threadIdx.x] = int(100 * blockIdx.x + threadIdx.x);
    cluster_barrier();
    out += (int(blockIdx.x) * size) * int(blockDim.x) + int(threadIdx.x);
    for (int rank = 0; rank < size; rank++)
        out[rank * int(blockDim.x)] = of_block(mine, unsigned(rank))[threadIdx.x];
    cluster_barrier();
}

static __global__ void early_end(int *out)
{
    DYNAMIC_SHARED(int, mine);
    mine[threadIdx.x] = int(threadIdx.x);
    cluster_barrier();
    if (cluster_rank() == 1)
        return;
    __syncthreads(); /* gives the other block time to end */
    out[threadIdx.x] = of_block(mine, 1)[threadIdx.x];
}

static __global__ void absent_block(int)
{
    if (cluster_rank() == 0)
        cluster_barrier();
}

/* Every block stores a number and after the barrier reads those of all blocks; then again with
 * others. */
template <bool barrier> __global__ void grid_exchange(int *parts, unsigned *count, int *out)
{
    unsigned block = blockIdx.y * gridDim.x + blockIdx.x, blocks = gridDim.x * gridDim.y;
    for (int round = 0; round < 3; round++) {
        if (threadIdx.x == 40)
            parts[unsigned(round) * blocks + block] = int(block + 1) << round;
        if (barrier)
            grid_barrier(count);
        int sum = 0;
        for (unsigned i = 0; i < blocks; i++)
            sum += parts[unsigned(round) * blocks + i];
        out[(unsigned(round) * blocks + block) * blockDim.x + threadIdx.x] = sum;
    }
}

static __global__ void absent_from_grid(unsigned *count, bool waits)
{
    if (blockIdx.x != 1) {
        grid_barrier(count);
        return;
    }
    if (waits && threadIdx.x == 0)
        __syncthreads();
}

static __global__ void cluster_in_grid(int)
{
    cluster_barrier();
}

static unsigned blocks_for(int count, int each)
{
    return unsigned((count + each - 1) / each);
}

cudaError_t sample_block_sum(const float *in, int count, float *out, cudaStream_t stream)
{
    LAUNCH((block_sum<float, 256>), blocks_for(count, 256), 256, 0, stream, in, count, out);
    return cudaGetLastError();
}

cudaError_t sample_block_sum_double(const double *in, int count, double *out, cudaStream_t stream)
{
    LAUNCH((block_sum<double, 256>), blocks_for(count, 256), 256, 0, stream, in, count, out);
    return cudaGetLastError();
}

cudaError_t sample_transpose(const float *in, int rows, int columns, float *out,
                             cudaStream_t stream)
{
    LAUNCH(transpose, dim3(blocks_for(columns, 32), blocks_for(rows, 32)), dim3(32, 8), 0, stream,
           in, rows, columns, out);
    return cudaGetLastError();
}

cudaError_t sample_scale(float *values, int count, float factor, cudaStream_t stream)
{
    LAUNCH(scale, blocks_for(count, 128), 128, 0, stream, values, count, factor);
    return cudaGetLastError();
}

cudaError_t sample_warp(unsigned *out, cudaStream_t stream)
{
    LAUNCH(warp_functions, 1, 32, 0, stream, out);
    return cudaGetLastError();
}

cudaError_t sample_count(int blocks, int threads, int *out, unsigned *total, cudaStream_t stream)
{
    LAUNCH(count_threads, unsigned(blocks), unsigned(threads), 0, stream, out, total);
    return cudaGetLastError();
}

cudaError_t sample_reverse(int *values, int blocks, int barrier, cudaStream_t stream)
{
    if (barrier)
        LAUNCH(reverse<true>, unsigned(blocks), 64, 64 * sizeof(int), stream, values);
    else
        LAUNCH(reverse<false>, unsigned(blocks), 64, 64 * sizeof(int), stream, values);
    return cudaGetLastError();
}

cudaError_t sample_unset(float *out, int blocks, cudaStream_t stream)
{
    LAUNCH(unset, unsigned(blocks), 32, 32 * sizeof(float), stream, out);
    return cudaGetLastError();
}

cudaError_t sample_barriers(int *out, int blocks, int threads, int rounds, cudaStream_t stream)
{
    LAUNCH(barriers, unsigned(blocks), unsigned(threads), 0, stream, out, rounds);
    return cudaGetLastError();
}

cudaError_t sample_overrun(int index, int dynamic, cudaStream_t stream)
{
    if (dynamic)
        LAUNCH((overrun<true, 64>), 1, 1, 64 * sizeof(float), stream, index);
    else
        LAUNCH((overrun<false, 64>), 1, 1, 0, stream, index);
    return cudaGetLastError();
}

cudaError_t sample_shared_bytes(size_t bytes, float *out, cudaStream_t stream)
{
    LAUNCH(large_shared, 1, 64, bytes, stream, int(bytes / sizeof(float4)), out);
    return cudaGetLastError();
}

cudaError_t sample_allow_shared_bytes(int bytes)
{
    return cudaFuncSetAttribute(large_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

cudaError_t sample_nothing(cudaStream_t stream)
{
    LAUNCH(nothing, 1, 1, 0, stream);
    return cudaGetLastError();
}

cudaError_t sample_exit_before_barrier(int threads, cudaStream_t stream)
{
    LAUNCH(exit_before_barrier, 2, 64, 0, stream, unsigned(threads));
    return cudaGetLastError();
}

cudaError_t sample_two_barriers(int *out, cudaStream_t stream)
{
    LAUNCH(two_barriers, 1, 64, 0, stream, out);
    return cudaGetLastError();
}

cudaError_t sample_absent_lane(float *out, cudaStream_t stream)
{
    LAUNCH(absent_lane, 1, 32, 0, stream, out);
    return cudaGetLastError();
}

cudaError_t sample_cluster(int *out, int size, int blocks, cudaStream_t stream)
{
    LAUNCH_CLUSTER(cluster, unsigned(size), unsigned(blocks), 40, 40 * sizeof(int), stream, out,
                   size);
    return cudaGetLastError();
}

cudaError_t sample_early_end(int *out, cudaStream_t stream)
{
    LAUNCH_CLUSTER(early_end, 2, 2, 32, 32 * sizeof(int), stream, out);
    return cudaGetLastError();
}

cudaError_t sample_absent_block(cudaStream_t stream)
{
    LAUNCH_CLUSTER(absent_block, 2, 2, 32, 0, stream, 0);
    return cudaGetLastError();
}

cudaError_t sample_cluster_room(int size, int *clusters)
{
    cudaLaunchAttribute attribute = in_clusters_of(unsigned(size));
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(unsigned(size));
    config.blockDim = dim3(40);
    config.attrs = &attribute;
    config.numAttrs = 1;
    return cudaOccupancyMaxActiveClusters(clusters, reinterpret_cast<const void *>(cluster),
                                          &config);
}

cudaError_t sample_grid(int *parts, unsigned *count, int columns, int rows, int barrier, int *out,
                        cudaStream_t stream)
{
    dim3 grid = {unsigned(columns), unsigned(rows)};
    if (barrier)
        LAUNCH_COOPERATIVE(grid_exchange<true>, grid, 64, 0, stream, parts, count, out);
    else
        LAUNCH_COOPERATIVE(grid_exchange<false>, grid, 64, 0, stream, parts, count, out);
    return cudaGetLastError();
}

cudaError_t sample_grid_room(int *blocks)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, grid_exchange<true>, 64, 0);
}

cudaError_t sample_absent_from_grid(unsigned *count, int waits, cudaStream_t stream)
{
    LAUNCH_COOPERATIVE(absent_from_grid, 3, 32, 0, stream, count, waits != 0);
    return cudaGetLastError();
}

cudaError_t sample_alone_at_grid_barrier(unsigned *count, cudaStream_t stream)
{
    LAUNCH(absent_from_grid, 3, 32, 0, stream, count, false);
    return cudaGetLastError();
}

cudaError_t sample_cluster_in_grid(cudaStream_t stream)
{
    LAUNCH_COOPERATIVE(cluster_in_grid, 2, 32, 0, stream, 0);
    return cudaGetLastError();
}
