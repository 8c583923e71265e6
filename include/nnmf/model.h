/*
 * A network with its numbers on a device: parameters, gradients, optimiser moments and the
 * activations of one batch. It runs the operations of a device's table in the order that the
 * network describes, and knows nothing of the device.
 */
#ifndef NNMF_MODEL_H
#define NNMF_MODEL_H

#include "nnmf/device.h"
#include "nnmf/network.h"
#include "nnmf/operations.h"
#include "nnmf/safetensors.h"

/* One layer's device memory; pointers that its kind does not need are NULL. */
typedef struct LayerBuffers {
    float *out;              /* (rows, channels) */
    float *scale;            /* LAYER_UNFOLD: (rows); LAYER_NNMF: of its weights, (outputs) */
    float *w;                /* LAYER_NNMF: normalised weights (outputs, features) */
    float *mean, *deviation; /* LAYER_BATCHNORM: (channels) */
} LayerBuffers;

typedef struct Model {
    const Network *network;
    const Device *device;
    int batch_size; /* the largest batch that the buffers hold */

    float *parameters, *gradients, *first, *second; /* (network->buffer_elements) each */
    AdamSegment segments[MAX_PARAMETERS];

    float *images;   /* (batch, height, width, channels): the input */
    uint8_t *labels; /* (batch) */
    LayerBuffers layers[MAX_LAYERS];
    float *dout, *din; /* gradients for the activations at hand, swapped from layer to layer */
    float *dw;         /* gradient for the normalised weights at hand */
} Model;

/* Buffers on the device; parameters are zero. `network` and `device` must outlive the model. On
 * failure the model is empty. */
bool model_create(const Network *network, const Device *device, int batch_size, Model *model,
                  Error *error);

/* Also fine on an empty model (all zero). */
void model_destroy(Model *model);

/* Initial parameters as published: NNMF weights uniform in [0, 1), 1x1 convolutions the identity,
 * batch norms 1 and 0. The uniform numbers belong to (seed, parameter number, element). */
bool model_initialise(Model *model, uint64_t seed, Error *error);

/* Device <-> host, of one of the four parameter buffers: `host` is laid out like it. */
bool model_read(const Model *model, const float *buffer, float *host, Error *error);
bool model_write(Model *model, float *buffer, const float *host, Error *error);

/* Parameters from a weights file's tensors: each parameter once, of its shape, finite. Tensors
 * whose name begins with "optimiser." are skipped; others are an error. `path` is for messages. */
bool model_load_weights(Model *model, const TensorFile *file, const char *path, Error *error);

/* Fills `tensors` (network->parameter_count) with names and shapes, data pointing into `host`, a
 * buffer laid out like the parameters. `prefix` goes before each name; free with
 * model_free_tensors. */
bool model_tensors(const Model *model, const char *prefix, float *host, Tensor *tensors,
                   Error *error);
void model_free_tensors(const Model *model, Tensor *tensors);

/* Forward through all layers, from the images to the probabilities. */
void model_forward(Model *model, int batch);

/* Device memory with the probabilities (batch, 10) of the last forward pass. */
const float *model_probabilities(const Model *model);

/* After model_forward: the loss for `labels` is added to totals. `clock` and `totals` are device
 * memory here and below. */
void model_loss(Model *model, int batch, const Clock *clock, Totals *totals);

/* The same, then the gradients of all parameters, overwritten. */
void model_backward(Model *model, int batch, const Clock *clock, Totals *totals);

/* One Adam step, and the clock moves on. */
void model_update(Model *model, Clock *clock);

#endif
