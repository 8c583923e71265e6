/*
 * Prints which variant of the fused NNMF kernels is chosen, and with how much dynamic shared
 * memory, for each layer of the published network on GPUs that allow a block 99 KB and 227 KB:
 *
 *     layer;rows;features;outputs;limit;precision;variant;threads;resident;bytes
 *
 * (rows: of a batch of 50; resident: does all of w stay on chip?). Fails where a variant does not
 * fit, or where a layer has none. kernels/nnmf_fused.cu and nnmf_tensor.cu themselves choose: they
 * are compiled here with a launch that is only written down, so that this table cannot say
 * anything else than what runs.
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
#define TRY(backend, operation, call) ((void)(operation), true)
#define RUN(backend, operation, kernel, grid, block, shared, ...)                                  \
    ((void)(operation), (void)(kernel), (void)(grid),                                              \
     keep(__PRETTY_FUNCTION__, block, shared, __VA_ARGS__))
/* In namespaces of their own, since both have a `run`. */
namespace float32_units
{
#include "nnmf_fused.cu"
}
namespace tensor_cores
{
#include "nnmf_tensor.cu"
}

void *cuda_scratch(Backend *, size_t)
{
    static float memory;
    return &memory;
}

/* Prints the line for a layer; false where it does not fit. */
static bool print_choice(const Layer &layer, int iterations, size_t limit, Precision precision)
{
    enum { BATCH = 50 };
    Backend backend = {};
    backend.shared_limit = limit;
    backend.fused = true;
    backend.precision = precision;
    backend.multiprocessors = 128;
    NnmfShape shape = {};
    shape.rows = BATCH * extent_positions(layer.out);
    shape.features = layer.in.channels;
    shape.outputs = layer.out.channels;
    shape.iterations = iterations;
    chosen = Chosen{};
    bool fits = precision == PRECISION_FP32
                    ? float32_units::cuda_nnmf_fused(&backend, &shape, nullptr, nullptr, nullptr)
                    : tensor_cores::cuda_nnmf_tensor(&backend, &shape, nullptr, nullptr, nullptr);
    std::printf("%d;%zu;%d;%d;%zu;%s;%s;%u;%s;%zu\n", layer.index, shape.rows, shape.features,
                shape.outputs, limit, precision_names[precision], chosen.variant.c_str(),
                chosen.threads, chosen.resident.c_str(), chosen.bytes);
    if (fits && chosen.launches > 0 && chosen.bytes <= limit && chosen.threads <= 1024)
        return true;
    std::fprintf(stderr,
                 "fused_shared: layer %d does not fit: %zu bytes of %zu, %u threads of "
                 "1024\n",
                 layer.index, chosen.bytes, limit, chosen.threads);
    return false;
}

int main()
{
    const size_t limits[] = {101376, 232448}; /* RTX 4090, H100 */
    const Precision precisions[] = {PRECISION_FP32, PRECISION_3XTF32, PRECISION_TF32};
    Network network;
    Error error = {};
    if (!network_for_dataset(DATASET_CIFAR10, &network_default_options, &network, &error)) {
        std::fprintf(stderr, "fused_shared: %s\n", error.text);
        return 1;
    }
    bool fits = true;
    for (int i = 0; i < network.layer_count; i++)
        for (size_t limit : limits)
            for (Precision precision : precisions)
                if (network.layers[i].kind == LAYER_NNMF)
                    fits &= print_choice(network.layers[i], network.options.iterations, limit,
                                         precision);
    return fits ? 0 : 1;
}
