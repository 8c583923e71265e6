#include "commands/implementations.h"

void implementations_print(const Network *network, const Device *device, int batch, FILE *stream)
{
    if (!device->operations->nnmf_implementation)
        return;
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *l = &network->layers[i];
        if (l->kind != LAYER_NNMF)
            continue;
        NnmfParams params = network_nnmf_params(network, l, batch, 1);
        for (int backward = 0; backward < 2; backward++) {
            NnmfImplementation implementation;
            device->operations->nnmf_implementation(device->backend, &params, backward,
                                                    &implementation);
            fprintf(stream, "%-5d  NNMF %-8s  %s\n", l->index, backward ? "backward" : "forward",
                    implementation.text);
        }
    }
}
