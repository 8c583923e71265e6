/* Replaces CUDA's <cuda_pipeline.h>: a thread's asynchronous copies to shared memory. */
#ifndef CUDA_HOST_CUDA_PIPELINE_H
#define CUDA_HOST_CUDA_PIPELINE_H

#include <cstddef>

namespace cuda_host
{

/* In copies.cc. Each copy runs as late as possible. */
void copy_asynchronously(void *to, const void *from, size_t bytes, size_t zeros);
void commit_copies();
void wait_for_copies(unsigned left); /* except the last `left` committed groups */

} // namespace cuda_host

/* bytes: 4, 8 or 16; both addresses must be aligned to it. The last `zeros` bytes are not read but
 * set to 0. */
inline void __pipeline_memcpy_async(void *shared, const void *global, size_t bytes,
                                    size_t zeros = 0)
{
    cuda_host::copy_asynchronously(shared, global, bytes, zeros);
}

inline void __pipeline_commit()
{
    cuda_host::commit_copies();
}

inline void __pipeline_wait_prior(unsigned left)
{
    cuda_host::wait_for_copies(left);
}

#endif
