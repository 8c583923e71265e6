/*
 * Prints the variant of the fused NNMF kernels, and its dynamic shared memory, for each layer of
 * the published network on an emulated RTX 4090 (99 KB per block, no clusters) and H100 (227 KB,
 * clusters):
 *
 *     layer;rows;features;outputs;limit;precision;direction;variant;bytes
 *
 * (rows: of a batch of 50.) Fails if a layer has no variant. The backward rule is the same for all
 * precisions and is printed once.
 */
#include "cuda_host.h"
#include "network/network.h"
#include "nnmf/device.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Gpu {
    size_t shared_limit;
    int multiprocessors, major, minor;
} Gpu;

static void stop(const Error *error)
{
    fprintf(stderr, "fused_shared: %s\n", error->text);
    exit(1);
}

/* Prints the line of a layer; returns false if no variant fits. */
static bool print_choice(const Device *device, const Layer *layer, const Gpu *gpu,
                         Precision precision, bool backward)
{
    enum { BATCH = 50 };
    NnmfParams params = {.rows = BATCH * extent_positions(layer->out),
                         .features = layer->in.channels,
                         .outputs = layer->out.channels};
    NnmfImplementation implementation;
    device->operations->nnmf_implementation(device->backend, &params, backward, &implementation);
    printf("%d;%zu;%d;%d;%zu;%s;%s;%s;%zu\n", layer->index, params.rows, params.features,
           params.outputs, gpu->shared_limit, precision_names[precision],
           backward ? "backward" : "forward", implementation.text, implementation.shared_bytes);
    if (implementation.shared_bytes > 0 && implementation.shared_bytes <= gpu->shared_limit)
        return true;
    fprintf(stderr, "fused_shared: layer %d does not fit: %zu bytes of %zu\n", layer->index,
            implementation.shared_bytes, gpu->shared_limit);
    return false;
}

static bool print_choices(const Network *network, const Gpu *gpu, Precision precision)
{
    Device device;
    Error error = {0};
    bool fits = true;
    cuda_host_reset();
    cuda_host_set_shared_optin(gpu->shared_limit);
    cuda_host_set_multiprocessors(gpu->multiprocessors);
    cuda_host_set_capability(gpu->major, gpu->minor);
    if (!device_open_cuda(&device, &(CudaOptions){.precision = precision}, &error))
        stop(&error);
    for (int i = 0; i < network->layer_count; i++)
        for (int backward = 0; backward <= (precision == PRECISION_FP32); backward++)
            if (network->layers[i].kind == LAYER_NNMF)
                fits &= print_choice(&device, &network->layers[i], gpu, precision, backward);
    if (!device.operations->finish(device.backend, &error))
        stop(&error);
    device_close(&device);
    return fits;
}

int main(void)
{
    static const Gpu gpus[] = {{101376, 128, 8, 9}, {232448, 132, 9, 0}}; /* RTX 4090, H100 */
    Network network;
    Error error = {0};
    if (!network_for_dataset(DATASET_CIFAR10, &network_default_options, &network, &error))
        stop(&error);
    bool fits = true;
    for (size_t g = 0; g < sizeof gpus / sizeof *gpus; g++)
        for (int precision = PRECISION_FP32; precision <= PRECISION_TF32; precision++)
            fits &= print_choices(&network, &gpus[g], (Precision)precision);
    return fits ? 0 : 1;
}
