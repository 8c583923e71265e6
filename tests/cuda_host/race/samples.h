/* Launchers of samples.cu's kernels: each is right, or leaves out what its name says. */
#ifndef CUDA_HOST_RACE_SAMPLES_H
#define CUDA_HOST_RACE_SAMPLES_H

#include <cuda_runtime_api.h>

/* Through shared memory, of one block of 64 threads; values (64). */
enum Exchange {
    EXCHANGE_RIGHT,
    EXCHANGE_WITHOUT_BARRIER,
    EXCHANGE_WITHOUT_SECOND_BARRIER /* before the memory is used again */
};
void sample_exchange(Exchange how, int *values, cudaStream_t stream);

/* Between the lanes of a warp through shared memory; values (32). */
enum Warp {
    WARP_RIGHT,
    WARP_HALVES_RIGHT, /* each under its own mask */
    WARP_WITHOUT_SYNC,
    WARP_BY_SHUFFLE,
    WARP_BY_VOTE,
    WARP_BY_MMA,
    WARP_ACROSS_HALVES /* what the mask did not name */
};
void sample_warp_exchange(Warp how, int *values, cudaStream_t stream);

/* Between the shared memory of two blocks; values (64). */
enum Cluster { CLUSTER_RIGHT, CLUSTER_BY_BLOCK_BARRIER };
void sample_cluster_exchange(Cluster how, int *values, cudaStream_t stream);

/* A cooperative grid of three blocks: each leaves a number, and reads all; values (3), sums (3). */
enum Grid {
    GRID_RIGHT,
    GRID_WITHOUT_BARRIER,
    GRID_WITHOUT_FIRST_FENCE,
    GRID_WITHOUT_LAST_FENCE,
    GRID_WITH_PLAIN_READ, /* of the count */
    GRID_WITH_BLOCK_FENCES,
    GRID_BY_ATOMICS, /* and a fence behind the last look */
    GRID_BY_RELAXED_ARRIVAL,
    GRID_BY_RELAXED_LOOKS
};
void sample_grid_exchange(Grid how, int *values, int *sums, unsigned *count, cudaStream_t stream);

/* The last of three blocks adds what all have left; values (3 x 64), sum (1). */
enum Last {
    LAST_RIGHT,
    LAST_WITHOUT_FIRST_BARRIER,
    LAST_WITHOUT_FIRST_FENCE,
    LAST_WITHOUT_LAST_FENCE,
    LAST_WITHOUT_LAST_BARRIER,
    LAST_FENCE_BEFORE_BARRIER, /* by every thread: says nothing of the others' writes */
    LAST_PLAIN_RESET,
    LAST_BY_ATOMIC, /* that acquires and releases, without fences */
    LAST_BY_RELEASE,
    LAST_BY_ACQUIRE
};
void sample_last_block(Last how, int *values, int *sum, unsigned *count, cudaStream_t stream);

/* One block sends a number, another waits for the first flag and reads it; a third may pass the
 * flag on, for which it may wait for the second. value (1), got (1), flags (2). */
enum Message {
    MESSAGE_RIGHT,
    MESSAGE_BY_FENCES,    /* and relaxed atomics */
    MESSAGE_PASSED_ON,    /* by another's relaxed change of the flag */
    MESSAGE_STORED_AGAIN, /* by a relaxed store of the thread that has released */
    MESSAGE_READ_BEFORE,  /* by a relaxed read, then stored over, then acquired */
    MESSAGE_WITHOUT_RELEASE,
    MESSAGE_WITHOUT_ACQUIRE,
    MESSAGE_IN_BLOCK_SCOPE,
    MESSAGE_STORED_OVER /* by another's relaxed store */
};
void sample_message(Message how, int *value, int *got, unsigned *flags, cudaStream_t stream);

/* The same between two warps of a block, in the scope of a block. */
enum BlockMessage { BLOCK_MESSAGE_RIGHT, BLOCK_MESSAGE_WITHOUT_FENCE };
void sample_block_message(BlockMessage how, int *value, int *got, unsigned *flag,
                          cudaStream_t stream);

/* Asynchronous copies of a block of 64 threads; in (128), out (64). */
enum Copy {
    COPY_RIGHT,
    COPY_TWO_GROUPS_RIGHT, /* the first is used while the second is under way */
    COPY_WITHOUT_WAIT,
    COPY_WITHOUT_COMMIT,
    COPY_WAIT_FOR_TOO_FEW,
    COPY_WITHOUT_BARRIER, /* read by another thread */
    COPY_SOURCE_CHANGED   /* before the wait */
};
void sample_copy(Copy how, int *in, int *out, cudaStream_t stream);

/* Two blocks at the same or at neighbouring bytes, or at a number; bytes (8). */
enum Bytes {
    BYTES_APART,
    BYTES_TOGETHER,
    BYTES_ATOMIC, /* all that touch the number */
    BYTES_ATOMIC_AND_PLAIN,
    BYTES_READ_BY_ALL,
    BYTES_ATOMIC_IN_BLOCK_SCOPE,
    BYTES_CONSTANT,     /* read by __ldg, and changed after a barrier */
    BYTES_CHANGED_LATER /* the same by a plain read: right */
};
void sample_bytes(Bytes how, unsigned char *bytes, cudaStream_t stream);

/* Adds one to each; values (count). */
void sample_increment(int *values, int count, cudaStream_t stream);

#endif
