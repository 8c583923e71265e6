/*
 * How tests steer the emulated device, for C and C++.
 *
 * What is submitted to a stream runs when the host waits for it (or polls its event, one operation
 * a time), never earlier: a host that forgets to wait reads old or poisoned bytes. Device memory,
 * pinned memory and shared memory begin as all ones: NaN as floats. Under AddressSanitizer the host
 * cannot touch device memory at all, buffers have their exact sizes, and whatever is not freed is a
 * leak.
 */
#ifndef CUDA_HOST_H
#define CUDA_HOST_H

#include "cuda_runtime_api.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Everything below as at the start, and no error pending; memory and streams stay. */
void cuda_host_reset(void);

/* The order of a grid's blocks, a block's threads, a warp's lanes and independent streams: 0 is
 * ascending, any other seed another shuffle. At the start: the environment's CUDA_HOST_SEED, or 1.
 */
void cuda_host_set_seed(uint64_t seed);

/* Calls `run` under the seeds 0 .. seeds - 1 and compares what it leaves in `output`, host memory,
 * bit for bit; says on stderr where it differs. A missing barrier shows so. */
bool cuda_host_same_for_seeds(int seeds, void (*run)(void *context), void *context, void *output,
                              size_t bytes);

/* Of the device. At the start: the environment's CUDA_HOST_MEMORY in bytes, or 2 GiB. */
void cuda_host_set_memory(size_t bytes);
void cuda_host_set_shared_optin(size_t bytes);       /* shared memory per block: 101376 */
void cuda_host_set_capability(int major, int minor); /* 8, 9; clusters from 9, 0 */
void cuda_host_set_multiprocessors(int count);       /* 32 */
void cuda_host_set_cooperative(bool has);            /* cooperative launches: true */
void cuda_host_set_largest_cluster(unsigned blocks); /* that there is room for: 8 */
/* Of the multiprocessors, what a cooperative launch gets, whatever the device says that it has, as
 * under MPS; 0, as at the start: all. */
void cuda_host_set_partition(int multiprocessors);
void cuda_host_set_polls(unsigned polls);      /* of an event until one operation is done: 1 */
void cuda_host_set_driver(cudaError_t status); /* cudaErrorInsufficientDriver, ..NoDevice */

/* What dlopen or dlsym do not find of cuBLAS: the library ("libcublas.so.13") or one of its
 * functions ("cublasSgemm_v2"); NULL, as at the start: nothing. */
void cuda_host_lack(const char *name);

/* The nth call from now to the runtime or cuBLAS fails with `error`, as if an earlier operation or
 * the call itself had; 0: none does. Calls that free still do. Errors that break a CUDA context
 * stay until cuda_host_reset, and what was submitted never runs. Asking for errors, names and
 * versions is not counted. */
void cuda_host_fail_call(unsigned long nth, cudaError_t error);
unsigned long cuda_host_calls(void); /* since then */

/* Calls since cuda_host_reset in which the host waited for the device: synchronising, copying to
 * pageable memory, freeing. */
unsigned long cuda_host_waits(void);

size_t cuda_host_memory_used(void);
/* Run since cuda_host_reset: kernels, those of them in clusters of blocks and by cooperative
 * launches, cuBLAS's products. */
unsigned long cuda_host_launches(void);
unsigned long cuda_host_cluster_launches(void);
unsigned long cuda_host_cooperative_launches(void);
unsigned long cuda_host_products(void);
/* Graphs launched since cuda_host_reset that had not been uploaded before. */
unsigned long cuda_host_cold_graph_launches(void);
/* Has this kernel run, ever? By its address: templates' variants are kernels of their own. */
bool cuda_host_launched(const void *kernel);

#ifdef __cplusplus
}

template <class Run> bool cuda_host_same_for_seeds(int seeds, Run run, void *output, size_t bytes)
{
    return cuda_host_same_for_seeds(
        seeds, [](void *context) { (*static_cast<Run *>(context))(); }, &run, output, bytes);
}
#endif

#endif
