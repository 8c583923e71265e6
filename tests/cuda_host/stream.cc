/*
 * Streams queue work until the host waits for it. Only the work that must be done by then is run,
 * so that missing dependencies between streams are detected.
 */
#include "stream.h"

#include <algorithm>
#include <chrono>

namespace cuda_host
{

static CUstream_st legacy = {false, {}, nullptr, 0, 0, race::legacy_stream, {}};
static uint64_t submitted;

/* Complements of addresses, so that a stream that is never destroyed is reported as a leak. */
static std::vector<uintptr_t> streams;

static uintptr_t hidden(cudaStream_t stream)
{
    return ~reinterpret_cast<uintptr_t>(stream);
}

static cudaStream_t shown(uintptr_t stream)
{
    return reinterpret_cast<cudaStream_t>(~stream);
}

static cudaStream_t real(cudaStream_t stream)
{
    return stream ? stream : &legacy;
}

race::Past *stream_past(cudaStream_t stream)
{
    return &real(stream)->past;
}

static void run_until(cudaStream_t stream, uint64_t serial)
{
    while (!stream->queue.empty() && stream->queue.front().serial <= serial) {
        Operation operation = std::move(stream->queue.front());
        stream->queue.pop_front();
        /* These wait only for work submitted even earlier, so there is no cycle. */
        if (stream == &legacy) {
            for (uintptr_t other : streams)
                if (shown(other)->blocking) {
                    run_until(shown(other), operation.serial);
                    race::learn(stream->past, shown(other)->past);
                }
        } else if (stream->blocking) {
            run_until(&legacy, operation.serial);
            race::learn(stream->past, legacy.past);
        }
        race::learn(stream->past, operation.host);
        if (operation.awaited) {
            if (!operation.awaited->done)
                run_until(operation.awaited->stream, operation.awaited->serial);
            race::learn(stream->past, operation.awaited->past);
        }
        if (operation.work && !context_broken()) {
            race::Task task(stream->past, stream->number);
            operation.work();
        }
    }
}

/* Called from outside all work. */
static void run_opened(cudaStream_t stream, uint64_t serial)
{
    if (stream->queue.empty() || stream->queue.front().serial > serial)
        return;
    open_device_memory(true);
    run_until(stream, serial);
    open_device_memory(false);
}

void run_stream(cudaStream_t stream)
{
    if (!stream) /* waits for the blocking streams even if it is empty */
        legacy.queue.push_back({++submitted, nullptr, nullptr, {}});
    run_opened(real(stream), UINT64_MAX);
    race::host_learns(real(stream)->past);
}

void run_all_queues()
{
    std::vector<unsigned> order(streams.size());
    for (size_t i = 0; i < order.size(); i++)
        order[i] = unsigned(i);
    shuffle_order(order.data(), order.size());
    for (unsigned i : order)
        run_opened(shown(streams[i]), UINT64_MAX);
    run_opened(&legacy, UINT64_MAX);
}

void run_everything()
{
    run_all_queues();
    for (uintptr_t stream : streams)
        race::host_learns(shown(stream)->past);
    race::host_learns(legacy.past);
}

static cudaError_t queue(cudaStream_t stream, Work work, std::shared_ptr<Mark> awaited)
{
    if (!stream) {
        cudaError_t error = refuse_legacy_work();
        if (error != cudaSuccess)
            return error;
    }
    real(stream)->queue.push_back(
        {++submitted, std::move(work), std::move(awaited), race::host_submits()});
    return cudaSuccess;
}

cudaError_t submit(cudaStream_t stream, Work work)
{
    if (capturing(stream))
        return record_work(stream, std::move(work));
    return queue(stream, std::move(work), nullptr);
}

static double now()
{
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaDeviceSynchronize(void)
{
    return call(Capturing::fails, [&] {
        count_wait();
        run_everything();
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags)
{
    return call(Capturing::allowed, [&] {
        if (flags > cudaStreamNonBlocking)
            return cudaErrorInvalidValue;
        *stream = new CUstream_st();
        (*stream)->blocking = flags == cudaStreamDefault;
        (*stream)->number = race::new_stream();
        streams.push_back(hidden(*stream));
        return cudaSuccess;
    });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    return call_freeing(Capturing::allowed, [&] {
        if (!stream)
            return cudaErrorInvalidResourceHandle;
        leave_capture(stream);
        run_opened(stream, UINT64_MAX); /* the host does not wait */
        streams.erase(std::find(streams.begin(), streams.end(), hidden(stream)));
        delete stream;
        return cudaSuccess;
    });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return call(Capturing::fails, [&] {
        if (capturing(stream)) {
            stream->capture->valid = false;
            return cudaErrorStreamCaptureUnsupported;
        }
        count_wait();
        run_stream(stream);
        return cudaSuccess;
    });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int)
{
    return call(Capturing::allowed, [&] {
        if (!event)
            return cudaErrorInvalidResourceHandle;
        if (!event->mark && !capturing(stream))
            return cudaSuccess;
        if (capturing(stream) || event->mark->capture)
            return record_wait(stream, event->mark);
        return queue(stream, nullptr, event->mark);
    });
}

static cudaError_t create_event(cudaEvent_t *event, unsigned flags)
{
    return call(Capturing::allowed, [&] {
        *event = new CUevent_st();
        (*event)->timing = !(flags & cudaEventDisableTiming);
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return create_event(event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
    return create_event(event, flags);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return call(Capturing::allowed, [&] {
        if (!event)
            return cudaErrorInvalidResourceHandle;
        auto mark = std::make_shared<Mark>();
        mark->stream = real(stream);
        if (capturing(stream)) {
            if (!stream->capture->valid)
                return cudaErrorStreamCaptureInvalidated;
            mark->capture = stream->capture;
            mark->works = stream->works;
            event->mark = mark;
            return record_mark(stream, mark);
        }
        mark->serial = submitted + 1;
        cudaError_t error = queue(
            stream,
            [mark] {
                mark->done = true;
                mark->seconds = now();
                mark->past = mark->stream->past;
            },
            nullptr);
        if (error == cudaSuccess)
            event->mark = mark;
        return error;
    });
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return call(Capturing::fails, [&] {
        if (!event)
            return cudaErrorInvalidResourceHandle;
        if (event->mark && event->mark->done)
            race::host_learns(event->mark->past);
        if (!event->mark || event->mark->done)
            return cudaSuccess;
        if (event->mark->capture)
            return cudaErrorCapturedEvent;
        /* Polling makes progress, step by step. */
        static unsigned polls;
        cudaStream_t stream = event->mark->stream;
        if (++polls % device.polls == 0)
            run_opened(stream, stream->queue.front().serial);
        return cudaErrorNotReady;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return call(Capturing::fails, [&] {
        if (!event)
            return cudaErrorInvalidResourceHandle;
        if (event->mark && event->mark->capture)
            return cudaErrorCapturedEvent;
        count_wait();
        if (event->mark && !event->mark->done)
            run_opened(event->mark->stream, event->mark->serial);
        if (event->mark)
            race::host_learns(event->mark->past);
        return cudaSuccess;
    });
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end)
{
    return call(Capturing::allowed, [&] {
        if (!begin || !end || !begin->mark || !end->mark || !begin->timing || !end->timing)
            return cudaErrorInvalidResourceHandle;
        if (!begin->mark->done || !end->mark->done)
            return cudaErrorNotReady;
        *milliseconds = float(1e3 * (end->mark->seconds - begin->mark->seconds));
        return cudaSuccess;
    });
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    return call_freeing(Capturing::allowed, [&] {
        if (!event)
            return cudaErrorInvalidResourceHandle;
        delete event;
        return cudaSuccess;
    });
}
