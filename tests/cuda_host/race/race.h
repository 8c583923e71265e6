/*
 * The race detector finds races: two unordered accesses to the same bytes, at least one of them a
 * write, whatever order they happened to run in. Every thread of a grid has a vector clock;
 * barriers, fences and atomics update clocks by the "Memory Consistency Model" of the PTX ISA, and
 * streams, events and waits of the host by the CUDA Programming Guide. The compiler reports the
 * accesses: the kernels are compiled with -fsanitize=thread, whose calls are implemented in
 * tsan.cc.
 *
 * Only what is reported through these functions establishes order. Only builds with
 * NNMF_SANITIZE=thread look for races; in others off.cc implements the functions, and they do
 * nothing.
 */
#ifndef CUDA_HOST_RACE_H
#define CUDA_HOST_RACE_H

#include "../atomics.h"

#include "clock.h"

#include <cstddef>
#include <vector>

namespace cuda_host
{

struct Launch;

namespace race
{

extern const bool on;

/* ---- order.cc: streams and the host ---- */

/* The work that is complete at a point of a stream or of the host: the number of operations of
 * every stream, by its number; and of the host's tasks, each between two submissions. */
using Past = std::vector<uint32_t>;

const unsigned host_stream = 0, legacy_stream = 1;
unsigned new_stream(); /* returns its number, from 2 */
void learn(Past &past, const Past &more);
Past host_submits(); /* returns everything that the host has done so far */
void host_learns(const Past &past);

/* An operation of a stream while it runs. past: that of the stream, to which the destructor adds
 * the operation. */
class Task
{
  public:
    Task(Past &past, unsigned stream);
    ~Task();
};
void task_is(const char *what);         /* describes the running task, for reports */
void grid_begins(const Launch &launch); /* likewise */
void grid_ends();

/* ---- order.cc: threads ---- */

struct Thread {
    unsigned number, block; /* within the grid */
    uint32_t epoch;
    Clock known;
    /* By scope (block, device): the clock at the last fence, and what atomics have added since,
     * which takes effect at the next fence. */
    Clock fenced[2], observed[2];
    uint32_t copies; /* current group of asynchronous copies, from 1 */
};
void thread_begins(Thread &thread, unsigned number, unsigned block);
void thread_goes_on(Thread *thread);             /* NULL: none */
void meet(const std::vector<Thread *> &threads); /* all arrive before any continues */
void fence(MemoryOrder order, Scope scope);
/* place: the address of the code. */
void atomic(const void *address, size_t bytes, Action action, MemoryOrder order, Scope scope,
            uintptr_t place);
/* Records an asynchronous copy of `bytes` bytes that reads the first `read` of them. It is complete
 * for the thread once it has waited for the copy's group: a wait covers all committed groups except
 * the last `left`. */
void copy_asynchronously(const void *to, const void *from, size_t bytes, size_t read,
                         uintptr_t place);
void commit_copies();
void wait_for_copies(unsigned left);

/* ---- shadow.cc: memory ---- */

void track(const void *memory, size_t bytes, const char *what); /* not accessed yet */
void forget(const void *memory);
void frees(const void *memory); /* by the host: nothing may still access it; forgets it */
/* By the running operation, as a whole. */
void reads(const void *memory, size_t bytes);
void writes(const void *memory, size_t bytes);
/* By __ldg: the memory must not change while the kernel runs. */
void reads_constant(const void *memory, size_t bytes, uintptr_t place);

} // namespace race
} // namespace cuda_host

#endif
