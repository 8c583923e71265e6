/* Declarations shared by the parts of the emulation. */
#ifndef CUDA_HOST_INTERNAL_H
#define CUDA_HOST_INTERNAL_H

#include "cuda_host.h"
#include "cuda_runtime.h"

#include <deque>
#include <functional>
#include <mutex>

namespace cuda_host
{

/* ---- block.cc: runs one grid to its end ---- */
const unsigned max_cluster = 8;                         /* supported by every GPU with clusters */
const unsigned max_together = 256, max_threads = 24576; /* blocks and threads alive at once */
struct Launch {
    const char *name;
    dim3 grid, block;
    unsigned together; /* blocks alive at once: a cluster, or the grid if it is cooperative */
    bool cooperative;
    size_t shared_bytes;
    size_t shared_limit;  /* of static and dynamic shared memory together */
    size_t dynamic_limit; /* of the kernel at the time it runs */
    const std::function<void()> *body;
};
void run_grid(const Launch &launch);
[[noreturn]] void report(const char *what); /* a fault of the running kernel, and its threads */
void check_in_kernel(const char *otherwise);

/* ---- copies.cc ---- */
struct AsyncCopy {
    void *to;
    const void *from;
    size_t bytes, zeros;
    unsigned group; /* number */
};
struct AsyncCopies {
    std::deque<AsyncCopy> waiting;
    unsigned groups; /* committed */
};
AsyncCopies &copies_of_thread();
void finish_copies(AsyncCopies &copies); /* when the thread exits */

/* ---- order.cc: what the seed determines ---- */
void shuffle_order(unsigned *numbers, size_t count); /* does nothing with seed 0 */
void reset_order();

/* ---- device.cc: the properties of the device ---- */
struct Device {
    size_t memory;
    size_t shared_optin;
    int major, minor; /* compute capability */
    int multiprocessors;
    bool cooperative;         /* supports cooperative launches */
    int partition;            /* multiprocessors available to a cooperative launch; 0: all */
    unsigned largest_cluster; /* that fits on it */
    unsigned polls;           /* of an event until one operation is done */
    cudaError_t driver;
};
extern Device device;
void reset_device();
void count_product();                   /* of cuBLAS */
const size_t shared_default = 48 << 10; /* without opt-in */

/* ---- calls.cc: entry and exit of every call to the runtime ---- */

/* Whether a call is allowed while a stream is being captured. */
enum class Capturing { allowed, fails };

std::recursive_mutex &call_mutex();
cudaError_t enter(Capturing capturing);  /* returns an error if the call fails at once */
cudaError_t remember(cudaError_t error); /* for cudaGetLastError */
void count_wait();                       /* of the host for the device */
bool context_broken();                   /* by a persistent error: nothing runs any more */

template <class Body> cudaError_t call(Capturing capturing, Body body)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    cudaError_t error = enter(capturing);
    return remember(error != cudaSuccess ? error : body());
}

/* For calls that free memory: they do so even if they report an error. */
template <class Body> cudaError_t call_freeing(Capturing capturing, Body body)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    cudaError_t error = enter(capturing);
    cudaError_t own = body();
    return remember(error != cudaSuccess ? error : own);
}

/* ---- memory.cc ---- */
bool on_device(const void *pointer, size_t bytes);
bool pinned(const void *pointer);
void open_device_memory(bool open); /* while it is closed, AddressSanitizer reports any access */

/* ---- stream.cc ---- */
void run_all_queues();
void run_everything(); /* the same, with the host waiting for it */
void run_stream(cudaStream_t stream);
cudaError_t submit(cudaStream_t stream, std::function<void()> work); /* or records it */

/* ---- graph.cc ---- */
bool any_capture(); /* one that forbids unsafe calls */
bool capturing(cudaStream_t stream);
void invalidate_captures();
void reset_graphs();

} // namespace cuda_host

#endif
