/*
 * Prints which variant of the fused NNMF kernels is chosen, and with how much dynamic shared
 * memory, for each layer of the published network on an RTX 4090 (99 KB a block, no clusters) and
 * an H100 (227 KB, clusters):
 *
 *     layer;rows;features;outputs;limit;precision;variant;threads;resident;bytes
 *
 * (rows: of a batch of 50; resident: does all of w stay on chip?). Fails where a variant does not
 * fit, or where a layer has none. kernels/nnmf_forward_fused.cu and nnmf_forward_tensor.cu
 * themselves choose: they are compiled here with a launch that is only written down, so that this
 * table cannot say anything else than what runs.
 */
#include <cstdio>
#include <string>
#include <type_traits>

extern "C" {
#include "network/network.h"
}
#include "cluster.cuh"
#include "cuda.cuh"

namespace
{

struct Chosen {
    int launches;
    std::string variant, resident;
    unsigned threads;
    size_t bytes;
};

Chosen chosen;

const char *yes_or_no(bool value)
{
    return value ? "yes" : "no";
}

template <class T> void keep_flag(const T &value)
{
    if constexpr (std::is_same<T, bool>::value)
        chosen.resident = yes_or_no(value);
    else
        (void)value;
}

/* "bool run(...) [with T = Tile<32, 64, 4>; ...]" -> "Tile<32, 64, 4>" */
std::string variant_of(const std::string &function)
{
    size_t begin = function.find(" = ", function.find('[')) + 3;
    return function.substr(begin, function.find('>', begin) + 1 - begin);
}

/* What a launch was given; the variants on tensor cores know by their type what is resident. */
template <class... Arguments>
void keep(const char *function, dim3 block, size_t bytes, const Arguments &...arguments)
{
    chosen.launches++;
    chosen.variant = variant_of(function);
    chosen.resident = yes_or_no(chosen.variant.find("true, true") != std::string::npos ||
                                chosen.variant.find("false, true") != std::string::npos);
    chosen.threads = block.x * block.y * block.z;
    chosen.bytes = bytes;
    (keep_flag(arguments), ...);
}

} // namespace

#undef TRY
#undef RUN
#undef RUN_CLUSTER
#define TRY(backend, operation, call) ((void)(operation), true)
#define RUN(backend, operation, kernel, grid, block, shared, ...)                                  \
    ((void)(backend), (void)(operation), (void)(kernel), (void)(grid),                             \
     keep(__PRETTY_FUNCTION__, block, shared, __VA_ARGS__))
#define RUN_CLUSTER(backend, operation, kernel, cluster, grid, block, shared, ...)                 \
    RUN(backend, operation, kernel, grid, block, shared, __VA_ARGS__)
/* In namespaces of their own, since both have a `run`. */
namespace float32_units
{
#include "nnmf_forward_fused.cu"
}
namespace tensor_cores
{
#include "nnmf_forward_tensor.cu"
}

void *cuda_scratch(Backend *, size_t)
{
    static float memory;
    return &memory;
}

struct Gpu {
    size_t shared_limit;
    int multiprocessors;
    bool clusters;
};

/* Prints the line for a layer; false where it does not fit. */
static bool print_choice(const Layer &layer, int iterations, const Gpu &gpu, Precision precision)
{
    enum { BATCH = 50 };
    Backend backend = {};
    backend.shared_limit = gpu.shared_limit;
    backend.clusters = gpu.clusters;
    backend.fused = true;
    backend.precision = precision;
    backend.multiprocessors = gpu.multiprocessors;
    NnmfShape shape = {};
    shape.rows = BATCH * extent_positions(layer.out);
    shape.features = layer.in.channels;
    shape.outputs = layer.out.channels;
    shape.iterations = iterations;
    chosen = Chosen{};
    bool fits =
        precision == PRECISION_FP32
            ? float32_units::cuda_nnmf_forward_fused(&backend, &shape, nullptr, nullptr, nullptr)
            : tensor_cores::cuda_nnmf_forward_tensor(&backend, &shape, nullptr, nullptr, nullptr);
    std::printf("%d;%zu;%d;%d;%zu;%s;%s;%u;%s;%zu\n", layer.index, shape.rows, shape.features,
                shape.outputs, gpu.shared_limit, precision_names[precision], chosen.variant.c_str(),
                chosen.threads, chosen.resident.c_str(), chosen.bytes);
    if (fits && chosen.launches > 0 && chosen.bytes <= gpu.shared_limit && chosen.threads <= 1024)
        return true;
    std::fprintf(stderr,
                 "fused_shared: layer %d does not fit: %zu bytes of %zu, %u threads of "
                 "1024\n",
                 layer.index, chosen.bytes, gpu.shared_limit, chosen.threads);
    return false;
}

int main()
{
    const Gpu gpus[] = {{101376, 128, false}, {232448, 132, true}}; /* RTX 4090, H100 */
    const Precision precisions[] = {PRECISION_FP32, PRECISION_3XTF32, PRECISION_TF32};
    Network network;
    Error error = {};
    if (!network_for_dataset(DATASET_CIFAR10, &network_default_options, &network, &error)) {
        std::fprintf(stderr, "fused_shared: %s\n", error.text);
        return 1;
    }
    bool fits = true;
    for (int i = 0; i < network.layer_count; i++)
        for (const Gpu &gpu : gpus)
            for (Precision precision : precisions)
                if (network.layers[i].kind == LAYER_NNMF)
                    fits &=
                        print_choice(network.layers[i], network.options.iterations, gpu, precision);
    return fits ? 0 : 1;
}
