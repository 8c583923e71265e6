/* Asynchronous copies: a thread requests them one by one, commits those since the last commit as a
 * group, and waits for groups. A copy runs when it is waited for: until then its target keeps its
 * contents, and changes of its source still take effect. */
#include "cuda_pipeline.h"
#include "internal.h"
#include "race/race.h"

#include <cstdint>
#include <cstring>

namespace cuda_host
{

static void finish(const AsyncCopy &copy)
{
    memcpy(copy.to, copy.from, copy.bytes - copy.zeros);
    memset(static_cast<char *>(copy.to) + copy.bytes - copy.zeros, 0, copy.zeros);
}

void copy_asynchronously(void *to, const void *from, size_t bytes, size_t zeros)
{
    AsyncCopies &copies = copies_of_thread();
    if (bytes != 4 && bytes != 8 && bytes != 16)
        report("an asynchronous copy of other than 4, 8 or 16 bytes");
    if (zeros > bytes || reinterpret_cast<uintptr_t>(to) % bytes ||
        reinterpret_cast<uintptr_t>(from) % bytes)
        report("an asynchronous copy whose addresses are not aligned to its size");
    race::copy_asynchronously(to, from, bytes, bytes - zeros,
                              reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
    copies.waiting.push_back({to, from, bytes, zeros, copies.groups});
}

void commit_copies()
{
    copies_of_thread().groups++;
    race::commit_copies();
}

void wait_for_copies(unsigned left)
{
    AsyncCopies &copies = copies_of_thread();
    while (!copies.waiting.empty() && copies.waiting.front().group + left < copies.groups) {
        finish(copies.waiting.front());
        copies.waiting.pop_front();
    }
    race::wait_for_copies(left);
}

void finish_copies(AsyncCopies &copies)
{
    for (const AsyncCopy &copy : copies.waiting)
        finish(copy);
    copies.waiting.clear();
    copies.groups = 0;
}

} // namespace cuda_host
