#include "commands/show.h"

#include "nnmf/memory.h"
#include "pictures/sheets.h"
#include "run/session.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct Weights {
    WeightLayer layers[MAX_LAYERS];
    float *w[MAX_LAYERS]; /* of each layer */
    int count;
} Weights;

/* Returns the kernel size of an NNMF layer; windows are square. */
static int side(int window)
{
    int kernel = 1;
    while (kernel * kernel < window)
        kernel++;
    return kernel;
}

/* Downloads the normalised weights of one layer. */
static bool fetch(const Session *session, int number, Weights *weights, Error *error)
{
    const Layer *layer = &session->network.layers[number];
    const Operations *ops = session->device.operations;
    Backend *backend = session->device.backend;
    size_t elements = session->network.parameters[layer->weight].elements;
    float *w = memory_allocate(elements, sizeof *w, "weights to show", error);
    if (!w)
        return false;
    ops->download(backend, w, session->model.layers[number].w, elements * sizeof *w);
    weights->w[weights->count] = w;
    weights->layers[weights->count++] =
        (WeightLayer){.index = layer->index,
                      .outputs = layer->out.channels,
                      .channels = layer->in.channels / layer->window,
                      .kernel = side(layer->window),
                      .w = w};
    return ops->finish(backend, error);
}

/* only: index of the layer, 0: all */
static bool fetch_all(Session *session, int64_t only, Weights *weights, Error *error)
{
    model_normalise_weights(&session->model);
    for (int i = 0; i < session->network.layer_count; i++) {
        const Layer *layer = &session->network.layers[i];
        if (layer->kind == LAYER_NNMF && (only == 0 || layer->index == only) &&
            !fetch(session, i, weights, error))
            return false;
    }
    if (weights->count > 0)
        return true;
    if (only == 0)
        return fail_usage(error,
                          "no NNMF layer: the network of --arch cnn: --arch nnmf was expected");
    return fail_usage(error,
                      "no such NNMF layer: --layer: %" PRId64
                      ": a layer listed by nnmf-train info "
                      "was expected",
                      only);
}

bool show_weights(const Settings *settings, Picture *picture, Error *error)
{
    Session session;
    if (!session_open(settings, 1, &session, error))
        return false;
    Weights weights = {.count = 0};
    bool done = fetch_all(&session, settings->layer, &weights, error) &&
                sheet_weights(
                    "Learned weights of the NNMF layers. Black: 0; white: the largest of "
                    "the same output",
                    weights.layers, weights.count, picture, error);
    for (int i = 0; i < weights.count; i++)
        memory_free(weights.w[i]);
    session_close(&session);
    return done;
}
