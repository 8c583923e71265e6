/* The properties of the device, and whether it accepts a launch. Limits that are not set are those
 * of an RTX 4090, except for the number of multiprocessors and the registers. */
#include "internal.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

namespace cuda_host
{

static size_t usual_memory()
{
    const char *text = getenv("CUDA_HOST_MEMORY");
    return text && *text ? strtoull(text, nullptr, 0) : size_t(2) << 30;
}

static const Device usual = {usual_memory(), 101376, 8,           9, 32,
                             true,           0,      max_cluster, 1, cudaSuccess};
Device device = usual;

static const int threads_per_multiprocessor = 1536;
static const int blocks_per_multiprocessor = 24, threads_per_block = 1024;
/* Every kernel counts as using the maximum, which keeps cooperative grids small: each of their
 * threads has a fibre. */
static const int registers = 65536, registers_of_thread = 256;
static const int l2_bytes = 72 << 20, memory_bus = 384;
static const size_t shared_reserved = 1024; /* of every block */

static unsigned long launches, cluster_launches, cooperative_launches, products;

/* Kernels that have run. */
static std::set<const void *> &launched()
{
    static std::set<const void *> kernels;
    return kernels;
}

/* Maximum dynamic shared memory of each kernel. */
static std::map<const void *, size_t> &shared_maxima()
{
    static std::map<const void *, size_t> maxima;
    return maxima;
}

static size_t shared_maximum(const void *kernel)
{
    auto found = shared_maxima().find(kernel);
    return found == shared_maxima().end() ? shared_default : found->second;
}

void reset_device()
{
    device = usual;
    shared_maxima().clear();
    launches = cluster_launches = cooperative_launches = products = 0;
}

void count_product()
{
    products++;
}

static bool fits(const dim3 &size, unsigned x, unsigned y, unsigned z)
{
    return size.x - 1 < x && size.y - 1 < y && size.z - 1 < z; /* also false for 0 */
}

/* Returns the number of blocks that a multiprocessor holds at once. */
static int occupancy(const void *kernel, int block_size, size_t shared_bytes)
{
    if (block_size > threads_per_block || shared_bytes > shared_maximum(kernel))
        return 0;
    int threads = (block_size + 31) / 32 * 32;
    size_t by_memory = (device.shared_optin + shared_reserved) / (shared_bytes + shared_reserved);
    int by_registers = registers / registers_of_thread / threads;
    return int(std::min({by_memory, size_t(threads_per_multiprocessor / threads),
                         size_t(by_registers), size_t(blocks_per_multiprocessor)}));
}

static bool has_clusters()
{
    return device.major >= 9;
}

/* Checks that the device can hold the blocks that must be alive at once. */
static cudaError_t check_together(const void *kernel, unsigned cluster, const dim3 &grid,
                                  const dim3 &block, size_t shared_bytes)
{
    if (cluster == whole_grid) {
        int threads = int(block.x * block.y * block.z);
        int there = device.partition ? device.partition : device.multiprocessors;
        size_t room = size_t(there * occupancy(kernel, threads, shared_bytes));
        if (!device.cooperative)
            return cudaErrorNotSupported;
        return size_t(grid.x) * grid.y * grid.z <= room ? cudaSuccess
                                                        : cudaErrorCooperativeLaunchTooLarge;
    }
    if (cluster != 1 && !has_clusters())
        return cudaErrorNotSupported;
    if (cluster != 1 && cluster > device.largest_cluster)
        return cudaErrorInvalidClusterSize;
    return cluster > max_cluster || grid.x % cluster ? cudaErrorInvalidClusterSize : cudaSuccess;
}

void enqueue(const char *name, const void *kernel, unsigned cluster, dim3 grid, dim3 block,
             size_t shared_bytes, cudaStream_t stream, std::function<void()> body)
{
    call(Capturing::allowed, [&] {
        if (!fits(grid, 0x7fffffff, 65535, 65535) || !fits(block, 1024, 1024, 64) ||
            block.x * block.y * block.z > unsigned(threads_per_block))
            return cudaErrorInvalidConfiguration;
        if (shared_bytes > shared_maximum(kernel))
            return cudaErrorInvalidValue;
        cudaError_t error = check_together(kernel, cluster, grid, block, shared_bytes);
        if (error != cudaSuccess)
            return error;
        size_t limit = device.shared_optin;
        bool cooperative = cluster == whole_grid;
        unsigned together = cooperative ? grid.x * grid.y * grid.z : cluster;
        return submit(stream, [=] {
            launches++;
            launched().insert(kernel);
            cluster_launches += cluster > 1;
            cooperative_launches += cooperative;
            run_grid({name, grid, block, together, cooperative, shared_bytes, limit,
                      shared_maximum(kernel), &body});
        });
    });
}

} // namespace cuda_host

using namespace cuda_host;

void cuda_host_set_memory(size_t bytes)
{
    device.memory = bytes;
}

void cuda_host_set_shared_optin(size_t bytes)
{
    device.shared_optin = bytes;
}

void cuda_host_set_capability(int major, int minor)
{
    device.major = major;
    device.minor = minor;
}

void cuda_host_set_multiprocessors(int count)
{
    device.multiprocessors = count;
}

void cuda_host_set_cooperative(bool has)
{
    device.cooperative = has;
}

void cuda_host_set_largest_cluster(unsigned blocks)
{
    device.largest_cluster = blocks;
}

void cuda_host_set_partition(int multiprocessors)
{
    device.partition = multiprocessors;
}

void cuda_host_set_polls(unsigned polls)
{
    device.polls = polls;
}

void cuda_host_set_driver(cudaError_t status)
{
    device.driver = status;
}

unsigned long cuda_host_launches(void)
{
    return launches;
}

bool cuda_host_launched(const void *kernel)
{
    return launched().count(kernel) != 0;
}

unsigned long cuda_host_cluster_launches(void)
{
    return cluster_launches;
}

unsigned long cuda_host_cooperative_launches(void)
{
    return cooperative_launches;
}

unsigned long cuda_host_products(void)
{
    return products;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    return call(Capturing::allowed, [&] {
        *count = 1;
        return cudaSuccess;
    });
}

cudaError_t cudaSetDevice(int number)
{
    return call(Capturing::allowed,
                [&] { return number == 0 ? cudaSuccess : cudaErrorInvalidDevice; });
}

cudaError_t cudaGetDevice(int *number)
{
    return call(Capturing::allowed, [&] {
        *number = 0;
        return cudaSuccess;
    });
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = device.driver == cudaSuccess ? CUDART_VERSION : 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int number)
{
    return call(Capturing::allowed, [&] {
        if (number != 0)
            return cudaErrorInvalidDevice;
        cudaDeviceProp &p = *properties;
        p = {};
        snprintf(p.name, sizeof p.name, "host emulation");
        p.totalGlobalMem = device.memory;
        p.sharedMemPerBlock = shared_default;
        p.regsPerBlock = registers;
        p.warpSize = warpSize;
        p.maxThreadsPerBlock = threads_per_block;
        p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
        p.maxThreadsDim[2] = 64;
        p.maxGridSize[0] = 0x7fffffff;
        p.maxGridSize[1] = p.maxGridSize[2] = 65535;
        p.major = device.major;
        p.minor = device.minor;
        p.multiProcessorCount = device.multiprocessors;
        p.memoryBusWidth = memory_bus;
        p.l2CacheSize = l2_bytes;
        p.maxThreadsPerMultiProcessor = threads_per_multiprocessor;
        p.sharedMemPerMultiprocessor = device.shared_optin + shared_reserved;
        p.sharedMemPerBlockOptin = device.shared_optin;
        p.reservedSharedMemPerBlock = shared_reserved;
        p.maxBlocksPerMultiProcessor = blocks_per_multiprocessor;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int number)
{
    return call(Capturing::allowed, [&] {
        const std::map<int, size_t> values = {
            {cudaDevAttrMaxThreadsPerBlock, threads_per_block},
            {cudaDevAttrMaxSharedMemoryPerBlock, shared_default},
            {cudaDevAttrWarpSize, size_t(warpSize)},
            {cudaDevAttrMaxRegistersPerBlock, registers},
            {cudaDevAttrMultiProcessorCount, size_t(device.multiprocessors)},
            {cudaDevAttrL2CacheSize, l2_bytes},
            {cudaDevAttrMaxThreadsPerMultiProcessor, threads_per_multiprocessor},
            {cudaDevAttrComputeCapabilityMajor, size_t(device.major)},
            {cudaDevAttrComputeCapabilityMinor, size_t(device.minor)},
            {cudaDevAttrCooperativeLaunch, device.cooperative},
            {cudaDevAttrMaxSharedMemoryPerMultiprocessor, device.shared_optin + shared_reserved},
            {cudaDevAttrMaxSharedMemoryPerBlockOptin, device.shared_optin},
            {cudaDevAttrMaxBlocksPerMultiprocessor, blocks_per_multiprocessor},
            {cudaDevAttrReservedSharedMemoryPerBlock, shared_reserved},
            {cudaDevAttrClusterLaunch, has_clusters()},
        };
        if (number != 0)
            return cudaErrorInvalidDevice;
        auto found = values.find(attribute);
        if (found == values.end())
            return cudaErrorInvalidValue;
        *value = int(found->second);
        return cudaSuccess;
    });
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    return call(Capturing::allowed, [&] {
        if (!kernel)
            return cudaErrorInvalidDeviceFunction;
        if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
            return value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue;
        if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
            size_t(value) > device.shared_optin)
            return cudaErrorInvalidValue;
        /* The limit never falls below the default of 48 KB. */
        shared_maxima()[kernel] = std::max(size_t(value), shared_default);
        return cudaSuccess;
    });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *kernel)
{
    return call(Capturing::allowed, [&] {
        if (!kernel)
            return cudaErrorInvalidDeviceFunction;
        *attributes = {};
        attributes->maxThreadsPerBlock = threads_per_block;
        attributes->numRegs = registers_of_thread;
        attributes->ptxVersion = attributes->binaryVersion = 10 * device.major + device.minor;
        attributes->maxDynamicSharedSizeBytes = int(shared_maximum(kernel));
        return cudaSuccess;
    });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *kernel,
                                                          int block_size, size_t shared_bytes)
{
    return call(Capturing::allowed, [&] {
        if (!kernel || block_size <= 0)
            return cudaErrorInvalidValue;
        *blocks = occupancy(kernel, block_size, shared_bytes);
        return cudaSuccess;
    });
}

cudaError_t cudaOccupancyMaxActiveClusters(int *clusters, const void *kernel,
                                           const cudaLaunchConfig_t *config)
{
    return call(Capturing::allowed, [&] {
        unsigned cluster = 1;
        for (unsigned i = 0; i < config->numAttrs; i++)
            if (config->attrs[i].id == cudaLaunchAttributeClusterDimension)
                cluster = config->attrs[i].val.clusterDim.x;
        if (!has_clusters())
            return cudaErrorNotSupported;
        if (!kernel || cluster == 0 || cluster > max_cluster || config->gridDim.x % cluster)
            return cudaErrorInvalidClusterSize;
        const dim3 &block = config->blockDim;
        int blocks = occupancy(kernel, int(block.x * block.y * block.z), config->dynamicSmemBytes);
        *clusters =
            cluster > device.largest_cluster ? 0 : device.multiprocessors * blocks / int(cluster);
        return cudaSuccess;
    });
}
