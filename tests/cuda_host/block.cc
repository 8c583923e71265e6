/*
 * Runs the clusters of a grid one after another (a cluster is one block unless the launch sets a
 * size, or the whole of a cooperative grid), and the threads of a cluster in turns. A thread runs
 * until it waits for others; then the next one continues. Threads that never wait are run by one
 * fibre, as plain calls; a thread that waits keeps its fibre until it exits. In a cluster one block
 * runs as far as it can, then the next, so a block that does not wait for another finds it unready,
 * or gone.
 *
 * A thread that spins on memory looks again when no other thread can continue, and at random
 * before, so that it may find others in the middle of their work.
 *
 * Every thread of a block must reach the same barrier, every thread of a cluster its barrier, and
 * every lane named by a mask the same warp function with the same mask. If no thread can continue,
 * except by spinning in vain, the program reports it and aborts.
 */
#include "fibre.h"
#include "internal.h"
#include "race/race.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
const int warpSize = 32;

namespace cuda_host
{

static const unsigned lanes = 32, block_limit = 1024;

enum class State : uint8_t {
    fresh,
    ready,
    at_barrier,
    at_cluster_barrier,
    in_warp,
    spinning,
    exited
};

/* A barrier of a block or cluster. */
struct Barrier {
    unsigned waiting;
    int predicates, result;
    Site site;
};

struct Thread;

struct Block {
    Thread *queue[block_limit]; /* ring of the threads that can run */
    unsigned head, queued;
    uint3 index;
    unsigned exited;
    Barrier barrier;
    void *dynamic_memory;
};

struct Thread {
    uint3 index;
    Block *block; /* NULL: an unused place in the last warp of a block */
    State state;
    Fibre *fibre; /* from its first turn to its exit */
    Site site;    /* where it waits */
    Meeting meeting;
    uint64_t result;
    AsyncCopies copies;
    race::Thread clock;
};

/* One cluster runs at a time; a cooperative grid counts as one. */
static struct {
    const Launch *launch;
    uint64_t cluster_number; /* over all launches, from 1 */
    Block blocks[max_together];
    Thread threads[max_threads]; /* whole warps for each block */
    unsigned order[max_threads]; /* places of threads in the order of queueing */
    unsigned block_threads, block_places, places, count, exited;
    Thread *current;
    Fibre host;
    Fibre *idle[max_threads];
    unsigned idle_count;

    unsigned turns[max_together]; /* blocks: each runs only while those before it wait */

    std::deque<Thread *> spinners;
    unsigned spins; /* consecutive ones, while no thread could do anything else */

    Barrier barrier;                       /* the cluster's */
    unsigned arrived[max_threads / lanes]; /* waiting lanes of each warp */

    size_t static_bytes;
    std::vector<SharedSlot *> slots; /* of this launch */
} run;

/* ---- reports ---- */

static const char *short_name(Collective kind)
{
    switch (kind) {
    case Collective::sync: return "__syncwarp";
    case Collective::ballot: return "a vote";
    case Collective::shuffle: return "__shfl_sync";
    case Collective::shuffle_up: return "__shfl_up_sync";
    case Collective::shuffle_down: return "__shfl_down_sync";
    case Collective::mma: return "mma";
    default: return "__shfl_xor_sync";
    }
}

static void print_state(const Thread &thread)
{
    const uint3 &at = thread.block->index;
    if (run.launch->together > 1)
        fprintf(stderr, "block (%u, %u, %u), ", at.x, at.y, at.z);
    fprintf(stderr, "thread (%u, %u, %u) ", thread.index.x, thread.index.y, thread.index.z);
    if (thread.state == State::exited)
        fprintf(stderr, "has exited");
    else if (thread.state == State::at_barrier)
        fprintf(stderr, "waits at the barrier in %s:%d", thread.site.file, thread.site.line);
    else if (thread.state == State::at_cluster_barrier)
        fprintf(stderr, "waits at the cluster's barrier in %s:%d", thread.site.file,
                thread.site.line);
    else if (thread.state == State::spinning)
        fprintf(stderr, "spins in %s:%d", thread.site.file, thread.site.line);
    else if (thread.state == State::in_warp)
        fprintf(stderr, "waits in %s under mask %08x in %s:%d", short_name(thread.meeting.kind),
                thread.meeting.mask, thread.site.file, thread.site.line);
    else
        fprintf(stderr, "has not got there");
}

static bool same_state(const Thread &a, const Thread &b)
{
    if (a.state != b.state || a.state == State::exited || a.state == State::fresh)
        return a.state == b.state;
    if (a.site.line != b.site.line)
        return false;
    return a.state != State::in_warp ||
           (a.meeting.kind == b.meeting.kind && a.meeting.mask == b.meeting.mask);
}

/* Prints, for each state, the first thread in it and the number of other threads. */
void report(const char *what)
{
    const uint3 &at = blockIdx;
    fflush(stdout);
    fprintf(stderr, "cuda_host: kernel %s, block (%u, %u, %u): %s\n",
            run.launch ? run.launch->name : "(none)", at.x, at.y, at.z, what);
    unsigned kinds = 0;
    for (unsigned i = 0; i < run.places && kinds < 16; i++) {
        bool seen = !run.threads[i].block;
        for (unsigned j = 0; j < i && !seen; j++)
            seen = run.threads[j].block && same_state(run.threads[i], run.threads[j]);
        if (seen)
            continue;
        kinds++;
        unsigned alike = 0;
        for (unsigned j = i + 1; j < run.places; j++)
            alike += run.threads[j].block && same_state(run.threads[i], run.threads[j]);
        fprintf(stderr, "    ");
        print_state(run.threads[i]);
        if (alike)
            fprintf(stderr, ", and %u more", alike);
        fprintf(stderr, "\n");
    }
    abort();
}

void check_in_kernel(const char *otherwise)
{
    if (!run.current)
        report(otherwise);
}

AsyncCopies &copies_of_thread()
{
    check_in_kernel("an asynchronous copy outside of kernels");
    return run.current->copies;
}

/* ---- turns ---- */

static void push(Thread *thread)
{
    Block &block = *thread->block;
    block.queue[(block.head + block.queued++) % block_limit] = thread;
}

static Thread *pop_queued()
{
    for (unsigned i = 0; i < run.launch->together; i++) {
        Block &block = run.blocks[run.turns[i]];
        if (block.queued == 0)
            continue;
        Thread *thread = block.queue[block.head];
        block.head = (block.head + 1) % block_limit;
        block.queued--;
        return thread;
    }
    return nullptr;
}

/* Returns whether a spinning thread runs before others; never with seed 0. */
static bool spinner_goes_first()
{
    unsigned coin[] = {0, 1};
    if (run.spinners.empty())
        return false;
    shuffle_order(coin, 2);
    return coin[0] == 1;
}

/* Returns the next thread to run; NULL if none can continue, or all that can have spun in vain. */
static Thread *pop()
{
    bool early = spinner_goes_first();
    Thread *thread = early ? nullptr : pop_queued();
    if (thread || run.spinners.empty() || (!early && ++run.spins > run.count))
        return thread;
    thread = run.spinners.front();
    run.spinners.pop_front();
    return thread;
}

/* Fills run.order with the places of `count` threads, from block `first`, shuffled. */
static void order_threads(const Block *first, unsigned count)
{
    unsigned place = unsigned(first - run.blocks) * run.block_places;
    for (unsigned i = 0; i < count; i++)
        run.order[i] = place + i / run.block_threads * run.block_places + i % run.block_threads;
    shuffle_order(run.order, count);
}

static void worker();

static unsigned linear(const uint3 &index, const dim3 &size)
{
    return (index.z * size.y + index.y) * size.x + index.x;
}

/* Makes `thread` the running thread; the caller switches to its fibre. */
static void give_turn(Thread *thread)
{
    if (thread->state == State::fresh && !thread->fibre)
        thread->fibre = run.idle_count ? run.idle[--run.idle_count] : fibre_create(worker);
    if (thread->state == State::fresh) {
        unsigned block = linear(thread->block->index, gridDim);
        race::thread_begins(thread->clock,
                            block * run.block_threads + linear(thread->index, blockDim), block);
    }
    if (thread->state != State::spinning)
        run.spins = 0;
    thread->state = State::ready;
    run.current = thread;
    race::thread_goes_on(&thread->clock);
    threadIdx = thread->index;
    blockIdx = thread->block->index;
}

/* Entry function of a fibre: runs threads that have not started yet, one after another. */
static void worker()
{
    fibre_entered();
    for (;;) {
        (*run.launch->body)();
        finish_copies(run.current->copies);
        Fibre *self = run.current->fibre;
        run.current->fibre = nullptr;
        run.current->state = State::exited;
        run.current->block->exited++;
        run.exited++;
        Thread *next = pop();
        if (!next && run.exited < run.count)
            report("some threads wait for others that never come");
        if (next && next->state == State::fresh) {
            next->fibre = self;
            give_turn(next);
            continue;
        }
        run.idle[run.idle_count++] = self;
        if (next)
            give_turn(next);
        fibre_switch(self, next ? next->fibre : &run.host);
    }
}

/* Suspends the current thread, which is queued or waits; returns at its next turn. */
static void yield()
{
    Thread *self = run.current;
    Thread *next = pop();
    if (!next)
        report("some threads wait for others that never come");
    give_turn(next);
    if (next != self)
        fibre_switch(self->fibre, next->fibre);
}

static bool same_site(Site a, Site b)
{
    return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

/* Waits until `needed` threads have arrived: all of the block or cluster. */
static int wait_at(Barrier &barrier, State state, unsigned needed, int predicate, Site site)
{
    Thread *self = run.current;
    self->state = state;
    self->site = site;
    if (barrier.waiting == 0)
        barrier.site = site;
    else if (!same_site(barrier.site, site))
        report("threads wait at different barriers");
    barrier.predicates += predicate != 0;
    if (++barrier.waiting == needed) {
        barrier.waiting = 0;
        barrier.result = barrier.predicates;
        barrier.predicates = 0;
        std::vector<race::Thread *> together;
        order_threads(state == State::at_barrier ? self->block : run.blocks, needed);
        for (unsigned i = 0; i < needed; i++) {
            Thread &thread = run.threads[run.order[i]];
            thread.state = State::ready;
            if (race::on)
                together.push_back(&thread.clock);
            push(&thread);
        }
        race::meet(together);
    }
    yield();
    return barrier.result;
}

int barrier(int predicate, Site site)
{
    if (!run.current)
        report("a barrier outside of kernels");
    return wait_at(run.current->block->barrier, State::at_barrier, run.block_threads, predicate,
                   site);
}

void spin(Site site)
{
    Thread *self = run.current;
    self->state = State::spinning;
    self->site = site;
    run.spinners.push_back(self);
    yield();
}

/* Reports a fault in a cooperative grid, which has no clusters here. */
static void check_cluster()
{
    if (!run.current)
        report("a cluster's function outside of kernels");
    if (run.launch->cooperative)
        report("a cluster's function in a cooperative launch");
}

void cluster_barrier(Site site)
{
    check_cluster();
    wait_at(run.barrier, State::at_cluster_barrier, run.count, 0, site);
}

/* ---- warps ---- */

/* Returns the lane that a shuffle reads: the calling lane itself if the other is beyond its part of
 * the warp. */
static unsigned source_lane(const Meeting &meeting, unsigned lane)
{
    unsigned begin = lane & ~(meeting.width - 1), end = begin + meeting.width;
    unsigned operand = meeting.operand;
    switch (meeting.kind) {
    case Collective::shuffle: return begin + (operand & (meeting.width - 1));
    case Collective::shuffle_up: return operand <= lane - begin ? lane - operand : lane;
    case Collective::shuffle_down: return operand < end - lane ? lane + operand : lane;
    default: return (lane ^ operand) < end ? lane ^ operand : lane;
    }
}

static uint64_t result_of(const Thread *warp, unsigned lane, unsigned mask)
{
    const Meeting &meeting = warp[lane].meeting;
    if (meeting.kind == Collective::sync || meeting.kind == Collective::mma)
        return 0;
    if (meeting.kind == Collective::ballot) {
        uint64_t votes = 0;
        for (unsigned i = 0; i < lanes; i++)
            votes |= (mask >> i & 1) ? warp[i].meeting.value << i : 0;
        return votes;
    }
    unsigned source = source_lane(meeting, lane);
    /* The value of a lane outside the mask is undefined: return a conspicuous one. */
    return (mask >> source & 1) ? warp[source].meeting.value : ~uint64_t(0);
}

/* Returns the operand as the tensor cores read it. */
static double tf32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= 0xffffe000u;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

static float toward_zero(double value)
{
    float nearest = float(value);
    return fabs(double(nearest)) > fabs(value) ? nextafterf(nearest, 0.0f) : nearest;
}

/* c += a b (16 x 8 += 16 x 8 by 8 x 8). The products of an element are added to it exactly, and the
 * sum is truncated, not rounded, as tensor cores were found to do (Fasi, Higham, Mikaitis, Pranesh,
 * "Numerical behavior of NVIDIA tensor cores", 2021); but they keep only 24 bits of the smaller
 * terms. Not inlined: its arrays would enlarge the stack frame of every collective function. */
[[gnu::noinline]] static void multiply(const Thread *warp)
{
    double a[16][8], b[8][8];
    auto fragments = [&](unsigned lane) {
        return reinterpret_cast<const Fragments *>(uintptr_t(warp[lane].meeting.value));
    };
    for (unsigned lane = 0; lane < lanes; lane++) {
        unsigned group = lane / 4, member = lane % 4;
        for (unsigned i = 0; i < 4; i++)
            a[group + i % 2 * 8][member + i / 2 * 4] = tf32(fragments(lane)->a[i]);
        for (unsigned i = 0; i < 2; i++)
            b[member + i * 4][group] = tf32(fragments(lane)->b[i]);
    }
    for (unsigned lane = 0; lane < lanes; lane++)
        for (unsigned i = 0; i < 4; i++) {
            unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
            double sum = double(fragments(lane)->c[i]);
            for (unsigned k = 0; k < 8; k++)
                sum += a[row][k] * b[k][column];
            fragments(lane)->c[i] = toward_zero(sum);
        }
}

uint64_t meet(const Meeting &meeting, Site site)
{
    Thread *self = run.current;
    if (!self)
        report("a warp function outside of kernels");
    unsigned number = unsigned(self - run.threads), lane = number % lanes;
    Thread *warp = self - lane;
    unsigned &arrived = run.arrived[number / lanes];
    self->state = State::in_warp;
    self->site = site;
    self->meeting = meeting;
    arrived |= 1u << lane;
    unsigned mask = meeting.mask, width = meeting.width;
    if (!(mask >> lane & 1))
        report("a lane calls a warp function under a mask without itself");
    if (width == 0 || width > lanes || (width & (width - 1)))
        report("a shuffle's width is not a power of two up to 32");
    if ((arrived & mask) == mask) {
        unsigned order[lanes], count = 0;
        for (unsigned i = 0; i < lanes; i++) {
            if (!(mask >> i & 1))
                continue;
            if (warp[i].meeting.kind != meeting.kind || warp[i].meeting.mask != mask)
                report("lanes of one mask wait in different warp functions");
            warp[i].result = result_of(warp, i, mask);
            order[count++] = i;
        }
        if (meeting.kind == Collective::mma)
            multiply(warp);
        arrived &= ~mask;
        shuffle_order(order, count);
        std::vector<race::Thread *> together;
        for (unsigned i = 0; i < count; i++) {
            warp[order[i]].state = State::ready;
            push(&warp[order[i]]);
            if (race::on && meeting.kind == Collective::sync) /* the others do not order memory */
                together.push_back(&warp[order[i]].clock);
        }
        race::meet(together);
    }
    yield();
    return self->result;
}

unsigned active_lanes()
{
    unsigned number = unsigned(run.current - run.threads), base = number - number % lanes;
    unsigned mask = 0;
    for (unsigned i = 0; i < lanes; i++)
        mask |=
            unsigned(run.threads[base + i].block && run.threads[base + i].state != State::exited)
            << i;
    return mask;
}

/* ---- shared memory ---- */

void *dynamic_shared()
{
    return run.current->block->dynamic_memory;
}

/* Returns the number of the block among those alive at once. */
static unsigned number_of_block()
{
    return unsigned(run.current->block - run.blocks);
}

unsigned cluster_rank()
{
    check_cluster();
    return number_of_block();
}

void *cluster_dynamic_shared(unsigned rank)
{
    check_cluster();
    if (rank >= run.launch->together)
        report("the shared memory of a block that the cluster does not have");
    if (run.blocks[rank].exited)
        report("the shared memory of a block that may have ended");
    return run.blocks[rank].dynamic_memory;
}

static void *allocate(size_t bytes)
{
    void *memory = nullptr;
    if (posix_memalign(&memory, 128, bytes) != 0) {
        fprintf(stderr, "cuda_host: no memory\n");
        abort();
    }
    return memory;
}

void *static_shared(SharedSlot &slot, size_t bytes)
{
    size_t all = run.launch->together * bytes; /* in the order of the ranks */
    if (!slot.memory) {
        run.static_bytes += bytes;
        if (run.static_bytes > shared_default ||
            run.static_bytes + run.launch->shared_bytes > run.launch->shared_limit)
            report("more shared memory than a block has");
        slot.memory = allocate(all);
        run.slots.push_back(&slot);
    }
    if (slot.cluster != run.cluster_number) {
        slot.cluster = run.cluster_number;
        memset(slot.memory, 0xff, all);
        race::track(slot.memory, all, "shared memory");
    }
    return static_cast<char *>(slot.memory) + number_of_block() * bytes;
}

/* ---- clusters ---- */

static void run_cluster()
{
    run.cluster_number++;
    run.exited = run.spins = 0;
    for (unsigned i = 0; i < run.launch->together; i++) {
        run.blocks[i].exited = 0;
        if (run.launch->shared_bytes)
            memset(run.blocks[i].dynamic_memory, 0xff, run.launch->shared_bytes);
        race::track(run.blocks[i].dynamic_memory, run.launch->shared_bytes, "shared memory");
    }
    shuffle_order(run.turns, run.launch->together);
    order_threads(run.blocks, run.count);
    for (unsigned i = 0; i < run.count; i++) {
        Thread *thread = &run.threads[run.order[i]];
        thread->state = State::fresh;
        push(thread);
    }
    give_turn(pop());
    fibre_switch(&run.host, run.current->fibre);
}

static void place_threads(const Launch &launch)
{
    const dim3 &block = launch.block;
    run.places = run.block_places * launch.together;
    run.count = run.block_threads * launch.together;
    for (unsigned place = 0; place < run.places; place++) {
        Thread &thread = run.threads[place];
        unsigned i = place % run.block_places;
        thread.block = i < run.block_threads ? &run.blocks[place / run.block_places] : nullptr;
        thread.state = State::fresh;
        thread.index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    }
}

void run_grid(const Launch &launch)
{
    const dim3 &grid = launch.grid, &block = launch.block;
    run.launch = &launch;
    run.block_threads = block.x * block.y * block.z;
    run.block_places = (run.block_threads + lanes - 1) / lanes * lanes;
    gridDim = grid;
    blockDim = block;
    if (launch.together > max_together || size_t(launch.together) * run.block_places > max_threads)
        report("more threads that live at once than the emulation has room for");
    place_threads(launch);
    if (launch.shared_bytes > launch.dynamic_limit)
        report("the kernel's limit of shared memory is lower than when it was launched");
    race::grid_begins(launch);
    for (unsigned i = 0; i < launch.together; i++) {
        run.blocks[i].dynamic_memory = allocate(launch.shared_bytes);
        run.turns[i] = i;
    }

    /* A cluster consists of neighbours in x, where its size divides the grid's; or of the whole
     * grid. */
    std::vector<unsigned> clusters(size_t(grid.x) * grid.y * grid.z / launch.together);
    for (size_t i = 0; i < clusters.size(); i++)
        clusters[i] = unsigned(i);
    shuffle_order(clusters.data(), clusters.size());
    for (unsigned cluster : clusters) {
        for (unsigned rank = 0; rank < launch.together; rank++) {
            unsigned i = cluster * launch.together + rank;
            run.blocks[rank].index = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
        }
        run_cluster();
    }

    race::grid_ends();
    for (unsigned i = 0; i < launch.together; i++) {
        race::forget(run.blocks[i].dynamic_memory);
        free(run.blocks[i].dynamic_memory);
    }
    for (SharedSlot *slot : run.slots) {
        race::forget(slot->memory);
        free(slot->memory);
        *slot = {};
    }
    run.slots.clear();
    run.static_bytes = 0;
    run.current = nullptr;
    run.launch = nullptr;
}

} // namespace cuda_host
