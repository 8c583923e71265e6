/* What the parts of the emulation share. */
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
const unsigned max_cluster = 8;                         /* that every GPU with clusters has */
const unsigned max_together = 256, max_threads = 24576; /* that live at once */
struct Launch {
    const char *name;
    dim3 grid, block;
    unsigned together; /* blocks that live at once: a cluster, or the grid if it is cooperative */
    bool cooperative;
    size_t shared_bytes;
    size_t shared_limit;  /* of static and dynamic together */
    size_t dynamic_limit; /* that the kernel has when it runs */
    const std::function<void()> *body;
};
void run_grid(const Launch &launch);
[[noreturn]] void report(const char *what); /* a fault of the kernel that runs, and its threads */
void check_in_kernel(const char *otherwise);

/* ---- copies.cc ---- */
struct AsyncCopy {
    void *to;
    const void *from;
    size_t bytes, zeros;
    unsigned group; /* by its number */
};
struct AsyncCopies {
    std::deque<AsyncCopy> waiting;
    unsigned groups; /* committed */
};
AsyncCopies &copies_of_thread();
void finish_copies(AsyncCopies &copies); /* the thread exits */

/* ---- order.cc: what the seed decides ---- */
void shuffle_order(unsigned *numbers, size_t count); /* leaves them alone under seed 0 */
void reset_order();

/* ---- device.cc: what the device is ---- */
struct Device {
    size_t memory;
    size_t shared_optin;
    int major, minor; /* compute capability */
    int multiprocessors;
    bool cooperative;         /* has it cooperative launches? */
    int partition;            /* of the multiprocessors, what such a launch gets; 0: all */
    unsigned largest_cluster; /* that it has room for */
    unsigned polls;           /* of an event until one operation is done */
    cudaError_t driver;
};
extern Device device;
void reset_device();
void count_product();                   /* of cuBLAS */
const size_t shared_default = 48 << 10; /* without asking for more */

/* ---- calls.cc: what every call to the runtime begins and ends with ---- */

/* What becomes of a call while a stream is being captured. */
enum class Capturing { allowed, fails };

std::recursive_mutex &call_mutex();
cudaError_t enter(Capturing capturing);  /* why the call fails before it has begun */
cudaError_t remember(cudaError_t error); /* for cudaGetLastError */
void count_wait();                       /* of the host for the device */
bool context_broken();                   /* by an error that stays: nothing runs any more */

template <class Body> cudaError_t call(Capturing capturing, Body body)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    cudaError_t error = enter(capturing);
    return remember(error != cudaSuccess ? error : body());
}

/* Calls that free do so even if they report an error. */
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
void open_device_memory(bool open); /* to kernels and copies; closed, ASan reports any access */

/* ---- stream.cc ---- */
void run_all_queues();
void run_everything(); /* the same, and the host knows */
void run_stream(cudaStream_t stream);
cudaError_t submit(cudaStream_t stream, std::function<void()> work); /* or records it */

/* ---- graph.cc ---- */
bool any_capture(); /* that forbids unsafe calls */
bool capturing(cudaStream_t stream);
void invalidate_captures();
void reset_graphs();

} // namespace cuda_host

#endif
