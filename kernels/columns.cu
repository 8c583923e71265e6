/* Sums over rows, for every column, from the sums of chunks of rows. */
#include "cuda.cuh"

static __global__ void add_chunks_kernel(const double *parts, unsigned chunks, int values,
                                         double *sums)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= values)
        return;
    double sum = 0.0;
    for (unsigned chunk = 0; chunk < chunks; chunk++)
        sum += parts[chunk * (unsigned)values + (unsigned)i];
    sums[i] = sum;
}

void cuda_add_chunks(Backend *backend, const char *operation, const double *parts, unsigned chunks,
                     int columns, double *sums)
{
    enum { THREADS = 64 };
    RUN(backend, operation, add_chunks_kernel, blocks_for((size_t)columns * 2, THREADS), THREADS,
        0, parts, chunks, columns * 2, sums);
}
