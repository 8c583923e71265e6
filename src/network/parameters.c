/* A model's parameters: initial values, and conversion from and to a file's tensors. */
#include "network/model.h"

#include "network/population.h"
#include "nnmf/memory.h"
#include "nnmf/philox.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static float *host_buffer(const Model *model, Error *error)
{
    return memory_allocate(model->network->buffer_elements, sizeof(float), "parameters", error);
}

static float initial_weight(const Network *network, const Layer *layer, uint64_t seed, size_t e)
{
    size_t inputs = network->parameters[layer->weight].shape[1]; /* of (outputs, inputs, ...) */
    uint32_t number = (uint32_t)layer->weight;
    bool replaces_nnmf = layer->kind == LAYER_CONVOLUTION && layer->window > 0;
    float random = 0.0f;
    if (layer->kind == LAYER_NNMF || replaces_nnmf)
        random = philox_uniform(draw(seed, DRAW_WEIGHTS, number, 0, (uint32_t)(e / 4)).v[e % 4]);
    if (replaces_nnmf)
        return (2.0f * random - 1.0f) / sqrtf((float)inputs);
    if (layer->kind == LAYER_CONVOLUTION)
        return e / inputs == e % inputs ? 1.0f : 0.0f;
    return layer->kind == LAYER_NNMF ? random : 1.0f;
}

bool model_initialise(Model *model, uint64_t seed, Error *error)
{
    const Network *network = model->network;
    float *host = host_buffer(model, error);
    if (!host)
        return false;
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = &network->layers[i];
        if (layer->weight < 0)
            continue;
        const Parameter *p = &network->parameters[layer->weight];
        for (size_t e = 0; e < p->elements; e++)
            host[p->offset + e] = initial_weight(network, layer, seed, e);
        if (layer->beta >= 0)
            host[network->parameters[layer->beta].offset] = (float)network->options.beta;
    }
    bool written = model_write(model, model->parameters, host, error);
    model->has_population = false;
    memory_free(host);
    return written;
}

static bool check_tensor(const Parameter *p, const Tensor *tensor, const char *path, Error *error)
{
    if (tensor->type != TENSOR_F32)
        return fail(error, "bad weights: %s: tensor '%s' must be F32", path, p->name);
    bool same = tensor->rank == p->rank;
    for (int i = 0; same && i < p->rank; i++)
        same = tensor->shape[i] == p->shape[i];
    if (!same) {
        char expected[96] = "", found[128] = "";
        size_t length = 0;
        for (int i = 0; i < p->rank; i++)
            length += (size_t)snprintf(expected + length, sizeof expected - length, "%s%zu",
                                       i ? " x " : "", p->shape[i]);
        length = 0;
        for (int i = 0; i < tensor->rank && length < sizeof found; i++)
            length += (size_t)snprintf(found + length, sizeof found - length, "%s%zu",
                                       i ? " x " : "", tensor->shape[i]);
        return fail(error, "misshapen weights: %s: tensor '%s' is %s, expected %s", path, p->name,
                    found, expected);
    }
    const float *values = tensor->data;
    for (size_t i = 0; i < tensor->elements; i++)
        if (!isfinite(values[i]))
            return fail(error, "bad weights: %s: tensor '%s', element %zu is not finite", path,
                        p->name, i);
    return true;
}

/* Returns the length of the prefix of one of Adam's moments in a checkpoint, otherwise 0. */
static size_t moment_prefix(const char *name)
{
    static const char *const prefixes[] = {"optimiser.first.", "optimiser.second."};
    for (int i = 0; i < 2; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return strlen(prefixes[i]);
    return 0;
}

static const Parameter *find_parameter(const Network *network, const char *name)
{
    for (int i = 0; i < network->parameter_count; i++)
        if (strcmp(network->parameters[i].name, name) == 0)
            return &network->parameters[i];
    return NULL;
}

/* An NNMF layer's weight is a matrix; that of the convolution that replaces it has rank 4. */
static bool check_architecture(const Network *network, const TensorFile *file, const char *path,
                               Error *error)
{
    const Tensor *first = tensor_file_find(file, network->parameters[0].name);
    Architecture own = network->options.architecture;
    Architecture found = own;
    if (first && first->rank == 2)
        found = ARCHITECTURE_NNMF;
    else if (first && first->rank == 4 && first->shape[2] == 1 && first->shape[3] == 1)
        found = ARCHITECTURE_CNN;
    return found == own ||
           fail(error, "weights of the other architecture: %s: it is of --arch %s, not %s", path,
                architecture_names[found], architecture_names[own]);
}

bool model_load_weights(Model *model, const TensorFile *file, const char *path, Error *error)
{
    const Network *network = model->network;
    if (!check_architecture(network, file, path, error))
        return false;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const char *name = file->tensors[i].name;
        if (!find_parameter(network, name + moment_prefix(name)) &&
            !population_has_tensor(network, name))
            return fail(error, "unexpected weights: %s: tensor '%s' is not of this network", path,
                        name);
    }
    float *host = host_buffer(model, error);
    if (!host)
        return false;
    bool loaded = true;
    for (int i = 0; loaded && i < network->parameter_count; i++) {
        const Parameter *p = &network->parameters[i];
        const Tensor *tensor = tensor_file_find(file, p->name);
        if (!tensor)
            loaded = fail(error, "missing weights: %s: no tensor '%s'", path, p->name);
        else if ((loaded = check_tensor(p, tensor, path, error)))
            memcpy(host + p->offset, tensor->data, p->elements * sizeof *host);
    }
    loaded = loaded && population_load(model, file, path, error) &&
             model_write(model, model->parameters, host, error);
    memory_free(host);
    return loaded;
}

bool model_load_file(Model *model, const char *path, Error *error)
{
    TensorFile file;
    if (!safetensors_read(path, &file, error))
        return false;
    bool loaded = model_load_weights(model, &file, path, error);
    tensor_file_free(&file);
    return loaded;
}

bool model_tensors(const Model *model, const char *prefix, float *host, Tensor *tensors,
                   Error *error)
{
    const Network *network = model->network;
    memset(tensors, 0, (size_t)network->parameter_count * sizeof *tensors);
    for (int i = 0; i < network->parameter_count; i++) {
        const Parameter *p = &network->parameters[i];
        size_t length = strlen(prefix) + strlen(p->name) + 1;
        Tensor *t = &tensors[i];
        t->name = memory_allocate(length, 1, "a tensor's name", error);
        if (!t->name) {
            model_free_tensors(model, tensors);
            return false;
        }
        snprintf(t->name, length, "%s%s", prefix, p->name);
        t->type = TENSOR_F32;
        t->rank = p->rank;
        memcpy(t->shape, p->shape, (size_t)p->rank * sizeof *t->shape);
        t->elements = p->elements;
        t->data = host + p->offset;
    }
    return true;
}

void model_free_tensors(const Model *model, Tensor *tensors)
{
    for (int i = 0; i < model->network->parameter_count; i++) {
        memory_free(tensors[i].name);
        tensors[i].name = NULL;
    }
}
