/* Streams, events and captures, shared by stream.cc and graph.cc. */
#ifndef CUDA_HOST_STREAM_H
#define CUDA_HOST_STREAM_H

#include "internal.h"
#include "race/race.h"

#include <deque>
#include <memory>
#include <vector>

namespace cuda_host
{

using Work = std::function<void()>;

struct Mark;

/* An entry of a capture: work for a stream, the record of an event, or the wait for one. */
struct Node {
    unsigned stream; /* number */
    Work work;
    std::shared_ptr<Mark> recorded, awaited;
};

/* The work submitted between the beginning and the end of a capture, in order. */
struct Capture {
    cudaStream_t origin;
    cudaStreamCaptureMode mode;
    bool valid;
    std::vector<Node> nodes;
    std::vector<cudaStream_t> forks; /* streams that joined it by waiting for its events */
};

/* One record of an event. */
struct Mark {
    cudaStream_t stream;
    uint64_t serial;
    bool done;
    double seconds;
    std::shared_ptr<Capture> capture; /* that it was recorded in */
    size_t works;                     /* submitted to it by the stream at that time */
    race::Past past;                  /* of the stream, once done */
};

struct Operation {
    uint64_t serial; /* in the order of submission to all streams */
    Work work;
    std::shared_ptr<Mark> awaited;
    race::Past host; /* at its submission */
};

/* During a capture: record instead of queueing. */
cudaError_t record_wait(cudaStream_t stream, const std::shared_ptr<Mark> &mark);
cudaError_t record_work(cudaStream_t stream, Work work);
cudaError_t record_mark(cudaStream_t stream, const std::shared_ptr<Mark> &mark);
cudaError_t refuse_legacy_work(); /* fails if it would depend on a capture */
void leave_capture(cudaStream_t stream);

race::Past *stream_past(cudaStream_t stream); /* NULL: the legacy stream */

} // namespace cuda_host

struct CUstream_st {
    bool blocking; /* synchronises with the legacy stream */
    std::deque<cuda_host::Operation> queue;
    std::shared_ptr<cuda_host::Capture> capture;
    size_t works, joined; /* submitted to the capture; waited for by its origin */
    unsigned number;      /* among all streams, from 1 */
    cuda_host::race::Past past;
};

struct CUevent_st {
    bool timing;
    std::shared_ptr<cuda_host::Mark> mark;
};

#endif
