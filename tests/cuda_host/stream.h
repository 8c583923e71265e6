/* Streams, events and captures as stream.cc and graph.cc share them. */
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

/* What a capture records: work for a stream, the record of an event in it, or its wait for one. */
struct Node {
    unsigned stream; /* by its number */
    Work work;
    std::shared_ptr<Mark> recorded, awaited;
};

/* What is submitted between the begin and the end of a capture, in that order. */
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
    std::shared_ptr<Capture> capture; /* recorded under it */
    size_t works;                     /* that the stream had submitted to it */
    race::Past past;                  /* of the stream, once it is done */
};

struct Operation {
    uint64_t serial; /* in the order of submission to all streams */
    Work work;
    std::shared_ptr<Mark> awaited;
    race::Past host; /* at its submission */
};

/* Under capture: nothing is queued. */
cudaError_t record_wait(cudaStream_t stream, const std::shared_ptr<Mark> &mark);
cudaError_t record_work(cudaStream_t stream, Work work);
cudaError_t record_mark(cudaStream_t stream, const std::shared_ptr<Mark> &mark);
cudaError_t refuse_legacy_work(); /* if it would meet a capture */
void leave_capture(cudaStream_t stream);

race::Past *stream_past(cudaStream_t stream); /* of NULL too */

} // namespace cuda_host

struct CUstream_st {
    bool blocking; /* takes turns with the legacy stream */
    std::deque<cuda_host::Operation> queue;
    std::shared_ptr<cuda_host::Capture> capture;
    size_t works, joined; /* submitted to the capture, and those its origin has waited for */
    unsigned number;      /* of all streams, from 1 */
    cuda_host::race::Past past;
};

struct CUevent_st {
    bool timing;
    std::shared_ptr<cuda_host::Mark> mark;
};

#endif
