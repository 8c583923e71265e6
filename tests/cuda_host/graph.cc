/* Captures of streams, and graphs: the recorded calls in order. */
#include "stream.h"

#include <algorithm>
#include <map>

struct CUgraph_st {
    std::vector<cuda_host::Node> nodes;
    unsigned origin; /* number of the captured stream */
};

struct CUgraphExec_st {
    std::shared_ptr<const std::vector<cuda_host::Node>> nodes;
    unsigned origin;
    bool uploaded;
};

namespace cuda_host
{

static std::vector<std::shared_ptr<Capture>> captures; /* begun and not ended */
static unsigned long cold_launches;

void reset_graphs()
{
    cold_launches = 0;
}

bool capturing(cudaStream_t stream)
{
    return stream && stream->capture;
}

bool any_capture()
{
    for (const auto &capture : captures)
        if (capture->mode != cudaStreamCaptureModeRelaxed)
            return true;
    return false;
}

void invalidate_captures()
{
    for (const auto &capture : captures)
        if (capture->mode != cudaStreamCaptureModeRelaxed)
            capture->valid = false;
}

cudaError_t refuse_legacy_work()
{
    for (const auto &capture : captures)
        if (capture->origin->blocking) {
            capture->valid = false;
            return cudaErrorStreamCaptureImplicit;
        }
    return cudaSuccess;
}

cudaError_t record_work(cudaStream_t stream, Work work)
{
    if (!stream->capture->valid)
        return cudaErrorStreamCaptureInvalidated;
    stream->capture->nodes.push_back({stream->number, std::move(work), nullptr, nullptr});
    stream->works++;
    return cudaSuccess;
}

cudaError_t record_mark(cudaStream_t stream, const std::shared_ptr<Mark> &mark)
{
    stream->capture->nodes.push_back({stream->number, nullptr, mark, nullptr});
    return cudaSuccess;
}

static void join(cudaStream_t stream, const std::shared_ptr<Capture> &capture)
{
    stream->capture = capture;
    stream->works = 1; /* the wait itself must be waited for */
    stream->joined = 0;
    capture->forks.push_back(stream);
}

cudaError_t record_wait(cudaStream_t stream, const std::shared_ptr<Mark> &mark)
{
    if (!capturing(stream)) {
        if (!stream)
            return refuse_legacy_work();
        if (!mark->capture->valid)
            return cudaErrorStreamCaptureInvalidated;
        if (std::find(captures.begin(), captures.end(), mark->capture) == captures.end())
            return cudaErrorCapturedEvent; /* of a capture that has ended */
        join(stream, mark->capture);
        stream->capture->nodes.push_back({stream->number, nullptr, nullptr, mark});
        return cudaSuccess;
    }
    if (!stream->capture->valid)
        return cudaErrorStreamCaptureInvalidated;
    if (!mark || mark->capture != stream->capture) {
        stream->capture->valid = false;
        return cudaErrorStreamCaptureIsolation;
    }
    /* The nodes are in the order of their submission, which satisfies all such dependencies. */
    stream->capture->nodes.push_back({stream->number, nullptr, nullptr, mark});
    if (mark->stream != stream)
        mark->stream->joined = std::max(mark->stream->joined, mark->works);
    return cudaSuccess;
}

/* Ends the capture for all of its streams. */
static cudaError_t end_capture(Capture &capture)
{
    bool joined = true;
    for (cudaStream_t fork : capture.forks) {
        joined = joined && fork->joined == fork->works;
        fork->capture = nullptr;
    }
    capture.origin->capture = nullptr;
    capture.forks.clear();
    for (size_t i = 0; i < captures.size(); i++)
        if (captures[i].get() == &capture) {
            captures.erase(captures.begin() + long(i));
            break;
        }
    if (!capture.valid || !joined)
        capture.nodes.clear(); /* their marks own the capture */
    if (!capture.valid)
        return cudaErrorStreamCaptureInvalidated;
    return joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined;
}

void leave_capture(cudaStream_t stream)
{
    std::shared_ptr<Capture> capture = stream->capture;
    if (!capture)
        return;
    capture->valid = false;
    if (capture->origin == stream) {
        end_capture(*capture);
        return;
    }
    stream->capture = nullptr;
    capture->forks.erase(std::find(capture->forks.begin(), capture->forks.end(), stream));
}

/* Runs the nodes one after another. past: of the stream of the launch, which takes the role of the
 * captured stream; other streams take part by waiting for each other's events. */
static void run_nodes(const std::vector<Node> &nodes, unsigned origin, race::Past &past)
{
    std::map<unsigned, race::Past> streams;
    std::map<Mark *, race::Past> marks;
    for (const Node &node : nodes) {
        race::Past &own = streams.emplace(node.stream, past).first->second;
        if (node.awaited)
            race::learn(own, marks[node.awaited.get()]);
        if (node.recorded)
            marks[node.recorded.get()] = own;
        if (node.work) {
            race::Task task(own, node.stream);
            node.work();
        }
    }
    race::learn(past, streams[origin]);
}

} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    return call(Capturing::allowed, [&] {
        if (!stream)
            return cudaErrorStreamCaptureUnsupported;
        if (stream->capture)
            return cudaErrorIllegalState;
        stream->capture = std::make_shared<Capture>();
        stream->capture->origin = stream;
        stream->capture->mode = mode;
        stream->capture->valid = true;
        stream->works = stream->joined = 0;
        captures.push_back(stream->capture);
        return cudaSuccess;
    });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = nullptr;
    cudaGraph_t recorded = nullptr;
    cudaError_t error = call_freeing(Capturing::allowed, [&] {
        if (!capturing(stream))
            return cudaErrorIllegalState;
        std::shared_ptr<Capture> capture = stream->capture;
        if (capture->origin != stream) {
            capture->valid = false;
            return cudaErrorStreamCaptureUnmatched;
        }
        cudaError_t ended = end_capture(*capture);
        if (ended == cudaSuccess)
            recorded = new CUgraph_st{std::move(capture->nodes), stream->number};
        return ended;
    });
    if (error == cudaSuccess)
        *graph = recorded;
    else
        delete recorded;
    return error;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long)
{
    return call(Capturing::allowed, [&] {
        if (!graph)
            return cudaErrorInvalidValue;
        *executable = new CUgraphExec_st{std::make_shared<std::vector<Node>>(graph->nodes),
                                         graph->origin, false};
        return cudaSuccess;
    });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream)
{
    return call(Capturing::fails, [&] {
        if (!executable)
            return cudaErrorInvalidValue;
        executable->uploaded = true;
        return submit(stream, [] {});
    });
}

unsigned long cuda_host_cold_graph_launches(void)
{
    return cold_launches;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream)
{
    return call(Capturing::allowed, [&] {
        if (!executable)
            return cudaErrorInvalidValue;
        cold_launches += !executable->uploaded;
        executable->uploaded = true; /* a launch uploads it if necessary */
        return submit(stream, [nodes = executable->nodes, origin = executable->origin,
                               past = stream_past(stream)] { run_nodes(*nodes, origin, *past); });
    });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
    return call_freeing(Capturing::allowed, [&] {
        delete executable;
        return executable ? cudaSuccess : cudaErrorInvalidValue;
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    return call_freeing(Capturing::allowed, [&] {
        delete graph;
        return graph ? cudaSuccess : cudaErrorInvalidValue;
    });
}
