#include "network/model.h"

/* ---- memory ---- */

/* Allocates device memory for `count` elements. Returns NULL if `error` is set already, so that
 * model_create checks it once, at the end. */
static void *allocate_elements(const Model *model, size_t count, size_t size, const char *what,
                               Error *error)
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

static float *allocate_floats(const Model *model, size_t count, const char *what, Error *error)
{
    return allocate_elements(model, count, sizeof(float), what, error);
}

static size_t rows(const Layer *layer, int images)
{
    return (size_t)images * extent_positions(layer->out);
}

static size_t activation_elements(const Layer *layer, int images)
{
    return (size_t)images * extent_elements(layer->out);
}

/* Returns whether the features are ordered differently in the activations and in the weight. */
static bool has_reordered_weight(const Layer *layer)
{
    return layer->kind == LAYER_CONVOLUTION && layer->window > 1;
}

static void allocate_weights(Model *model, int number, const char *what, Error *error)
{
    const Network *network = model->network;
    LayerBuffers *b = &model->layers[number];
    size_t elements = network->parameters[network->layers[number].weight].elements;
    b->w = allocate_floats(model, elements, what, error);
    b->dw = allocate_floats(model, elements, "gradients of weights", error);
}

static void allocate_layer(Model *model, int number, Error *error)
{
    const Layer *layer = &model->network->layers[number];
    LayerBuffers *b = &model->layers[number];
    size_t batches = (size_t)model->batches, channels = (size_t)layer->out.channels;
    int images = model->batch_size * model->batches;
    b->out = allocate_floats(model, activation_elements(layer, images), "activations", error);
    if (layer->kind == LAYER_UNFOLD)
        b->scale = allocate_floats(model, rows(layer, images), "L1 norms", error);
    if (layer->kind == LAYER_NNMF) {
        b->scale = allocate_floats(model, channels, "row sums of weights", error);
        allocate_weights(model, number, "normalised weights", error);
    }
    if (has_reordered_weight(layer))
        allocate_weights(model, number, "reordered weights", error);
    if (layer->kind == LAYER_BATCHNORM) {
        b->mean = allocate_floats(model, batches * channels, "batch norm means", error);
        b->rstd = allocate_floats(model, batches * channels, "batch norm rstd", error);
    }
}

static float *parameter(const Model *model, float *buffer, int number)
{
    return number < 0 ? NULL : buffer + model->network->parameters[number].offset;
}

static LayerWeights layer_weights(const Model *model, int number)
{
    const Layer *l = &model->network->layers[number];
    const LayerBuffers *b = &model->layers[number];
    return (LayerWeights){.shape = {.outputs = l->out.channels,
                                    .channels = l->in.channels / l->window,
                                    .window = l->window,
                                    .function = model->network->options.positive_function},
                          .raw = parameter(model, model->parameters, l->weight),
                          .beta = parameter(model, model->parameters, l->beta),
                          .w = b->w,
                          .scale = b->scale,
                          .dw = b->dw,
                          .d_raw = parameter(model, model->gradients, l->weight),
                          .dbeta = parameter(model, model->gradients, l->beta)};
}

bool model_create(const Network *network, const Device *device, int batch_size, int batches,
                  Model *model, Error *error)
{
    Error first = {0};
    *model =
        (Model){.network = network, .device = device, .batch_size = batch_size, .batches = batches};
    size_t elements = network->buffer_elements, batch = (size_t)batch_size;
    size_t images = batch * (size_t)batches;
    size_t widest = 0;
    for (int i = 0; i < network->layer_count; i++) {
        size_t wide = extent_elements(network->layers[i].out);
        widest = wide > widest ? wide : widest;
        allocate_layer(model, i, &first);
    }
    model->parameters = allocate_floats(model, elements, "parameters", &first);
    model->gradients = allocate_floats(model, elements, "gradients", &first);
    model->m = allocate_floats(model, elements, "first moments", &first);
    model->v = allocate_floats(model, elements, "second moments", &first);
    if (network->population_elements) {
        model->population =
            allocate_floats(model, network->population_elements, "population statistics", &first);
        model->sums = allocate_elements(model, network->population_elements, sizeof *model->sums,
                                        "population statistics", &first);
    }
    model->images =
        allocate_floats(model, images * extent_elements(network->input), "images", &first);
    model->labels = allocate_elements(model, images, 1, "labels", &first);
    model->dout = allocate_floats(model, batch * widest, "gradients of activations", &first);
    model->din = allocate_floats(model, batch * widest, "gradients of activations", &first);
    if (first.status != STATUS_OK) {
        *error = first;
        model_destroy(model);
        return false;
    }
    for (int i = 0; i < network->parameter_count; i++)
        model->segments[i] = (AdamSegment){.offset = network->parameters[i].offset,
                                           .elements = network->parameters[i].elements,
                                           .group = (int)network->parameters[i].group};
    for (int i = 0; i < network->layer_count; i++)
        if (network->layers[i].kind == LAYER_NNMF)
            model->weights[model->weight_count++] = layer_weights(model, i);
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
        release(backend, b->dw);
        release(backend, b->mean);
        release(backend, b->rstd);
    }
    void *buffers[] = {model->parameters, model->gradients, model->m,      model->v,
                       model->population, model->sums,      model->images, model->labels,
                       model->dout,       model->din};
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

/* ---- computing ---- */

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

static ConvolutionShape convolution_shape(const Layer *layer, int batch, int batches)
{
    return (ConvolutionShape){.rows = rows(layer, batch * batches),
                              .in = layer->in.channels,
                              .out = layer->out.channels,
                              .batches = batches};
}

static const float *layer_input(const Model *model, int number)
{
    return number ? model->layers[number - 1].out : model->images;
}

static void forward_batchnorm(Model *model, int number, int batch, int batches)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    const Layer *l = &model->network->layers[number];
    const LayerBuffers *b = &model->layers[number];
    const float *in = layer_input(model, number);
    const float *weight = parameter(model, model->parameters, l->weight);
    const float *bias = parameter(model, model->parameters, l->bias);
    int channels = l->out.channels;
    size_t count = rows(l, batch * batches);
    if (model->statistics == STATISTICS_POPULATION) {
        const float *mean = model->population + l->population;
        ops->batchnorm_frozen_forward(backend, count, channels, in, weight, bias, mean,
                                      mean + channels, b->out);
        return;
    }
    if (model->measuring)
        ops->batchnorm_accumulate(backend, count, channels, batches, in,
                                  model->sums + l->population);
    ops->batchnorm_forward(backend, count, channels, batches, in, weight, bias, b->out, b->mean,
                           b->rstd);
}

static void forward_layer(Model *model, int number, int batch, int batches)
{
    int images = batch * batches;
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
        UnfoldShape shape = unfold_shape(l, images);
        ops->unfold_forward(backend, &shape, in, b->out, b->scale);
        break;
    }
    case LAYER_NNMF: {
        NnmfParams params = network_nnmf_params(network, l, batch, batches);
        ops->nnmf_forward(backend, &params, in, b->w, b->out);
        break;
    }
    case LAYER_BATCHNORM: forward_batchnorm(model, number, batch, batches); break;
    case LAYER_CONVOLUTION: {
        ConvolutionShape shape = convolution_shape(l, batch, batches);
        if (has_reordered_weight(l)) {
            ops->transpose(backend, l->out.channels, l->in.channels / l->window, l->window, weight,
                           b->w);
            weight = b->w;
        }
        ops->convolution_forward(backend, &shape, in, weight, bias, b->out);
        break;
    }
    case LAYER_RELU: ops->relu_forward(backend, activation_elements(l, images), in, b->out); break;
    case LAYER_SOFTMAX: ops->softmax(backend, images, l->out.channels, in, b->out); break;
    }
}

static void backward_batchnorm(Model *model, int number, int batch, float *din)
{
    const Operations *ops = model->device->operations;
    const Layer *l = &model->network->layers[number];
    const LayerBuffers *b = &model->layers[number];
    const float *in = layer_input(model, number);
    const float *weight = parameter(model, model->parameters, l->weight);
    float *dweight = parameter(model, model->gradients, l->weight);
    float *dbias = parameter(model, model->gradients, l->bias);
    const float *population = model->population + l->population;
    if (model->statistics == STATISTICS_POPULATION)
        ops->batchnorm_frozen_backward(model->device->backend, rows(l, batch), l->out.channels, in,
                                       weight, population, population + l->out.channels,
                                       model->dout, din, dweight, dbias);
    else
        ops->batchnorm_backward(model->device->backend, rows(l, batch), l->out.channels, in, weight,
                                b->mean, b->rstd, model->dout, din, dweight, dbias);
}

static void backward_convolution(Model *model, int number, int batch, float *din)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    const Layer *l = &model->network->layers[number];
    const LayerBuffers *b = &model->layers[number];
    bool reordered = has_reordered_weight(l);
    ConvolutionShape shape = convolution_shape(l, batch, 1);
    float *dweight = parameter(model, model->gradients, l->weight);
    const float *weight = reordered ? b->w : parameter(model, model->parameters, l->weight);
    ops->convolution_backward(backend, &shape, layer_input(model, number), weight, model->dout, din,
                              reordered ? b->dw : dweight,
                              parameter(model, model->gradients, l->bias));
    if (reordered)
        ops->transpose(backend, l->out.channels, l->window, l->in.channels / l->window, b->dw,
                       dweight);
}

/* From model->dout, the gradient of the layer's output, to din, that of its input (model->din, or
 * NULL where only parameters need it); for the softmax the loss has done that already. */
static void backward_layer(Model *model, int number, int batch, float *din)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    const Network *network = model->network;
    const Layer *l = &network->layers[number];
    const LayerBuffers *b = &model->layers[number];
    const float *in = layer_input(model, number);
    switch (l->kind) {
    case LAYER_UNFOLD: {
        UnfoldShape shape = unfold_shape(l, batch);
        ops->unfold_backward(backend, &shape, in, b->out, b->scale, model->dout, din);
        break;
    }
    case LAYER_NNMF: {
        NnmfParams params = network_nnmf_params(network, l, batch, 1);
        ops->nnmf_backward(backend, &params, in, b->w, b->out, model->dout, din, b->dw);
        break;
    }
    case LAYER_BATCHNORM: backward_batchnorm(model, number, batch, din); break;
    case LAYER_CONVOLUTION: backward_convolution(model, number, batch, din); break;
    case LAYER_RELU:
        ops->relu_backward(backend, activation_elements(l, batch), in, model->dout, din);
        break;
    case LAYER_SOFTMAX: break;
    }
}

void model_normalise_weights(Model *model)
{
    if (model->weight_count)
        model->device->operations->weights_forward(model->device->backend, model->weights,
                                                   model->weight_count);
}

void model_forward_several(Model *model, int batch, int batches)
{
    model_normalise_weights(model);
    for (int i = 0; i < model->network->layer_count; i++)
        forward_layer(model, i, batch, batches);
}

void model_forward(Model *model, int batch)
{
    model_forward_several(model, batch, 1);
}

const float *model_probabilities(const Model *model)
{
    return model->layers[model->network->layer_count - 1].out;
}

static void run_loss(Model *model, int batch, int number, const StepState *state, Totals *totals,
                     float *dlogits)
{
    const Network *network = model->network;
    size_t first = (size_t)number * (size_t)batch;
    int last = network->layer_count - 1;
    LossParams params = {.batch = batch,
                         .classes = network->layers[last].out.channels,
                         .kind = network->options.loss,
                         .mse = network->options.loss_mse,
                         .kl = network->options.loss_kl};
    model->device->operations->loss(model->device->backend, &params,
                                    model_probabilities(model) + first * (size_t)params.classes,
                                    model->labels + first, state, totals, dlogits);
}

void model_loss(Model *model, int batch, int number, const StepState *state, Totals *totals)
{
    run_loss(model, batch, number, state, totals, NULL);
}

void model_backward(Model *model, int batch, const StepState *state, Totals *totals, float *dimages)
{
    run_loss(model, batch, 0, state, totals, model->dout);
    for (int i = model->network->layer_count - 2; i > 0; i--) {
        /* The layer above the first unfold: only the images need the gradient of its input. */
        backward_layer(model, i, batch, i > 1 || dimages ? model->din : NULL);
        float *done = model->dout;
        model->dout = model->din;
        model->din = done;
    }
    if (model->weight_count)
        model->device->operations->weights_backward(model->device->backend, model->weights,
                                                    model->weight_count);
    if (dimages) {
        const LayerBuffers *first = &model->layers[0];
        UnfoldShape shape = unfold_shape(&model->network->layers[0], batch);
        model->device->operations->unfold_backward(model->device->backend, &shape, model->images,
                                                   first->out, first->scale, model->dout, dimages);
    }
}

void model_update(Model *model, StepState *state)
{
    const Operations *ops = model->device->operations;
    ops->adam(model->device->backend, model->segments, model->network->parameter_count, state,
              model->gradients, model->parameters, model->m, model->v);
    model->has_population = false; /* which is that of the old weights */
    ops->advance(model->device->backend, state);
}
