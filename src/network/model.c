#include "nnmf/model.h"

#include "nnmf/memory.h"
#include "nnmf/philox.h"

#include <math.h>
#include <string.h>

/* ---- memory ---- */

/* Device memory for `count` elements; a model's allocations go on after the first failure, which
 * is the one that is told. */
static void *reserve(const Model *model, size_t count, size_t size, const char *what, Error *error)
{
    size_t bytes;
    if (error->status != STATUS_OK)
        return NULL;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        fail(error, "out of memory: %s: %zu elements exceed the address space", what, count);
        return NULL;
    }
    return model->device->operations->allocate(model->device->backend, bytes, what, error);
}

static float *reserve_floats(const Model *model, size_t count, const char *what, Error *error)
{
    return reserve(model, count, sizeof(float), what, error);
}

static size_t rows(const Layer *layer, int batch)
{
    return (size_t)batch * extent_positions(layer->out);
}

static void reserve_layer(Model *model, int number, Error *error)
{
    const Layer *layer = &model->network->layers[number];
    LayerBuffers *b = &model->layers[number];
    size_t batch = (size_t)model->batch_size, channels = (size_t)layer->out.channels;
    b->out = reserve_floats(model, batch * extent_elements(layer->out), "activations", error);
    if (layer->kind == LAYER_UNFOLD)
        b->scale = reserve_floats(model, rows(layer, model->batch_size), "L1 norms", error);
    if (layer->kind == LAYER_NNMF) {
        b->scale = reserve_floats(model, channels, "row sums of weights", error);
        b->w = reserve_floats(model, model->network->parameters[layer->weight].elements,
                              "normalised weights", error);
    }
    if (layer->kind == LAYER_BATCHNORM) {
        b->mean = reserve_floats(model, channels, "batch norm means", error);
        b->deviation = reserve_floats(model, channels, "batch norm deviations", error);
    }
}

bool model_create(const Network *network, const Device *device, int batch_size, Model *model,
                  Error *error)
{
    Error first = {0};
    *model = (Model){.network = network, .device = device, .batch_size = batch_size};
    size_t elements = network->buffer_elements, batch = (size_t)batch_size;
    size_t widest = 0, largest_weight = 0;
    for (int i = 0; i < network->layer_count; i++) {
        const Layer *layer = &network->layers[i];
        size_t wide = extent_elements(layer->out);
        widest = wide > widest ? wide : widest;
        if (layer->kind == LAYER_NNMF) {
            size_t weight = network->parameters[layer->weight].elements;
            largest_weight = weight > largest_weight ? weight : largest_weight;
        }
        reserve_layer(model, i, &first);
    }
    model->parameters = reserve_floats(model, elements, "parameters", &first);
    model->gradients = reserve_floats(model, elements, "gradients", &first);
    model->first = reserve_floats(model, elements, "first moments", &first);
    model->second = reserve_floats(model, elements, "second moments", &first);
    model->images =
        reserve_floats(model, batch * extent_elements(network->input), "images", &first);
    model->labels = reserve(model, batch, 1, "labels", &first);
    model->dout = reserve_floats(model, batch * widest, "gradients of activations", &first);
    model->din = reserve_floats(model, batch * widest, "gradients of activations", &first);
    model->dw = reserve_floats(model, largest_weight, "gradients of weights", &first);
    if (first.status != STATUS_OK) {
        *error = first;
        model_destroy(model);
        return false;
    }
    for (int i = 0; i < network->parameter_count; i++)
        model->segments[i] = (AdamSegment){.offset = network->parameters[i].offset,
                                           .elements = network->parameters[i].elements,
                                           .group = (int)network->parameters[i].group};
    return true;
}

void model_destroy(Model *model)
{
    if (!model->device)
        return;
    void (*release)(Backend *, void *) = model->device->operations->release;
    Backend *backend = model->device->backend;
    for (int i = 0; i < MAX_LAYERS; i++) {
        LayerBuffers *b = &model->layers[i];
        release(backend, b->out);
        release(backend, b->scale);
        release(backend, b->w);
        release(backend, b->mean);
        release(backend, b->deviation);
    }
    void *buffers[] = {model->parameters, model->gradients, model->first,
                       model->second,     model->images,    model->labels,
                       model->dout,       model->din,       model->dw};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        release(backend, buffers[i]);
    *model = (Model){0};
}

bool model_read(const Model *model, const float *buffer, float *host, Error *error)
{
    const Operations *ops = model->device->operations;
    ops->download(model->device->backend, host, buffer,
                  model->network->buffer_elements * sizeof *host);
    return ops->finish(model->device->backend, error);
}

bool model_write(Model *model, float *buffer, const float *host, Error *error)
{
    const Operations *ops = model->device->operations;
    ops->upload(model->device->backend, buffer, host,
                model->network->buffer_elements * sizeof *host);
    return ops->finish(model->device->backend, error);
}

/* ---- parameters ---- */

static float *host_buffer(const Model *model, Error *error)
{
    return memory_allocate(model->network->buffer_elements, sizeof(float), "parameters", error);
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
        float *weight = host + p->offset;
        for (size_t e = 0; e < p->elements; e++) {
            if (layer->kind == LAYER_NNMF)
                weight[e] = philox_uniform(
                    draw(seed, DRAW_WEIGHTS, (uint32_t)layer->weight, 0, (uint32_t)(e / 4))
                        .v[e % 4]);
            else if (layer->kind == LAYER_CONVOLUTION)
                weight[e] = e / p->shape[1] == e % p->shape[1] ? 1.0f : 0.0f;
            else
                weight[e] = 1.0f;
        }
        if (layer->beta >= 0)
            host[network->parameters[layer->beta].offset] = (float)network->options.beta;
    }
    bool written = model_write(model, model->parameters, host, error);
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
        char want[96] = "", have[128] = "";
        size_t length = 0;
        for (int i = 0; i < p->rank; i++)
            length += (size_t)snprintf(want + length, sizeof want - length, "%s%zu", i ? " x " : "",
                                       p->shape[i]);
        length = 0;
        for (int i = 0; i < tensor->rank && length < sizeof have; i++)
            length += (size_t)snprintf(have + length, sizeof have - length, "%s%zu", i ? " x " : "",
                                       tensor->shape[i]);
        return fail(error, "misshapen weights: %s: tensor '%s' is %s, expected %s", path, p->name,
                    have, want);
    }
    const float *values = tensor->data;
    for (size_t i = 0; i < tensor->elements; i++)
        if (!isfinite(values[i]))
            return fail(error, "bad weights: %s: tensor '%s', element %zu is not finite", path,
                        p->name, i);
    return true;
}

/* Length of the prefix that a moment has in a checkpoint, else 0. */
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

bool model_load_weights(Model *model, const TensorFile *file, const char *path, Error *error)
{
    const Network *network = model->network;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const char *name = file->tensors[i].name;
        if (!find_parameter(network, name + moment_prefix(name)))
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
    loaded = loaded && model_write(model, model->parameters, host, error);
    memory_free(host);
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

/* ---- computing ---- */

static float *parameter(const Model *model, float *buffer, int number)
{
    return number < 0 ? NULL : buffer + model->network->parameters[number].offset;
}

static UnfoldShape unfold_shape(const Layer *layer, int batch)
{
    return (UnfoldShape){.batch = batch,
                         .height = layer->in.height,
                         .width = layer->in.width,
                         .channels = layer->in.channels,
                         .kernel = layer->kernel,
                         .stride = layer->stride,
                         .out_height = layer->out.height,
                         .out_width = layer->out.width};
}

static WeightShape weight_shape(const Network *network, const Layer *layer)
{
    return (WeightShape){.outputs = layer->out.channels,
                         .channels = layer->in.channels / layer->window,
                         .window = layer->window,
                         .function = network->options.positive_function};
}

static NnmfShape nnmf_shape(const Network *network, const Layer *layer, int batch)
{
    return (NnmfShape){.rows = rows(layer, batch),
                       .features = layer->in.channels,
                       .outputs = layer->out.channels,
                       .iterations = network->options.iterations,
                       .epsilon = (float)network->options.epsilon,
                       .local_learning = network->options.local_learning};
}

static ConvolutionShape convolution_shape(const Layer *layer, int batch)
{
    return (ConvolutionShape){
        .rows = rows(layer, batch), .in = layer->in.channels, .out = layer->out.channels};
}

static const float *layer_input(const Model *model, int number)
{
    return number ? model->layers[number - 1].out : model->images;
}

static void forward_layer(Model *model, int number, int batch)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    const Network *network = model->network;
    const Layer *l = &network->layers[number];
    const LayerBuffers *b = &model->layers[number];
    const float *in = layer_input(model, number);
    const float *weight = parameter(model, model->parameters, l->weight);
    const float *bias = parameter(model, model->parameters, l->bias);
    switch (l->kind) {
    case LAYER_UNFOLD: {
        UnfoldShape shape = unfold_shape(l, batch);
        ops->unfold_forward(backend, &shape, in, b->out, b->scale);
        break;
    }
    case LAYER_NNMF: {
        WeightShape of_weight = weight_shape(network, l);
        NnmfShape shape = nnmf_shape(network, l, batch);
        ops->weight_forward(backend, &of_weight, weight,
                            parameter(model, model->parameters, l->beta), b->w, b->scale);
        ops->nnmf_forward(backend, &shape, in, b->w, b->out);
        break;
    }
    case LAYER_BATCHNORM:
        ops->batchnorm_forward(backend, rows(l, batch), l->out.channels, in, weight, bias, b->out,
                               b->mean, b->deviation);
        break;
    case LAYER_CONVOLUTION: {
        ConvolutionShape shape = convolution_shape(l, batch);
        ops->convolution_forward(backend, &shape, in, weight, bias, b->out);
        break;
    }
    case LAYER_SOFTMAX: ops->softmax(backend, batch, l->out.channels, in, b->out); break;
    }
}

/* From model->dout, the gradient of the layer's output, to model->din; for the softmax the loss
 * has done that already. */
static void backward_layer(Model *model, int number, int batch)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    const Network *network = model->network;
    const Layer *l = &network->layers[number];
    const LayerBuffers *b = &model->layers[number];
    const float *in = layer_input(model, number);
    const float *weight = parameter(model, model->parameters, l->weight);
    float *dweight = parameter(model, model->gradients, l->weight);
    float *dbias = parameter(model, model->gradients, l->bias);
    switch (l->kind) {
    case LAYER_UNFOLD: {
        UnfoldShape shape = unfold_shape(l, batch);
        ops->unfold_backward(backend, &shape, in, b->out, b->scale, model->dout, model->din);
        break;
    }
    case LAYER_NNMF: {
        WeightShape of_weight = weight_shape(network, l);
        NnmfShape shape = nnmf_shape(network, l, batch);
        /* Nobody asks for the gradient of the image. */
        float *dx = number > 1 ? model->din : NULL;
        ops->nnmf_backward(backend, &shape, in, b->w, b->out, model->dout, dx, model->dw);
        ops->weight_backward(backend, &of_weight, weight,
                             parameter(model, model->parameters, l->beta), b->w, b->scale,
                             model->dw, dweight, parameter(model, model->gradients, l->beta));
        break;
    }
    case LAYER_BATCHNORM:
        ops->batchnorm_backward(backend, rows(l, batch), l->out.channels, in, weight, b->mean,
                                b->deviation, model->dout, model->din, dweight, dbias);
        break;
    case LAYER_CONVOLUTION: {
        ConvolutionShape shape = convolution_shape(l, batch);
        ops->convolution_backward(backend, &shape, in, weight, model->dout, model->din, dweight,
                                  dbias);
        break;
    }
    case LAYER_SOFTMAX: break;
    }
}

void model_forward(Model *model, int batch)
{
    for (int i = 0; i < model->network->layer_count; i++)
        forward_layer(model, i, batch);
}

const float *model_probabilities(const Model *model)
{
    return model->layers[model->network->layer_count - 1].out;
}

static void run_loss(Model *model, int batch, const Clock *clock, Totals *totals, float *dlogits)
{
    const Network *network = model->network;
    int last = network->layer_count - 1;
    LossShape shape = {.batch = batch,
                       .classes = network->layers[last].out.channels,
                       .kind = network->options.loss,
                       .mse = network->options.loss_mse,
                       .kl = network->options.loss_kl};
    model->device->operations->loss(model->device->backend, &shape, model_probabilities(model),
                                    model->labels, clock, totals, dlogits);
}

void model_loss(Model *model, int batch, const Clock *clock, Totals *totals)
{
    run_loss(model, batch, clock, totals, NULL);
}

void model_backward(Model *model, int batch, const Clock *clock, Totals *totals)
{
    run_loss(model, batch, clock, totals, model->dout);
    for (int i = model->network->layer_count - 2; i > 0; i--) {
        backward_layer(model, i, batch);
        float *done = model->dout;
        model->dout = model->din;
        model->din = done;
    }
}

void model_update(Model *model, Clock *clock)
{
    const Operations *ops = model->device->operations;
    ops->adam(model->device->backend, model->segments, model->network->parameter_count, clock,
              model->gradients, model->parameters, model->first, model->second);
    ops->advance(model->device->backend, clock);
}
