/* The order established by streams, the host, barriers, fences and atomics. */
#include "../internal.h"
#include "access.h"

#include <deque>
#include <map>

namespace cuda_host
{
namespace race
{

const bool on = true;

/* ---- tasks ---- */

static std::deque<TaskInfo> tasks = {{}};          /* by number; 0 is none */
static std::vector<uint32_t> task_counts = {0, 0}; /* for every stream */

static Past host_past = {1};
static uint32_t host_task;

/* What is running. */
struct Now {
    Past *past; /* NULL: the host */
    uint32_t task;
    Thread *thread;
    unsigned grid_threads;
};
static Now now;
static std::vector<Now> outer;      /* the launch of a graph, while its nodes run */
static thread_local bool is_device; /* false in other threads of the host */

static uint32_t new_task(const TaskInfo &info)
{
    tasks.push_back(info);
    return uint32_t(tasks.size() - 1);
}

const TaskInfo &info_of(const Access &access)
{
    return tasks[access.task];
}

unsigned threads_of(const TaskInfo &task)
{
    return task.grid.x * task.grid.y * task.grid.z * task.block.x * task.block.y * task.block.z;
}

unsigned new_stream()
{
    task_counts.push_back(0);
    return unsigned(task_counts.size() - 1);
}

void learn(Past &past, const Past &more)
{
    if (past.size() < more.size())
        past.resize(more.size());
    for (size_t i = 0; i < more.size(); i++)
        past[i] = std::max(past[i], more[i]);
}

Past host_submits()
{
    Past all = host_past;
    host_past[host_stream]++;
    host_task = 0;
    return all;
}

void host_learns(const Past &past)
{
    learn(host_past, past);
}

Task::Task(Past &past, unsigned stream)
{
    if (past.size() <= stream)
        past.resize(stream + 1);
    past[stream] = ++task_counts[stream];
    outer.push_back(now);
    now = {&past, new_task({stream, task_counts[stream], "an operation", false, {}, {}}), nullptr,
           0};
    is_device = true;
}

Task::~Task()
{
    now = outer.back();
    outer.pop_back();
    is_device = now.past != nullptr;
}

void task_is(const char *what)
{
    tasks[now.task].what = what;
}

bool on_the_host()
{
    return !is_device;
}

/* ---- threads ---- */

/* The clocks that a place passes on, to blocks by their numbers and to the device; and those that
 * each thread, by its number, has released and observed there, by scope. */
struct Passed {
    struct Own {
        Clock released[2], observed[2];
    };
    std::map<unsigned, Clock> blocks;
    Clock device;
    std::map<unsigned, Own> own;
};
static std::map<uintptr_t, Passed> atomics; /* of the grid that runs */

void grid_begins(const Launch &launch)
{
    TaskInfo &task = tasks[now.task];
    task.what = launch.name;
    task.is_kernel = true;
    task.grid = launch.grid;
    task.block = launch.block;
    now.grid_threads = threads_of(task);
}

void grid_ends()
{
    now.thread = nullptr;
    atomics.clear();
}

void thread_begins(Thread &thread, unsigned number, unsigned block)
{
    thread = {};
    thread.number = number;
    thread.block = block;
    thread.epoch = thread.copies = 1;
}

void thread_goes_on(Thread *thread)
{
    now.thread = thread;
}

void meet(const std::vector<Thread *> &threads)
{
    Clock all;
    std::vector<Point> points;
    for (Thread *thread : threads) {
        all.join(thread->known);
        points.push_back({thread->number, thread->epoch++});
    }
    all.add(points);
    for (Thread *thread : threads)
        thread->known = all;
}

/* Returns the clock that the thread releases: what it knows and has done so far, but not what it
 * does later. */
static Clock released(Thread &thread)
{
    Clock all = thread.known;
    all.add({{thread.number, thread.epoch++}});
    return all;
}

static bool acquires(MemoryOrder order)
{
    return order == MemoryOrder::acquire || order == MemoryOrder::both;
}

static bool releases(MemoryOrder order)
{
    return order == MemoryOrder::release || order == MemoryOrder::both;
}

/* A fence acquires after a relaxed read, and releases before a relaxed write. */
void fence(MemoryOrder order, Scope scope)
{
    Thread &thread = *now.thread;
    if (acquires(order))
        for (int reach = 0; reach <= int(scope); reach++)
            thread.known.join(thread.observed[reach]);
    if (!releases(order))
        return;
    Clock all = released(thread);
    for (int reach = 0; reach <= int(scope); reach++)
        thread.fenced[reach] = all;
}

/* ---- accesses ---- */

static Access host_access(Kind kind, uintptr_t place)
{
    if (!host_task)
        host_task = new_task({host_stream, host_past[host_stream], "the host", false, {}, {}});
    return {host_task, 0, 1, site_of(place), false, uint32_t(kind)};
}

Access access_now(Kind kind, uintptr_t place)
{
    if (!is_device)
        return host_access(kind, place);
    if (!now.thread)
        return {now.task, 0, 1, site_of(place), false, uint32_t(kind)};
    return {now.task, now.thread->number, now.thread->epoch, site_of(place), false, uint32_t(kind)};
}

bool of_one_block(const Access &a, const Access &b)
{
    const dim3 &block = tasks[a.task].block;
    unsigned threads = block.x * block.y * block.z;
    return a.task == b.task && a.thread / threads == b.thread / threads;
}

bool is_over(const Access &earlier, const Access &access)
{
    if (earlier.task != access.task) {
        const TaskInfo &task = tasks[earlier.task];
        const Past &past = is_device ? *now.past : host_past;
        return task.stream < past.size() && past[task.stream] >= task.number;
    }
    return !now.thread || earlier.thread == now.thread->number ||
           now.thread->known.of(earlier.thread) >= earlier.epoch;
}

/* ---- atomics ---- */

void forget_atomics(const void *memory, size_t bytes)
{
    uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
    atomics.erase(atomics.lower_bound(begin), atomics.lower_bound(begin + bytes));
}

/* Handles a read, with all earlier reads of the place by the thread (PTX: an acquire pattern). */
static void read_passed(Passed &passed, Thread &thread, MemoryOrder order, Scope scope)
{
    Passed::Own &own = passed.own[thread.number];
    const Clock *from[] = {&passed.blocks[thread.block], &passed.device};
    for (int reach = 0; reach <= int(scope); reach++) {
        own.observed[reach].join(*from[reach]);
        thread.observed[reach].join(*from[reach]);
        if (acquires(order))
            thread.known.join(own.observed[reach]);
    }
}

/* Handles a write, which passes on what the thread has released by a fence or at the place, now or
 * before (PTX: a release pattern). A change adds to what the place passes on; a store replaces it.
 */
static void write_passed(Passed &passed, Thread &thread, Action action, MemoryOrder order,
                         Scope scope)
{
    Passed::Own &own = passed.own[thread.number];
    if (releases(order)) {
        Clock all = released(thread);
        for (int reach = 0; reach <= int(scope); reach++)
            own.released[reach] = all;
    }
    if (action == Action::store) {
        passed.blocks.clear();
        passed.device = {};
    }
    Clock *to[] = {&passed.blocks[thread.block], &passed.device};
    for (int reach = 0; reach <= int(scope); reach++) {
        to[reach]->join(thread.fenced[reach]);
        to[reach]->join(own.released[reach]);
    }
}

void atomic(const void *address, size_t bytes, Action action, MemoryOrder order, Scope scope,
            uintptr_t place)
{
    Access access =
        access_now(action == Action::load ? Kind::atomic_read : Kind::atomic_write, place);
    access.in_block = scope == Scope::block;
    touch(address, bytes, access);
    Passed &passed = atomics[reinterpret_cast<uintptr_t>(address)];
    if (action != Action::store)
        read_passed(passed, *now.thread, order, scope);
    if (action != Action::load)
        write_passed(passed, *now.thread, action, order, scope);
}

/* ---- asynchronous copies ---- */

/* Asynchronous copies count as made by another thread beside their own, whose epochs are the
 * groups. */
static unsigned copier_of(const Thread &thread)
{
    return now.grid_threads + thread.number;
}

static Access copier_access(Kind kind, uintptr_t place)
{
    const Thread &thread = *now.thread;
    return {now.task, copier_of(thread), thread.copies, site_of(place), false, uint32_t(kind)};
}

void copy_asynchronously(const void *to, const void *from, size_t bytes, size_t read,
                         uintptr_t place)
{
    touch(from, read, copier_access(Kind::read, place));
    touch(to, bytes, copier_access(Kind::write, place));
}

void commit_copies()
{
    now.thread->copies++;
}

void wait_for_copies(unsigned left)
{
    Thread &thread = *now.thread;
    if (thread.copies - 1 > left)
        thread.known.add({{copier_of(thread), thread.copies - 1 - left}});
}

} // namespace race
} // namespace cuda_host
