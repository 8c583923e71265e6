/*
 * Macros instead of the CUDA syntax that no header can emulate in C++. With them nvcc compiles the
 * kernels for the GPU, and any C++ compiler for the tests on the CPU (tests/cuda_host). Put
 * template kernels with several arguments in parentheses.
 */
#ifndef NNMF_KERNELS_LAUNCH_CUH
#define NNMF_KERNELS_LAUNCH_CUH

#include <cuda_runtime.h>

/*
 * LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...): the caller checks
 * cudaGetLastError().
 * LAUNCH_CLUSTER(kernel, cluster, grid, ...): the same in clusters of `cluster` blocks, which must
 * divide grid.x; on GPUs of compute capability 9.0 and newer.
 * LAUNCH_COOPERATIVE(kernel, grid, ...): the same with all blocks at once, so that they may wait
 * for each other (grid.cuh). The grid must fit on the GPU.
 * DYNAMIC_SHARED(type, name): declares `type *name`, the block's dynamic shared memory, 16-byte
 * aligned.
 * SHARED(type, name): declares a variable or array in static shared memory, as in
 * SHARED(float[32][33], tile).
 */
template <class T> using SharedType = T; /* so that arrays can be declared by type and name */

static inline cudaLaunchAttribute in_clusters_of(unsigned blocks)
{
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = blocks;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    return attribute;
}

#ifdef __CUDACC__

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                     \
    kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)

template <class... Parameters, class... Arguments>
static inline void launch_with(cudaLaunchAttribute attribute, void (*kernel)(Parameters...),
                               dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                               Arguments... arguments)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

static inline cudaLaunchAttribute cooperatively()
{
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    return attribute;
}

#define LAUNCH_CLUSTER(kernel, cluster, ...)                                                       \
    launch_with(in_clusters_of(cluster), kernel, __VA_ARGS__)

#define LAUNCH_COOPERATIVE(kernel, ...) launch_with(cooperatively(), kernel, __VA_ARGS__)

#define DYNAMIC_SHARED(type, name)                                                                 \
    extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];                         \
    type *const name = reinterpret_cast<type *>(dynamic_shared_memory)

#define SHARED(type, name) __shared__ SharedType<type> name

#else

/* The stream is a variable argument because ISO C++ requires at least one. */
#define LAUNCH(kernel, grid, block, shared_bytes, ...)                                             \
    ::cuda_host::launch(#kernel, kernel, (grid), (block), (shared_bytes), __VA_ARGS__)

#define LAUNCH_CLUSTER(kernel, ...) ::cuda_host::launch_cluster(#kernel, kernel, __VA_ARGS__)

#define LAUNCH_COOPERATIVE(kernel, ...)                                                            \
    ::cuda_host::launch_cooperative(#kernel, kernel, __VA_ARGS__)

#define DYNAMIC_SHARED(type, name)                                                                 \
    type *const name = static_cast<type *>(::cuda_host::dynamic_shared())

#define SHARED(type, name)                                                                         \
    static ::cuda_host::SharedSlot name##_slot;                                                    \
    SharedType<type> &name = *static_cast<SharedType<type> *>(                                     \
        ::cuda_host::static_shared(name##_slot, sizeof(SharedType<type>)))

#endif

#endif
