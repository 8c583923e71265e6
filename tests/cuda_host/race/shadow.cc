/*
 * Shadow memory. For every four bytes: the last write, and the reads and atomic changes since that
 * may still be unordered. If threads access fewer than four bytes at a time, there is a record for
 * each byte.
 */
#include "../internal.h"
#include "access.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sys/mman.h>

namespace cuda_host
{
namespace race
{

enum { CELL = 4 }; /* bytes */

/* All zero: not accessed. */
struct Cell {
    Access write, other;
    std::vector<Access> *others; /* in addition to `other` */
    Cell *bytes;                 /* CELL cells, instead of this one */
    bool atomics;                /* one of the others was an atomic */
};

struct Memory {
    uintptr_t begin, end;
    const char *what;
    Access write; /* of the whole memory, earlier than everything in its cells */
    Cell *cells;
    uintptr_t touched, touched_end; /* accessed range */
};

/* By their ends, and the range that contains all of them. */
static std::map<uintptr_t, Memory> memories;
static uintptr_t lowest = UINTPTR_MAX, highest;
static Memory *last_found;

/* ---- cells ---- */

static void clear(Cell &cell)
{
    delete cell.others;
    if (cell.bytes)
        for (int i = 0; i < CELL; i++)
            clear(cell.bytes[i]);
    delete[] cell.bytes;
    cell = {};
}

static bool is_write(const Access &access)
{
    return Kind(access.kind) == Kind::write || Kind(access.kind) == Kind::atomic_write ||
           Kind(access.kind) == Kind::free;
}

static bool is_atomic(const Access &access)
{
    return Kind(access.kind) == Kind::atomic_read || Kind(access.kind) == Kind::atomic_write;
}

/* Returns whether the two must be ordered; atomics need not be, within the scopes of both. */
static bool conflict(const Access &a, const Access &b)
{
    if (!is_write(a) && !is_write(b))
        return false;
    if (!is_atomic(a) || !is_atomic(b))
        return true;
    return (a.in_block || b.in_block) && !of_one_block(a, b);
}

/* Memory read by __ldg must not change while the kernel runs. */
static bool breaks_constant(const Access &a, const Access &b)
{
    bool one = Kind(a.kind) == Kind::constant_read || Kind(b.kind) == Kind::constant_read;
    return one && a.task == b.task && (is_write(a) || is_write(b));
}

/* Returns whether `earlier` is ordered before `now` and everything that conflicts with it conflicts
 * with `now` too. Then only `now` needs to be recorded. */
static bool replaces(const Access &now, const Access &earlier)
{
    return now.kind == earlier.kind && now.in_block == earlier.in_block && is_over(earlier, now);
}

static void check(const Access &earlier, const Access &now, const Memory &memory, uintptr_t at)
{
    if (earlier.task &&
        ((conflict(earlier, now) && !is_over(earlier, now)) || breaks_constant(earlier, now)))
        report(earlier, now, memory.what, at - memory.begin);
}

static void remember(Cell &cell, const Access &now)
{
    if (Kind(now.kind) == Kind::write) {
        clear(cell);
        cell.write = now;
        return;
    }
    cell.atomics = cell.atomics || is_atomic(now);
    if (!cell.other.task || replaces(now, cell.other)) {
        cell.other = now;
        return;
    }
    if (!cell.others)
        cell.others = new std::vector<Access>;
    std::vector<Access> &others = *cell.others;
    if (others.empty() || !replaces(now, others.back())) {
        others.push_back(now);
        return;
    }
    /* Usually all of them were before the same barrier. */
    size_t kept = 0;
    for (const Access &access : others)
        if (!replaces(now, access))
            others[kept++] = access;
    others.resize(kept);
    others.push_back(now);
}

static void touch_cell(Cell &cell, const Access &now, const Memory &memory, uintptr_t at)
{
    if (!cell.write.task)
        cell.write = memory.write;
    check(cell.write, now, memory, at);
    if (cell.atomics || is_write(now)) {
        check(cell.other, now, memory, at);
        if (cell.others)
            for (const Access &access : *cell.others)
                check(access, now, memory, at);
    }
    remember(cell, now);
}

static Cell copy_of(const Cell &cell)
{
    Cell copy = cell;
    if (cell.others)
        copy.others = new std::vector<Access>(*cell.others);
    return copy;
}

static void split(Cell &cell)
{
    Cell *bytes = new Cell[CELL];
    for (int i = 0; i < CELL; i++)
        bytes[i] = copy_of(cell);
    clear(cell);
    cell.bytes = bytes;
}

/* ---- memories ---- */

static Memory *memory_with(uintptr_t address)
{
    if (address < lowest || address >= highest)
        return nullptr;
    if (last_found && last_found->begin <= address && address < last_found->end)
        return last_found;
    auto found = memories.upper_bound(address);
    if (found == memories.end() || address < found->second.begin)
        return nullptr;
    return last_found = &found->second;
}

static size_t cell_bytes(const Memory &memory)
{
    return ((memory.end - memory.begin) / CELL + 1) * sizeof(Cell);
}

static void clear_cells(Memory &memory)
{
    for (uintptr_t i = memory.touched; i < memory.touched_end; i++)
        clear(memory.cells[i]);
    memory.touched = memory.touched_end = 0;
}

static void forget_all(Memory &memory)
{
    clear_cells(memory);
    memory.write = {};
    forget_atomics(reinterpret_cast<void *>(memory.begin), memory.end - memory.begin);
}

void forget(const void *pointer)
{
    Memory *memory = memory_with(reinterpret_cast<uintptr_t>(pointer));
    if (!memory)
        return;
    forget_all(*memory);
    munmap(memory->cells, cell_bytes(*memory));
    memories.erase(memory->end);
    last_found = nullptr;
}

void track(const void *pointer, size_t bytes, const char *what)
{
    uintptr_t begin = reinterpret_cast<uintptr_t>(pointer);
    if (bytes == 0)
        return;
    Memory *known = memory_with(begin);
    if (known && known->begin == begin && known->end == begin + bytes) {
        forget_all(*known);
        return;
    }
    Memory memory = {begin, begin + bytes, what, {}, nullptr, 0, 0};
    void *cells = mmap(nullptr, cell_bytes(memory), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cells == MAP_FAILED) {
        perror("cuda_host: what memory remembers of races");
        abort();
    }
    memory.cells = static_cast<Cell *>(cells);
    memories[memory.end] = memory;
    lowest = std::min(lowest, memory.begin);
    highest = std::max(highest, memory.end);
}

static void touch_cells(Memory &memory, uintptr_t begin, uintptr_t end, const Access &access)
{
    uintptr_t first = (begin - memory.begin) / CELL, last = (end - 1 - memory.begin) / CELL;
    if (memory.touched == memory.touched_end)
        memory.touched = first;
    memory.touched = std::min(memory.touched, first);
    memory.touched_end = std::max(memory.touched_end, last + 1);
    for (uintptr_t i = first; i <= last; i++) {
        Cell &cell = memory.cells[i];
        uintptr_t at = memory.begin + i * CELL;
        if (!cell.bytes && begin <= at && at + CELL <= end) {
            touch_cell(cell, access, memory, at);
            continue;
        }
        if (!cell.bytes)
            split(cell);
        for (uintptr_t byte = std::max(begin, at); byte < std::min(end, at + CELL); byte++)
            touch_cell(cell.bytes[byte - at], access, memory, byte);
    }
}

/* Only memory that is accessed cell by cell needs cells. */
static void overwrite(Memory &memory, const Access &access)
{
    check(memory.write, access, memory, memory.begin);
    if (memory.touched < memory.touched_end)
        touch_cells(memory, memory.begin + memory.touched * CELL,
                    std::min(memory.begin + memory.touched_end * CELL, memory.end), access);
    clear_cells(memory);
    memory.write = access;
}

void touch(const void *pointer, size_t bytes, const Access &access)
{
    uintptr_t begin = reinterpret_cast<uintptr_t>(pointer);
    Memory *memory = bytes ? memory_with(begin) : nullptr;
    if (!memory)
        return;
    uintptr_t end = std::min(begin + bytes, memory->end);
    if (begin == memory->begin && end == memory->end && Kind(access.kind) == Kind::write)
        overwrite(*memory, access);
    else
        touch_cells(*memory, begin, end, access);
}

void frees(const void *pointer)
{
    Memory *memory = memory_with(reinterpret_cast<uintptr_t>(pointer));
    if (memory)
        overwrite(*memory, access_now(Kind::free, 0));
    forget(pointer);
}

void reads(const void *memory, size_t bytes)
{
    touch(memory, bytes, access_now(Kind::read, 0));
}

void writes(const void *memory, size_t bytes)
{
    touch(memory, bytes, access_now(Kind::write, 0));
}

void reads_constant(const void *memory, size_t bytes, uintptr_t place)
{
    touch(memory, bytes, access_now(Kind::constant_read, place));
}

bool is_tracked(const void *memory)
{
    return memory_with(reinterpret_cast<uintptr_t>(memory)) != nullptr;
}

} // namespace race
} // namespace cuda_host
