/* Transfers: asynchronous copies from the GPU to pinned host memory, queued on the stream of the
 * operations, between two of them. */
#include "cuda.cuh"

#include "nnmf/memory.h"

#include <string.h>

struct Transfer {
    void *host;
    cudaEvent_t done; /* the last copy is done */
};

static bool allocate_host(Backend *backend, size_t bytes, const char *what, void **host,
                          Error *error)
{
    cudaError_t status = cudaHostAlloc(host, bytes, cudaHostAllocDefault);
    if (status != cudaErrorMemoryAllocation)
        return cuda_try(backend, what, "cudaHostAlloc", status);
    cudaGetLastError(); /* clears the error, or the next launch would report it again */
    return fail(
        error,
        "out of pinned memory: %s: %zu bytes were asked for: other programs may have pinned "
        "too much",
        what, bytes);
}

static void close_transfer(Backend *backend, Transfer *transfer)
{
    if (!transfer)
        return;
    if (transfer->done) {
        /* Waits for the stream: if recording the event failed, it does not cover the last copy. */
        TRY(backend, "closing a transfer", cudaStreamSynchronize(backend->stream));
        TRY(backend, "closing a transfer", cudaEventDestroy(transfer->done));
    }
    if (transfer->host)
        TRY(backend, "closing a transfer", cudaFreeHost(transfer->host));
    memory_free(transfer);
}

static Transfer *open_transfer(Backend *backend, size_t bytes, const char *what, void **host,
                               Error *error)
{
    Transfer *transfer = (Transfer *)memory_allocate(1, sizeof *transfer, what, error);
    if (!transfer)
        return NULL;
    const unsigned flags = cudaEventDisableTiming;
    if (allocate_host(backend, bytes, what, &transfer->host, error) &&
        TRY(backend, what, cudaEventCreateWithFlags(&transfer->done, flags))) {
        *host = transfer->host;
        return transfer;
    }
    if (backend->error.status != STATUS_OK) {
        *error = backend->error;
        memset(&backend->error, 0, sizeof backend->error);
    }
    close_transfer(backend, transfer);
    return NULL;
}

static void fetch(Backend *backend, Transfer *transfer, size_t offset, const void *device,
                  size_t bytes)
{
    char *host = (char *)transfer->host + offset;
    TRY(backend, "fetching",
        cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, backend->stream));
    TRY(backend, "fetching", cudaEventRecord(transfer->done, backend->stream));
}

static bool arrived(Backend *backend, Transfer *transfer, bool *yes, Error *error)
{
    cudaError_t status = cudaEventQuery(transfer->done);
    *yes = status == cudaSuccess;
    if (status == cudaErrorNotReady)
        cudaGetLastError(); /* not a failure: clears it, or the next launch would report it */
    else
        cuda_try(backend, "asking for the end of a transfer", "cudaEventQuery", status);
    if (backend->error.status == STATUS_OK)
        return true;
    *error = backend->error;
    memset(&backend->error, 0, sizeof backend->error);
    return false;
}

void cuda_transfer_table(Operations *table)
{
    table->open_transfer = open_transfer;
    table->close_transfer = close_transfer;
    table->fetch = fetch;
    table->arrived = arrived;
}
