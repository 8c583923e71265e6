#include "network/network.h"

#include <string.h>

const NetworkOptions network_default_options = {
    .architecture = ARCHITECTURE_NNMF,
    .iterations = 20,
    .epsilon = 0.0,
    .positive_function = POSITIVE_ABS,
    .beta = 1.0,
    .local_learning = LOCAL_NONE,
    .loss = LOSS_SBS,
    .loss_mse = 0.5,
    .loss_kl = 1.0,
};

_Static_assert((int)GROUPS == (int)LEARNING_RATES, "a learning rate for each group");

const char *const architecture_names[] = {
    [ARCHITECTURE_NNMF] = "nnmf", [ARCHITECTURE_CNN] = "cnn", NULL};

const char *const parameter_group_names[GROUPS] = {"cnn_top", "nnmf", "batchnorm"};

/* The published network. Kernel 0: one window over the whole remaining image. */
static const Block published_blocks[] = {
    {.channels = 32, .kernel = 5, .stride = 1, .convolution = true},
    {.channels = 32, .kernel = 2, .stride = 2, .convolution = false}, /* pooling */
    {.channels = 64, .kernel = 5, .stride = 1, .convolution = true},
    {.channels = 64, .kernel = 2, .stride = 2, .convolution = false}, /* pooling */
    {.channels = 96, .kernel = 0, .stride = 1, .convolution = true},
    {.channels = 10, .kernel = 1, .stride = 1, .convolution = true},
};

/* ---- building ---- */

typedef struct Builder {
    Network *network;
    Error *error;
    int index; /* of the next operation in the published Sequential */
} Builder;

static int add_parameter(Builder *b, const char *suffix, ParameterGroup group, int rank,
                         const size_t *shape)
{
    Network *network = b->network;
    if (network->parameter_count == MAX_PARAMETERS) {
        fail(b->error, "network too deep: at most %d parameters are possible", MAX_PARAMETERS);
        return -1;
    }
    Parameter *p = &network->parameters[network->parameter_count];
    snprintf(p->name, sizeof p->name, "%d.%s", b->index, suffix);
    p->group = group;
    p->rank = rank;
    p->elements = 1;
    for (int i = 0; i < rank; i++) {
        p->shape[i] = shape[i];
        p->elements *= shape[i];
    }
    p->offset = network->buffer_elements;
    network->buffer_elements +=
        (p->elements + PARAMETER_ALIGNMENT - 1) / PARAMETER_ALIGNMENT * PARAMETER_ALIGNMENT;
    return network->parameter_count++;
}

/* Adds a layer whose input is the last one's output. Returns NULL if the network is full. */
static Layer *add_layer(Builder *b, LayerKind kind)
{
    Network *network = b->network;
    if (network->layer_count == MAX_LAYERS) {
        fail(b->error, "network too deep: at most %d layers are possible", MAX_LAYERS);
        return NULL;
    }
    Layer *layer = &network->layers[network->layer_count];
    *layer = (Layer){.kind = kind, .index = b->index, .weight = -1, .bias = -1, .beta = -1};
    layer->in = network->layer_count ? layer[-1].out : network->input;
    layer->out = layer->in;
    network->layer_count++;
    return layer;
}

static bool add_unfold(Builder *b, const Block *block)
{
    Layer *layer = add_layer(b, LAYER_UNFOLD);
    if (!layer)
        return false;
    Extent in = layer->in;
    layer->kernel = block->kernel ? block->kernel : in.height;
    layer->stride = block->stride;
    if (layer->kernel > in.height || layer->kernel > in.width ||
        (block->kernel == 0 && in.height != in.width))
        return fail(b->error,
                    "image too small for the network: layer %d sees %d x %d pixels: its "
                    "window needs %d x %d",
                    b->index, in.height, in.width, layer->kernel, layer->kernel);
    layer->out.height = (in.height - layer->kernel) / layer->stride + 1;
    layer->out.width = (in.width - layer->kernel) / layer->stride + 1;
    layer->out.channels = in.channels * layer->kernel * layer->kernel;
    b->index += 4; /* ReLU, unfold, fold to an image, L1 norm */
    return true;
}

static bool add_nnmf(Builder *b, const Block *block)
{
    Layer *layer = add_layer(b, LAYER_NNMF);
    if (!layer)
        return false;
    layer->out.channels = block->channels;
    layer->window = layer[-1].kernel * layer[-1].kernel;
    layer->weight = add_parameter(b, "weight", GROUP_NNMF, 2,
                                  (size_t[]){(size_t)block->channels, (size_t)layer->in.channels});
    if (layer->weight < 0)
        return false;
    if (positive_function_has_beta(b->network->options.positive_function)) {
        layer->beta = add_parameter(b, "beta", GROUP_NNMF, 1, (size_t[]){1});
        if (layer->beta < 0)
            return false;
    }
    b->index++;
    return true;
}

/* Adds the convolution that replaces an NNMF layer in the baseline. */
static bool add_replacement(Builder *b, const Block *block)
{
    Layer *layer = add_layer(b, LAYER_CONVOLUTION);
    if (!layer)
        return false;
    layer->out.channels = block->channels;
    layer->window = layer[-1].kernel * layer[-1].kernel;
    size_t shape[] = {(size_t)block->channels, (size_t)layer->in.channels, 1, 1};
    layer->weight = add_parameter(b, "weight", GROUP_NNMF, 4, shape);
    b->index++;
    return layer->weight >= 0;
}

static bool add_batchnorm(Builder *b)
{
    const Layer *last = &b->network->layers[b->network->layer_count - 1];
    if (extent_positions(last->out) == 1)
        return true;
    Layer *layer = add_layer(b, LAYER_BATCHNORM);
    if (!layer)
        return false;
    size_t channels = (size_t)layer->out.channels;
    layer->weight = add_parameter(b, "weight", GROUP_BATCHNORM, 1, &channels);
    layer->bias = add_parameter(b, "bias", GROUP_BATCHNORM, 1, &channels);
    layer->population = b->network->population_elements;
    b->network->population_elements += 2 * channels;
    b->index++;
    return layer->weight >= 0 && layer->bias >= 0;
}

static bool add_convolution(Builder *b)
{
    Layer *layer = add_layer(b, LAYER_CONVOLUTION);
    if (!layer)
        return false;
    size_t channels = (size_t)layer->out.channels;
    layer->weight =
        add_parameter(b, "weight", GROUP_CNN_TOP, 4, (size_t[]){channels, channels, 1, 1});
    layer->bias = add_parameter(b, "bias", GROUP_CNN_TOP, 1, &channels);
    b->index++;
    return layer->weight >= 0 && layer->bias >= 0;
}

static bool add_relu(Builder *b)
{
    bool added = add_layer(b, LAYER_RELU) != NULL;
    b->index++;
    return added;
}

static bool add_nnmf_block(Builder *b, const Block *block)
{
    if (!add_unfold(b, block) || !add_nnmf(b, block) || !add_batchnorm(b))
        return false;
    return !block->convolution || (add_convolution(b) && add_batchnorm(b));
}

static bool add_cnn_block(Builder *b, const Block *block, bool last)
{
    if (!add_unfold(b, block) || !add_replacement(b, block) || !add_batchnorm(b))
        return false;
    if (last)
        return true;
    if (block->convolution)
        return add_relu(b) && add_convolution(b) && add_batchnorm(b);
    b->index++; /* its ReLU, which the next block's makes redundant */
    return true;
}

bool network_build(Extent input, const Block *blocks, int block_count,
                   const NetworkOptions *options, Network *network, Error *error)
{
    memset(network, 0, sizeof *network);
    network->options = *options;
    network->input = input;
    Builder b = {.network = network, .error = error};
    bool cnn = options->architecture == ARCHITECTURE_CNN;
    for (int i = 0; i < block_count; i++)
        if (!(cnn ? add_cnn_block(&b, &blocks[i], i == block_count - 1)
                  : add_nnmf_block(&b, &blocks[i])))
            return false;
    return add_layer(&b, LAYER_SOFTMAX) != NULL;
}

bool network_for_dataset(DatasetKind dataset, const NetworkOptions *options, Network *network,
                         Error *error)
{
    enum { CROPPED = 4 }; /* pixels a crop is smaller than the image */
    int channels, height, width;
    dataset_image_shape(dataset, &channels, &height, &width);
    Extent crop = {.height = height - CROPPED, .width = width - CROPPED, .channels = channels};
    return network_build(crop, published_blocks, sizeof published_blocks / sizeof *published_blocks,
                         options, network, error);
}

size_t network_group_elements(const Network *network, ParameterGroup group)
{
    size_t sum = 0;
    for (int i = 0; i < network->parameter_count; i++)
        if (network->parameters[i].group == group)
            sum += network->parameters[i].elements;
    return sum;
}

/* ---- printing ---- */

static const char *layer_name(LayerKind kind)
{
    switch (kind) {
    case LAYER_UNFOLD: return "ReLU, unfold, L1 norm";
    case LAYER_NNMF: return "NNMF";
    case LAYER_BATCHNORM: return "batch norm";
    case LAYER_CONVOLUTION: return "convolution 1x1";
    case LAYER_RELU: return "ReLU";
    case LAYER_SOFTMAX: break;
    }
    return "softmax";
}

static size_t layer_parameter_elements(const Network *network, const Layer *layer)
{
    size_t sum = 0;
    for (int i = 0; i < 3; i++) {
        int parameter = (int[]){layer->weight, layer->bias, layer->beta}[i];
        if (parameter >= 0)
            sum += network->parameters[parameter].elements;
    }
    return sum;
}

NnmfParams network_nnmf_params(const Network *network, const Layer *layer, int batch, int batches)
{
    size_t images = (size_t)batch * (size_t)batches;
    return (NnmfParams){.rows = images * extent_positions(layer->out),
                        .features = layer->in.channels,
                        .outputs = layer->out.channels,
                        .batches = batches,
                        .iterations = network->options.iterations,
                        .epsilon = (float)network->options.epsilon,
                        .local_learning = network->options.local_learning};
}

void network_print(const Network *network, FILE *stream)
{
    fprintf(stream, "%-5s  %-26s %-14s    %-14s %10s  %s\n", "index", "operation", "in", "out",
            "parameters", "group");
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *l = &network->layers[i];
        char index[16], name[48], in[32], out[32];
        snprintf(index, sizeof index, l->kind == LAYER_UNFOLD ? "%d-%d" : "%d", l->index,
                 l->index + 3);
        if (l->kind == LAYER_UNFOLD)
            snprintf(name, sizeof name, "ReLU, unfold %dx%d/%d, L1", l->kernel, l->kernel,
                     l->stride);
        else
            snprintf(name, sizeof name, "%s", layer_name(l->kind));
        snprintf(in, sizeof in, "%d,%d,%d", l->in.channels, l->in.height, l->in.width);
        snprintf(out, sizeof out, "%d,%d,%d", l->out.channels, l->out.height, l->out.width);
        fprintf(stream, "%-5s  %-26s %-14s -> %-14s", index, name, in, out);
        size_t elements = layer_parameter_elements(network, l);
        if (elements)
            fprintf(stream, " %10zu  %s", elements,
                    parameter_group_names[network->parameters[l->weight].group]);
        fprintf(stream, "\n");
    }
    size_t all = 0;
    fprintf(stream, "Parameters:");
    for (int group = 0; group < GROUPS; group++) {
        size_t elements = network_group_elements(network, (ParameterGroup)group);
        fprintf(stream, " %s %zu,", parameter_group_names[group], elements);
        all += elements;
    }
    fprintf(stream, " total %zu\n", all);
}
