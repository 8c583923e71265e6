/*
 * A network with its numbers on a device: parameters, gradients, optimiser moments and the
 * activations of one batch, or in testing of several. It runs the operations of a device's table in
 * the order that the network describes, and knows nothing of the device.
 */
#ifndef NNMF_MODEL_H
#define NNMF_MODEL_H

#include "formats/safetensors.h"
#include "network/network.h"
#include "nnmf/device.h"
#include "nnmf/operations.h"

/* One layer's device memory; pointers that its kind does not need are NULL. */
typedef struct LayerBuffers {
    float *out;         /* (rows, channels) */
    float *scale;       /* LAYER_UNFOLD: (rows); LAYER_NNMF: of its weights, (outputs) */
    float *w;           /* (outputs, features) in memory's order; LAYER_NNMF: normalised weights,
                           LAYER_CONVOLUTION: the weight, where its own order is another */
    float *dw;          /* its gradient, shaped as w */
    float *mean, *rstd; /* LAYER_BATCHNORM: of each batch (batches, channels) */
} LayerBuffers;

/* Of one forward pass. */
enum { MAX_BATCHES_AT_ONCE = 64 };

/* What batch norms take their means and variances from. */
typedef enum BatchnormStatistics {
    STATISTICS_BATCH, /* the batch at hand, in testing too: as published */
    STATISTICS_POPULATION,
} BatchnormStatistics;

typedef struct Model {
    const Network *network;
    const Device *device;
    int batch_size; /* the largest batch that the buffers hold */
    int batches;    /* so many of them at once; gradients of one */

    float *parameters, *gradients, *m, *v; /* (network->buffer_elements) each */
    AdamSegment segments[MAX_PARAMETERS];
    LayerWeights weights[MAX_NNMF_LAYERS]; /* of the NNMF layers, in their order */
    int weight_count;

    /* Each batch norm's mean and variance (network->population_elements), see population.h. */
    float *population;
    bool has_population;            /* does it belong to the parameters? */
    BatchnormStatistics statistics; /* which the batch norms use */
    bool measuring;                 /* does model_forward add to the sums? */
    double *sums; /* laid out likewise: sums of each batch norm's input and of its square */

    float *images;   /* (batches, batch, height, width, channels): the input */
    uint8_t *labels; /* (batches, batch) */
    LayerBuffers layers[MAX_LAYERS];
    float *dout, *din; /* gradients for the activations at hand, swapped from layer to layer */
    bool to_images;    /* does model_backward go down to the first layer's input? */
} Model;

/* Buffers on the device, for batches of up to batch_size images and in testing for up to `batches`
 * (1 .. MAX_BATCHES_AT_ONCE) of them at once; parameters are zero. `network` and `device` must
 * outlive the model. On failure the model is empty. */
bool model_create(const Network *network, const Device *device, int batch_size, int batches,
                  Model *model, Error *error);

/* Also fine on an empty model (all zero). */
void model_destroy(Model *model);

/* Initial parameters as published: NNMF weights uniform in [0, 1), 1x1 convolutions the identity,
 * batch norms 1 and 0. A convolution in the place of NNMF has what PyTorch gives a Conv2d (Kaiming
 * uniform with a = sqrt(5)): uniform in +-1 / sqrt(inputs). The uniform numbers belong to (seed,
 * parameter number, element). */
bool model_initialise(Model *model, uint64_t seed, Error *error);

/* Device <-> host, of one of the four parameter buffers: `host` is laid out like it. */
bool model_read(const Model *model, const float *buffer, float *host, Error *error);
bool model_write(Model *model, float *buffer, const float *host, Error *error);

/* Parameters from a weights file's tensors: each parameter once, of its shape, finite; and the
 * population statistics where all of them are there. Tensors whose name begins with "optimiser."
 * are skipped; others are an error, and so is a file of the other architecture. `path` is for
 * messages. */
bool model_load_weights(Model *model, const TensorFile *file, const char *path, Error *error);

/* Fills `tensors` (network->parameter_count) with names and shapes, data pointing into `host`, a
 * buffer laid out like the parameters. `prefix` goes before each name; free with
 * model_free_tensors. */
bool model_tensors(const Model *model, const char *prefix, float *host, Tensor *tensors,
                   Error *error);
void model_free_tensors(const Model *model, Tensor *tensors);

/* w of every NNMF layer from the parameters; model_forward begins with this. */
void model_normalise_weights(Model *model);

/* Forward through all layers, from the images to the probabilities. */
void model_forward(Model *model, int batch);

/* The same for several batches of `batch` images, which lie one behind the other: fewer and larger
 * operations, to the bits of one by one. No backward pass can follow. */
void model_forward_several(Model *model, int batch, int batches);

/* Device memory with the probabilities (batches, batch, 10) of the last forward pass. */
const float *model_probabilities(const Model *model);

/* After a forward pass: the loss of its batch `number`, from 0, is added to totals. `state` and
 * `totals` are device memory here and below. */
void model_loss(Model *model, int batch, int number, const StepState *state, Totals *totals);

/* After model_forward: the same, then the gradients of all parameters, overwritten. */
void model_backward(Model *model, int batch, const StepState *state, Totals *totals);

/* The same, and the gradient of the images, in device memory: dimages (batch, height, width,
 * channels). */
void model_backward_to_images(Model *model, int batch, const StepState *state, Totals *totals,
                              float *dimages);

/* One Adam step, and the step state moves on. */
void model_update(Model *model, StepState *state);

#endif
