/*
 * Controls the emulated device in tests, from C and C++.
 *
 * Work submitted to a stream runs when the host waits for it (or polls its event, one operation at
 * a time), never earlier: a host that forgets to wait reads old or poisoned bytes. Device memory,
 * pinned memory and shared memory are initially all ones: NaN as floats. Under AddressSanitizer the
 * host cannot access device memory at all, buffers have their exact sizes, and memory that is not
 * freed is a leak.
 */
#ifndef CUDA_HOST_H
#define CUDA_HOST_H

#include "cuda_runtime_api.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Resets all settings below and pending errors; memory and streams are kept. */
void cuda_host_reset(void);

/* Sets the order of a grid's blocks, a block's threads, a warp's lanes and independent streams: 0
 * is ascending, every other seed a different shuffle. Initially CUDA_HOST_SEED from the
 * environment, or 1. */
void cuda_host_set_seed(uint64_t seed);

/* Calls `run` with the seeds 0 .. seeds - 1 and compares what it writes to `output`, in host
 * memory, bit for bit; prints the first difference to stderr. This detects missing barriers. */
bool cuda_host_same_for_seeds(int seeds, void (*run)(void *context), void *context, void *output,
                              size_t bytes);

/* Properties of the device, with their initial values. Memory: CUDA_HOST_MEMORY from the
 * environment, in bytes, or 2 GiB. */
void cuda_host_set_memory(size_t bytes);
void cuda_host_set_shared_optin(size_t bytes);       /* shared memory per block: 101376 */
void cuda_host_set_capability(int major, int minor); /* 8, 9; clusters from 9, 0 */
void cuda_host_set_multiprocessors(int count);       /* 32 */
void cuda_host_set_cooperative(bool has);            /* cooperative launches: true */
void cuda_host_set_largest_cluster(unsigned blocks); /* that fits on the device: 8 */
/* Multiprocessors available to a cooperative launch, fewer than the device reports, as under MPS;
 * 0, the initial value: all. */
void cuda_host_set_partition(int multiprocessors);
void cuda_host_set_polls(unsigned polls);      /* of an event until one operation is done: 1 */
void cuda_host_set_driver(cudaError_t status); /* cudaErrorInsufficientDriver, ..NoDevice */

/* Hides cuBLAS's library ("libcublas.so.13") or one of its functions ("cublasSgemm_v2") from dlopen
 * and dlsym; NULL, as at the start: nothing. */
void cuda_host_lack(const char *name);

/* Makes the nth call from now to the runtime or cuBLAS fail with `error`, as if it or an earlier
 * operation had failed; 0: none. Calls that free memory still free it. Errors that break a CUDA
 * context persist until cuda_host_reset, and submitted work never runs. Calls that only query
 * errors, names and versions are not counted. */
void cuda_host_fail_call(unsigned long nth, cudaError_t error);
unsigned long cuda_host_calls(void); /* counted since then */

/* Returns the calls since cuda_host_reset in which the host waited for the device: synchronising,
 * copying to pageable memory, freeing. */
unsigned long cuda_host_waits(void);

size_t cuda_host_memory_used(void);
/* Work run since cuda_host_reset: kernels, those in clusters of blocks and those by cooperative
 * launches, and cuBLAS products. */
unsigned long cuda_host_launches(void);
unsigned long cuda_host_cluster_launches(void);
unsigned long cuda_host_cooperative_launches(void);
unsigned long cuda_host_products(void);
/* Graphs launched since cuda_host_reset without having been uploaded. */
unsigned long cuda_host_cold_graph_launches(void);
/* Returns whether a kernel has ever run. Each instance of a template is a kernel of its own. */
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
