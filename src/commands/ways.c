#include "commands/ways.h"

void ways_print(const Network *network, const Device *device, int batch, FILE *stream)
{
    if (!device->operations->nnmf_way)
        return;
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *l = &network->layers[i];
        if (l->kind != LAYER_NNMF)
            continue;
        NnmfShape shape = {.rows = (size_t)batch * extent_positions(l->out),
                           .features = l->in.channels,
                           .outputs = l->out.channels};
        for (int backward = 0; backward < 2; backward++) {
            NnmfWay way;
            device->operations->nnmf_way(device->backend, &shape, backward, &way);
            fprintf(stream, "%-5d  NNMF %-8s  %s\n", l->index, backward ? "backward" : "forward",
                    way.text);
        }
    }
}
