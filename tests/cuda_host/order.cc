#include "internal.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace cuda_host
{

static uint64_t initial_seed()
{
    const char *text = getenv("CUDA_HOST_SEED");
    return text && *text ? strtoull(text, nullptr, 0) : 1;
}

static uint64_t seed = initial_seed();
static uint64_t state = seed;

/* SplitMix64 */
static uint64_t draw()
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void shuffle_order(unsigned *numbers, size_t count)
{
    if (seed == 0)
        return;
    for (size_t left = count; left > 1; left--) {
        /* Grids have fewer than 2^32 blocks, so the upper half times `left` is uniform enough. */
        size_t other = size_t(((draw() >> 32) * left) >> 32);
        unsigned kept = numbers[other];
        numbers[other] = numbers[left - 1];
        numbers[left - 1] = kept;
    }
}

void reset_order()
{
    cuda_host_set_seed(initial_seed());
}

} // namespace cuda_host

void cuda_host_set_seed(uint64_t seed)
{
    std::lock_guard<std::recursive_mutex> lock(cuda_host::call_mutex());
    cuda_host::seed = seed;
    cuda_host::state = seed;
}

bool cuda_host_same_for_seeds(int seeds, void (*run)(void *context), void *context, void *output,
                              size_t bytes)
{
    uint64_t before = cuda_host::seed;
    std::vector<unsigned char> first;
    unsigned char *now = static_cast<unsigned char *>(output);
    bool same = true;
    for (int i = 0; i < seeds && same; i++) {
        cuda_host_set_seed(uint64_t(i));
        memset(output, 0xa5, bytes); /* bytes that are not written are equal too */
        run(context);
        if (i == 0)
            first.assign(now, now + bytes);
        size_t at = 0;
        while (at < bytes && now[at] == first[at])
            at++;
        if (at < bytes) {
            fprintf(stderr, "cuda_host: seed %d gives another result than seed 0, from byte %zu\n",
                    i, at);
            same = false;
        }
    }
    cuda_host_set_seed(before);
    return same;
}
