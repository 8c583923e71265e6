/* Launchers for the kernels of sample.cu; each checks its launch and returns the error. */
#ifndef CUDA_HOST_SAMPLE_H
#define CUDA_HOST_SAMPLE_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SAMPLE_WARP_RESULTS = 12 };

/* out[block] = the sum of 256 values; values beyond `count` are 0. */
cudaError_t sample_block_sum(const float *in, int count, float *out, cudaStream_t stream);
/* The same for doubles, with another kernel of the same template. */
cudaError_t sample_block_sum_double(const double *in, int count, double *out, cudaStream_t stream);
cudaError_t sample_transpose(const float *in, int rows, int columns, float *out,
                             cudaStream_t stream);
cudaError_t sample_scale(float *values, int count, float factor, cudaStream_t stream);
/* out (32, SAMPLE_WARP_RESULTS): the result of every warp function in every lane. */
cudaError_t sample_warp(unsigned *out, cudaStream_t stream);
/* out[block] = the number of odd threads, from __syncthreads_count and _or; counts all threads of
 * the grid in `total`. */
cudaError_t sample_count(int blocks, int threads, int *out, unsigned *total, cudaStream_t stream);
/* Reverses each block's part of `values` through shared memory, with or without a barrier. */
cudaError_t sample_reverse(int *values, int blocks, int barrier, cudaStream_t stream);
/* Copies the initial contents of a block's shared memory, then fills it. */
cudaError_t sample_unset(float *out, int blocks, cudaStream_t stream);
/* `rounds` barriers in every thread. */
cudaError_t sample_barriers(int *out, int blocks, int threads, int rounds, cudaStream_t stream);
/* Blocks of 40 threads in clusters: out (blocks, cluster, 40) are the values that every block of
 * the cluster stores in its shared memory, 100 times its number plus the thread. */
cudaError_t sample_cluster(int *out, int cluster, int blocks, cudaStream_t stream);
/* Returns the number of such clusters that the device holds. */
cudaError_t sample_cluster_room(int cluster, int *clusters);
/* A cooperative grid (columns, rows) of blocks of 64 threads, three times: parts (3, blocks) are
 * the blocks' numbers, from 1, times 1, 2 and 4; out (3, blocks, 64) their sums; with or without a
 * barrier. */
cudaError_t sample_grid(int *parts, unsigned *count, int columns, int rows, int barrier, int *out,
                        cudaStream_t stream);
/* Returns the number of these blocks that a multiprocessor holds. */
cudaError_t sample_grid_room(int *blocks);
/* Writes the given element of a dynamic or static array of 64. */
cudaError_t sample_overrun(int index, int dynamic, cudaStream_t stream);
/* Uses `bytes` of dynamic shared memory. */
cudaError_t sample_shared_bytes(size_t bytes, float *out, cudaStream_t stream);
cudaError_t sample_allow_shared_bytes(int bytes);
/* A kernel without parameters. */
cudaError_t sample_nothing(cudaStream_t stream);

/* ---- wrong on purpose ---- */
cudaError_t sample_exit_before_barrier(int threads, cudaStream_t stream);
cudaError_t sample_two_barriers(int *out, cudaStream_t stream);
cudaError_t sample_absent_lane(float *out, cudaStream_t stream);
/* Reads the shared memory of another block, which may have ended. */
cudaError_t sample_early_end(int *out, cudaStream_t stream);
/* One block of the cluster does not reach the barrier. */
cudaError_t sample_absent_block(cudaStream_t stream);
/* One block of a cooperative grid does not reach the barrier: it ends, or waits elsewhere. */
cudaError_t sample_absent_from_grid(unsigned *count, int waits, cudaStream_t stream);
/* A grid barrier in a launch that is not cooperative. */
cudaError_t sample_alone_at_grid_barrier(unsigned *count, cudaStream_t stream);
/* A cluster barrier in a cooperative launch. */
cudaError_t sample_cluster_in_grid(cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
