/* Launchers for the kernels of samples.cu: each is correct, or lacks what its name states. */
#ifndef CUDA_HOST_RACE_SAMPLES_H
#define CUDA_HOST_RACE_SAMPLES_H

#include <cuda_runtime_api.h>

/* Exchange through shared memory in one block of 64 threads; values (64). */
enum Exchange {
    EXCHANGE_RIGHT,
    EXCHANGE_WITHOUT_BARRIER,
    EXCHANGE_WITHOUT_SECOND_BARRIER /* before the memory is reused */
};
void sample_exchange(Exchange how, int *values, cudaStream_t stream);

/* Exchange between the lanes of a warp through shared memory; values (32). */
enum Warp {
    WARP_RIGHT,
    WARP_HALVES_RIGHT, /* each under its own mask */
    WARP_WITHOUT_SYNC,
    WARP_BY_SHUFFLE,
    WARP_BY_VOTE,
    WARP_BY_MMA,
    WARP_ACROSS_HALVES /* lanes outside the mask */
};
void sample_warp_exchange(Warp how, int *values, cudaStream_t stream);

/* Exchange between the shared memory of two blocks; values (64). */
enum Cluster { CLUSTER_RIGHT, CLUSTER_BY_BLOCK_BARRIER };
void sample_cluster_exchange(Cluster how, int *values, cudaStream_t stream);

/* A cooperative grid of three blocks: each stores a number and reads all; values (3), sums (3). */
enum Grid {
    GRID_RIGHT,
    GRID_WITHOUT_BARRIER,
    GRID_WITHOUT_FIRST_FENCE,
    GRID_WITHOUT_LAST_FENCE,
    GRID_WITH_PLAIN_READ, /* of the count */
    GRID_WITH_BLOCK_FENCES,
    GRID_BY_ATOMICS, /* and a fence after the last load */
    GRID_BY_RELAXED_ARRIVAL,
    GRID_BY_RELAXED_LOOKS
};
void sample_grid_exchange(Grid how, int *values, int *sums, unsigned *count, cudaStream_t stream);

/* The last of three blocks sums what all have stored; values (3 x 64), sum (1). */
enum Last {
    LAST_RIGHT,
    LAST_WITHOUT_FIRST_BARRIER,
    LAST_WITHOUT_FIRST_FENCE,
    LAST_WITHOUT_LAST_FENCE,
    LAST_WITHOUT_LAST_BARRIER,
    LAST_FENCE_BEFORE_BARRIER, /* by every thread: does not cover the writes of others */
    LAST_PLAIN_RESET,
    LAST_BY_ATOMIC, /* an acquire-release atomic, without fences */
    LAST_BY_RELEASE,
    LAST_BY_ACQUIRE
};
void sample_last_block(Last how, int *values, int *sum, unsigned *count, cudaStream_t stream);

/* One block sends a number; another waits for the first flag and reads the number; a third block
 * may pass the flag on, and may wait for the second flag to do so. value (1), got (1), flags (2).
 */
enum Message {
    MESSAGE_RIGHT,
    MESSAGE_BY_FENCES,    /* and relaxed atomics */
    MESSAGE_PASSED_ON,    /* by another's relaxed change of the flag */
    MESSAGE_STORED_AGAIN, /* by a relaxed store of the releasing thread */
    MESSAGE_READ_BEFORE,  /* by a relaxed read, then overwritten, then acquired */
    MESSAGE_WITHOUT_RELEASE,
    MESSAGE_WITHOUT_ACQUIRE,
    MESSAGE_IN_BLOCK_SCOPE,
    MESSAGE_STORED_OVER /* by another's relaxed store */
};
void sample_message(Message how, int *value, int *got, unsigned *flags, cudaStream_t stream);

/* The same between two warps of a block, with the scope of the block. */
enum BlockMessage { BLOCK_MESSAGE_RIGHT, BLOCK_MESSAGE_WITHOUT_FENCE };
void sample_block_message(BlockMessage how, int *value, int *got, unsigned *flag,
                          cudaStream_t stream);

/* Asynchronous copies of a block of 64 threads; in (128), out (64). */
enum Copy {
    COPY_RIGHT,
    COPY_TWO_GROUPS_RIGHT, /* the first is used while the second is in flight */
    COPY_WITHOUT_WAIT,
    COPY_WITHOUT_COMMIT,
    COPY_WAIT_FOR_TOO_FEW,
    COPY_WITHOUT_BARRIER, /* read by another thread */
    COPY_SOURCE_CHANGED   /* before the wait */
};
void sample_copy(Copy how, int *in, int *out, cudaStream_t stream);

/* Two blocks access the same bytes, neighbouring bytes, or a number; bytes (8). */
enum Bytes {
    BYTES_APART,
    BYTES_TOGETHER,
    BYTES_ATOMIC, /* all accesses to the number */
    BYTES_ATOMIC_AND_PLAIN,
    BYTES_READ_BY_ALL,
    BYTES_ATOMIC_IN_BLOCK_SCOPE,
    BYTES_CONSTANT,     /* read by __ldg and changed after a barrier */
    BYTES_CHANGED_LATER /* the same with a plain read: correct */
};
void sample_bytes(Bytes how, unsigned char *bytes, cudaStream_t stream);

/* Adds one to each of values (count). */
void sample_increment(int *values, int count, cudaStream_t stream);

#endif
