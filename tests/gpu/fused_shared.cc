/*
 * Prints which variant of the fused NNMF kernels is chosen, and with how much dynamic shared
 * memory, for each layer of the published network on GPUs that allow a block 99 KB and 227 KB:
 *
 *     layer;rows;features;outputs;limit;direction;template arguments;threads;flags;bytes
 *
 * (rows: of a batch of 50; flags: the kernel's bool arguments, which is whether all of w stays on
 * chip). Fails where a variant does not fit, or where a layer has none.
 * kernels/nnmf_fused.cu itself chooses: it is compiled here with a launch that is only written
 * down, so that this table cannot say anything else than what runs.
 */
#include <cstdio>
#include <string>
#include <type_traits>

extern "C" {
#include "nnmf/network.h"
}
#include "cuda.cuh"

namespace
{

struct Chosen {
    int launches;
    std::string function, flags;
    unsigned threads;
    size_t bytes;
};

Chosen chosen;

template <class T> void keep_flag(const T &value)
{
    if constexpr (std::is_same<T, bool>::value)
        chosen.flags += std::string(chosen.flags.empty() ? "" : " ") + (value ? "yes" : "no");
    else
        (void)value;
}

template <class... Arguments>
void keep(const char *function, dim3 block, size_t bytes, const Arguments &...arguments)
{
    chosen.launches++;
    chosen.function = function;
    chosen.threads = block.x * block.y * block.z;
    chosen.bytes = bytes;
    chosen.flags.clear();
    (keep_flag(arguments), ...);
}

} // namespace

#undef TRY
#undef RUN
#define TRY(backend, operation, call) true
#define RUN(backend, operation, kernel, grid, block, shared, ...)                                  \
    ((void)(kernel), (void)(grid), keep(__PRETTY_FUNCTION__, block, shared, __VA_ARGS__))
#include "nnmf_fused.cu"

/* "void run(...) [with int ROWS = 32; int OUTPUTS = 16]" -> "32, 16" */
static std::string numbers_of(const std::string &function)
{
    std::string numbers;
    size_t bracket = function.find('[');
    for (size_t at = function.find("= ", bracket);
         bracket != std::string::npos && at != std::string::npos;
         at = function.find("= ", at + 1)) {
        size_t end = function.find_first_of(";,]", at);
        std::string value = function.substr(at + 2, end - at - 2); /* or the name of a type */
        if (value.find_first_not_of("0123456789") == std::string::npos)
            numbers += (numbers.empty() ? "" : ", ") + value;
    }
    return numbers;
}

int main()
{
    enum { BATCH = 50 };
    const size_t limits[] = {101376, 232448}; /* RTX 4090, H100 */
    Network network;
    Error error = {};
    if (!network_for_dataset(DATASET_CIFAR10, &network_default_options, &network, &error)) {
        std::fprintf(stderr, "fused_shared: %s\n", error.text);
        return 1;
    }
    int wrong = 0;
    for (int i = 0; i < network.layer_count; i++) {
        const Layer &layer = network.layers[i];
        if (layer.kind != LAYER_NNMF)
            continue;
        for (size_t limit : limits) {
            Backend backend = {};
            backend.shared_limit = limit;
            backend.fused = true;
            backend.multiprocessors = 128;
            NnmfShape shape = {};
            shape.rows = BATCH * extent_positions(layer.out);
            shape.features = layer.in.channels;
            shape.outputs = layer.out.channels;
            shape.iterations = network.options.iterations;
            chosen = Chosen{};
            bool fits = cuda_nnmf_fused(&backend, &shape, nullptr, nullptr, nullptr);
            std::printf("%d;%zu;%d;%d;%zu;forward;%s;%u;%s;%zu\n", layer.index, shape.rows,
                        shape.features, shape.outputs, limit, numbers_of(chosen.function).c_str(),
                        chosen.threads, chosen.flags.c_str(), chosen.bytes);
            if (!fits || chosen.launches < 1 || chosen.bytes > limit || chosen.threads > 1024) {
                std::fprintf(stderr,
                             "fused_shared: layer %d does not fit: %zu bytes of %zu, %u "
                             "threads of 1024\n",
                             layer.index, chosen.bytes, limit, chosen.threads);
                wrong++;
            }
        }
    }
    return wrong ? 1 : 0;
}
