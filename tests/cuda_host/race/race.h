/*
 * Finds races: two accesses to the same bytes, one of them a write, that nothing orders, whatever
 * the order they happened to run in. Every thread of a grid has a vector clock; barriers, fences
 * and atomics pass knowledge between clocks as the PTX ISA's "Memory Consistency Model" says, and
 * streams, events and waits of the host do as the CUDA Programming Guide says. The compiler reports
 * the accesses: the kernels are compiled with -fsanitize=thread, whose calls end in tsan.cc.
 *
 * Nothing orders but what is told here. Only a build with NNMF_SANITIZE=thread looks for races: in
 * others off.cc has these functions, and they do nothing.
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

/* What is over at a point of a stream or of the host: of every stream, by its number, how many
 * operations; of the host, how many of its turns between two submissions. */
using Past = std::vector<uint32_t>;

const unsigned host_stream = 0, legacy_stream = 1;
unsigned new_stream(); /* its number, from 2 */
void learn(Past &past, const Past &more);
Past host_submits(); /* all that the host has done until now */
void host_learns(const Past &past);

/* An operation of a stream while it runs; `past` is the stream's, and has the operation at the
 * end. */
class Task
{
  public:
    Task(Past &past, unsigned stream);
    ~Task();
};
void task_is(const char *what);         /* the one that runs, for reports */
void grid_begins(const Launch &launch); /* likewise */
void grid_ends();

/* ---- order.cc: threads ---- */

struct Thread {
    unsigned number, block; /* within the grid */
    uint32_t epoch;
    Clock known;
    /* By scope, of the block and of the device: what was known at the last fence, and what atomics
     * have brought since, which a fence makes known. */
    Clock fenced[2], observed[2];
    uint32_t copies; /* the group of asynchronous copies that is being filled, from 1 */
};
void thread_begins(Thread &thread, unsigned number, unsigned block);
void thread_goes_on(Thread *thread);             /* NULL: none */
void meet(const std::vector<Thread *> &threads); /* all come before any goes on */
void fence(MemoryOrder order, Scope scope);
/* `place`: the address of the code that does it. */
void atomic(const void *address, size_t bytes, Action action, MemoryOrder order, Scope scope,
            uintptr_t place);
/* The first `read` of `bytes` bytes, asynchronously: over for the thread when it has waited for the
 * copy's group, which it does for all that are committed but for the last `left`. */
void copy_asynchronously(const void *to, const void *from, size_t bytes, size_t read,
                         uintptr_t place);
void commit_copies();
void wait_for_copies(unsigned left);

/* ---- shadow.cc: memory ---- */

void track(const void *memory, size_t bytes, const char *what); /* nobody has touched it */
void forget(const void *memory);
void frees(const void *memory); /* the host: nobody may be at it, and it is forgotten */
/* By the operation that runs, as a whole. */
void reads(const void *memory, size_t bytes);
void writes(const void *memory, size_t bytes);
/* By __ldg: such memory must not change while the kernel runs. */
void reads_constant(const void *memory, size_t bytes, uintptr_t place);

} // namespace race
} // namespace cuda_host

#endif
