/* Common to all calls: errors, and failures on demand. */
#include "internal.h"

namespace cuda_host
{

static unsigned long calls, failing_call, waits;
static cudaError_t failure = cudaSuccess;
static cudaError_t broken = cudaSuccess; /* the error that broke the context, until reset */
static thread_local cudaError_t last_error = cudaSuccess;

std::recursive_mutex &call_mutex()
{
    static std::recursive_mutex mutex;
    return mutex;
}

static bool breaks_context(cudaError_t error)
{
    return error == cudaErrorIllegalAddress || error == cudaErrorLaunchTimeout ||
           error == cudaErrorAssert || error == cudaErrorMisalignedAddress ||
           error == cudaErrorLaunchFailure || error == cudaErrorECCUncorrectable;
}

cudaError_t enter(Capturing capturing)
{
    if (device.driver != cudaSuccess)
        return device.driver;
    if (broken != cudaSuccess)
        return broken;
    if (++calls == failing_call) {
        if (breaks_context(failure))
            broken = failure;
        return failure;
    }
    if (capturing == Capturing::fails && any_capture()) {
        invalidate_captures();
        return cudaErrorStreamCaptureUnsupported;
    }
    return cudaSuccess;
}

cudaError_t remember(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

bool context_broken()
{
    return broken != cudaSuccess;
}

void count_wait()
{
    waits++;
}

} // namespace cuda_host

using namespace cuda_host;

void cuda_host_fail_call(unsigned long nth, cudaError_t error)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    calls = 0;
    failing_call = nth;
    failure = error;
}

unsigned long cuda_host_calls(void)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    return calls;
}

unsigned long cuda_host_waits(void)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    return waits;
}

void cuda_host_reset(void)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    cuda_host_fail_call(0, cudaSuccess);
    waits = 0;
    broken = cudaSuccess;
    last_error = cudaSuccess;
    reset_device();
    reset_order();
    reset_graphs();
    cuda_host_lack(nullptr);
}

cudaError_t cudaPeekAtLastError(void)
{
    std::lock_guard<std::recursive_mutex> lock(call_mutex());
    return broken != cudaSuccess ? broken : last_error;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define X(name, number, text)                                                                      \
    case name: return #name;
        CUDA_HOST_ERRORS(X)
#undef X
    default: return "unrecognized error code";
    }
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
#define X(name, number, text)                                                                      \
    case name: return text;
        CUDA_HOST_ERRORS(X)
#undef X
    default: return "unrecognized error code";
    }
}
