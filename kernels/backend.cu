/* The CUDA device: opening and closing, memory, failures, recordings, and the table. */
#include "cuda.cuh"

#include "nnmf/device.h"
#include "nnmf/memory.h"

#include <stdio.h>
#include <string.h>

const bool cuda_is_built = true;
const int cuda_version_built = CUDART_VERSION;

/* ---- failures ---- */

bool cuda_try(Backend *backend, const char *operation, const char *call, cudaError_t status)
{
    if (status == cudaSuccess)
        return true;
    if (backend->error.status == STATUS_OK)
        fail(&backend->error, "CUDA failed: %s: %s: %s (%s)", operation, call,
             cudaGetErrorString(status), cudaGetErrorName(status));
    return false;
}

static bool finish(Backend *backend, Error *error)
{
    TRY(backend, "waiting for the GPU", cudaStreamSynchronize(backend->stream));
    if (backend->error.status == STATUS_OK)
        return true;
    *error = backend->error;
    memset(&backend->error, 0, sizeof backend->error);
    return false;
}

/* ---- memory ---- */

static bool out_of_memory(size_t bytes, const char *what, Error *error)
{
    size_t available = 0, all = 0;
    cudaMemGetInfo(&available, &all);
    return fail(
        error,
        "out of GPU memory: %s: %zu bytes were asked for, %zu of %zu are free: other programs may "
        "use this GPU; of all but the images, a smaller --batch-size or --batches-at-once needs "
        "less",
        what, bytes, available, all);
}

void *cuda_allocate(Backend *backend, size_t bytes, const char *what, Error *error)
{
    void *memory = NULL;
    size_t asked = bytes ? bytes : 1;
    cudaError_t status = cudaMalloc(&memory, asked);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* clears the error, or the next launch would report it again */
        out_of_memory(bytes, what, error);
        return NULL;
    }
    if (!cuda_try(backend, what, "cudaMalloc", status) ||
        !TRY(backend, what, cudaMemsetAsync(memory, 0, asked, backend->stream)) ||
        !finish(backend, error)) {
        if (backend->error.status != STATUS_OK)
            finish(backend, error);
        cudaFree(memory);
        return NULL;
    }
    return memory;
}

static void release(Backend *backend, void *memory)
{
    if (memory)
        TRY(backend, "releasing memory", cudaFree(memory));
}

static void upload(Backend *backend, void *device, const void *host, size_t bytes)
{
    TRY(backend, "upload",
        cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, backend->stream));
    TRY(backend, "upload", cudaStreamSynchronize(backend->stream)); /* `host` may be reused */
}

static void download(Backend *backend, void *host, const void *device, size_t bytes)
{
    TRY(backend, "download",
        cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, backend->stream));
    TRY(backend, "download", cudaStreamSynchronize(backend->stream));
}

struct RetiredScratch {
    void *memory;
    RetiredScratch *next;
};

static void release_retired(Backend *backend)
{
    while (backend->retired) {
        RetiredScratch *first = backend->retired;
        backend->retired = first->next;
        release(backend, first->memory);
        memory_free(first);
    }
}

/* Releases the scratch memory; cudaFree waits for the operations that use it. Scratch memory that
 * recordings may use is kept until the last recording is forgotten. */
static bool retire_scratch(Backend *backend, Error *error)
{
    if (!backend->scratch || backend->recordings == 0) {
        release(backend, backend->scratch);
    } else {
        RetiredScratch *retired =
            (RetiredScratch *)memory_allocate(1, sizeof *retired, "work space", error);
        if (!retired)
            return false;
        retired->memory = backend->scratch;
        retired->next = backend->retired;
        backend->retired = retired;
    }
    backend->scratch = NULL;
    backend->scratch_bytes = 0;
    return true;
}

void *cuda_scratch(Backend *backend, size_t bytes)
{
    if (bytes <= backend->scratch_bytes)
        return backend->scratch;
    if (backend->recording) {
        if (backend->error.status == STATUS_OK)
            fail(&backend->error,
                 "work space too small: a recorded step: %zu bytes were needed, "
                 "%zu are there",
                 bytes, backend->scratch_bytes);
        return NULL;
    }
    Error error = {};
    if (!retire_scratch(backend, &error) ||
        !(backend->scratch = cuda_allocate(backend, bytes, "work space of an operation", &error))) {
        if (backend->error.status == STATUS_OK)
            backend->error = error;
        return NULL;
    }
    backend->scratch_bytes = bytes;
    return backend->scratch;
}

/* ---- recordings: CUDA graphs ---- */

static bool record(Backend *backend, void (*step)(void *context), void *context, void **recording,
                   Error *error)
{
    *recording = NULL;
    if (!finish(backend, error))
        return false;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t executable = NULL;
    if (TRY(backend, "recording a step",
            cudaStreamBeginCapture(backend->stream, cudaStreamCaptureModeThreadLocal))) {
        backend->recording = true;
        step(context);
        backend->recording = false;
        TRY(backend, "recording a step", cudaStreamEndCapture(backend->stream, &graph));
    }
    /* Uploaded here so that the first replay does not have to. */
    if (graph && backend->error.status == STATUS_OK &&
        TRY(backend, "recording a step", cudaGraphInstantiate(&executable, graph, 0)))
        TRY(backend, "recording a step", cudaGraphUpload(executable, backend->stream));
    if (graph)
        TRY(backend, "recording a step", cudaGraphDestroy(graph));
    if (!finish(backend, error)) {
        if (executable)
            cudaGraphExecDestroy(executable);
        return false;
    }
    *recording = executable;
    backend->recordings++;
    return true;
}

static void replay(Backend *backend, void *recording)
{
    TRY(backend, "a recorded step", cudaGraphLaunch((cudaGraphExec_t)recording, backend->stream));
}

static void forget(Backend *backend, void *recording)
{
    if (!recording)
        return;
    TRY(backend, "a recorded step", cudaGraphExecDestroy((cudaGraphExec_t)recording));
    if (--backend->recordings == 0)
        release_retired(backend);
}

/* ---- the table ---- */

static Operations make_table()
{
    Operations table = {};
    table.name = "cuda";
    table.allocate = cuda_allocate;
    table.release = release;
    table.upload = upload;
    table.download = download;
    table.finish = finish;
    table.record = record;
    table.replay = replay;
    table.forget = forget;
    cuda_transfer_table(&table);
#define CUDA_FILL(family) cuda_##family##_table(&table);
    OPERATION_FAMILIES(CUDA_FILL)
#undef CUDA_FILL
    return table;
}

/* ---- opening and closing ---- */

static void close_device(Backend *backend)
{
    /* Failures are ignored: there is no one left to report them to. */
    release_retired(backend);
    cudaFree(backend->scratch);
    cudaFree(backend->block_counts);
    cudaFree(backend->adam_rates);
    cuda_close_cublas(backend);
    if (backend->stream)
        cudaStreamDestroy(backend->stream);
    memory_free(backend);
}

/* Fails, with the reason, if there is no driver or GPU that this program can use. */
static bool find_device(Error *error)
{
    int count = 0, driver = 0, runtime = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    cudaGetLastError();
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (status == cudaErrorInsufficientDriver && driver == 0)
        return fail(error, "no NVIDIA driver: CUDA %d.%d: driver %s or newer was expected",
                    runtime / 1000, runtime % 1000 / 10, cuda_oldest_driver);
    if (status == cudaErrorInsufficientDriver)
        return fail(error,
                    "NVIDIA driver too old: it is for CUDA %d.%d: driver %s or newer was expected, "
                    "for CUDA %d.%d",
                    driver / 1000, driver % 1000 / 10, cuda_oldest_driver, runtime / 1000,
                    runtime % 1000 / 10);
    if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
        return fail(error, "no NVIDIA GPU: CUDA: the driver is there, but shows no device");
    if (status != cudaSuccess)
        return fail(error, "CUDA failed: cudaGetDeviceCount: %s (%s)", cudaGetErrorString(status),
                    cudaGetErrorName(status));
    return true;
}

/* Empty kernel; launching it shows whether the program contains code for this GPU. */
static __global__ void probe_kernel(bool)
{
}

static bool prepare(Backend *backend, const CudaOptions *options, const cudaDeviceProp *properties,
                    Error *error)
{
    const char *name = "opening the GPU";
    backend->fused = options->kernel == NNMF_KERNEL_FUSED;
    backend->precision = options->precision;
    backend->multiprocessors = properties->multiProcessorCount;
    backend->shared_limit = properties->sharedMemPerBlockOptin;
    int clusters = 0;
    if (!TRY(backend, name,
             cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, backend->device)) ||
        !TRY(backend, name, cudaStreamCreateWithFlags(&backend->stream, cudaStreamNonBlocking)))
        return finish(backend, error);
    backend->clusters = clusters != 0;
    LAUNCH(probe_kernel, 1, 1, 0, backend->stream, true);
    cudaError_t status = cudaGetLastError();
    if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion)
        return fail(error,
                    "unsupported GPU: %s, compute capability %d.%d: this program was not "
                    "built for it",
                    properties->name, properties->major, properties->minor);
    cuda_try(backend, name, "launch of probe_kernel", status);
    if (!cuda_open_cublas(backend, options->precision, error))
        return false;
    backend->block_counts = (unsigned *)cuda_allocate(
        backend, (BLOCK_COUNTS + 1) * sizeof *backend->block_counts, "counts of blocks", error);
    if (!backend->block_counts)
        return false;
    backend->grid_count = backend->block_counts + BLOCK_COUNTS;
    cuda_open_nnmf(backend);
    if (!cuda_open_adam(backend, error))
        return false;
    cuda_open_batchnorm(backend);
    return finish(backend, error);
}

bool device_open_cuda(Device *device, const CudaOptions *options, Error *error)
{
    static const Operations table = make_table();
    if (!find_device(error))
        return false;
    Backend *backend = (Backend *)memory_allocate(1, sizeof *backend, "the CUDA back end", error);
    if (!backend)
        return false;
    cudaDeviceProp properties;
    if (!TRY(backend, "opening the GPU", cudaSetDevice(0)) ||
        !TRY(backend, "opening the GPU", cudaGetDeviceProperties(&properties, 0))) {
        *error = backend->error;
        close_device(backend);
        return false;
    }
    if (!prepare(backend, options, &properties, error)) {
        close_device(backend);
        return false;
    }
    device->kind = DEVICE_CUDA;
    device->operations = &table;
    device->backend = backend;
    device->close = close_device;
    snprintf(device->description, sizeof device->description, "%.64s, CUDA, %s, %s",
             properties.name, nnmf_kernel_names[options->kernel],
             precision_names[options->precision]);
    return true;
}
