/*
 * A network's data on a device: parameters, gradients, optimiser moments and the activations of one
 * batch, or of several in testing. A model runs the operations of the device's table in the order
 * of the network's layers and is the same for every device.
 */
#ifndef NNMF_MODEL_H
#define NNMF_MODEL_H

#include "formats/safetensors.h"
#include "network/network.h"
#include "nnmf/device.h"
#include "nnmf/operations.h"

/* Device memory of one layer; pointers that its kind does not need are NULL. */
typedef struct LayerBuffers {
    float *out;         /* (rows, channels) */
    float *scale;       /* LAYER_UNFOLD: (rows); LAYER_NNMF: of its weights, (outputs) */
    float *w;           /* (outputs, features), features as in the activations; LAYER_NNMF:
                           normalised weights, LAYER_CONVOLUTION: the weight, if reordered */
    float *dw;          /* its gradient, shaped as w */
    float *mean, *rstd; /* LAYER_BATCHNORM: (batches, channels) */
} LayerBuffers;

enum { MAX_BATCHES_AT_ONCE = 64 }; /* in one forward pass */

/* The means and variances that batch norms use. */
typedef enum BatchnormStatistics {
    STATISTICS_BATCH, /* those of the current batch, in testing too: as published */
    STATISTICS_POPULATION,
} BatchnormStatistics;

typedef struct Model {
    const Network *network;
    const Device *device;
    int batch_size; /* maximum that the buffers hold */
    int batches;    /* maximum at once; gradients are of one batch */

    float *parameters, *gradients, *m, *v; /* (network->buffer_elements) each */
    AdamSegment segments[MAX_PARAMETERS];
    LayerWeights weights[MAX_NNMF_LAYERS]; /* of the NNMF layers, in their order */
    int weight_count;

    /* Each batch norm's mean and variance (network->population_elements), see population.h. */
    float *population;
    bool has_population;            /* population is that of the current parameters */
    BatchnormStatistics statistics; /* that the batch norms use */
    bool measuring;                 /* model_forward adds to the sums */
    double *sums; /* same layout: sums of each batch norm's input and of its square */

    float *images;   /* (batches, batch, height, width, channels): the input */
    uint8_t *labels; /* (batches, batch) */
    LayerBuffers layers[MAX_LAYERS];
    float *dout, *din; /* gradients for the activations at hand, swapped from layer to layer */
} Model;

/* Allocates device memory for batches of up to batch_size images, and in testing for up to
 * `batches` (1 .. MAX_BATCHES_AT_ONCE) of them at once. Parameters are zero. `network` and `device`
 * must outlive the model. On failure the model is empty. Errors: out of memory. */
bool model_create(const Network *network, const Device *device, int batch_size, int batches,
                  Model *model, Error *error);

/* Accepts an empty model (all zero). */
void model_destroy(Model *model);

/* Initialises the parameters as published: NNMF weights uniform in [0, 1), 1x1 convolutions the
 * identity, batch norms 1 and 0. A convolution that replaces NNMF is initialised as PyTorch's
 * Conv2d (Kaiming uniform with a = sqrt(5)): uniform in +-1 / sqrt(inputs). The random numbers are
 * a function of (seed, parameter number, element). */
bool model_initialise(Model *model, uint64_t seed, Error *error);

/* Copy one of the four parameter buffers from or to the device; `host` has the same layout. */
bool model_read(const Model *model, const float *buffer, float *host, Error *error);
bool model_write(Model *model, float *buffer, const float *host, Error *error);

/* Loads the parameters from a weights file's tensors, and the population statistics if there are
 * any. Skips Adam's moments, "optimiser.first." and "optimiser.second." before a parameter's name.
 * Errors: a missing, misshapen or non-finite tensor, an unknown one, a file of the other
 * architecture; the parameters are then unchanged. `path` is for messages. */
bool model_load_weights(Model *model, const TensorFile *file, const char *path, Error *error);

/* The same from the file at `path`. Errors: those of reading it, too. */
bool model_load_file(Model *model, const char *path, Error *error);

/* Fills `tensors` (network->parameter_count) with names and shapes. Their data point into `host`, a
 * buffer with the layout of the parameters. `prefix` precedes each name. Free with
 * model_free_tensors. */
bool model_tensors(const Model *model, const char *prefix, float *host, Tensor *tensors,
                   Error *error);
void model_free_tensors(const Model *model, Tensor *tensors);

/* Computes w of every NNMF layer from the parameters; model_forward does this first. */
void model_normalise_weights(Model *model);

/* Runs all layers, from the images to the probabilities. */
void model_forward(Model *model, int batch);

/* The same for `batches` consecutive batches of `batch` images: fewer and larger operations with
 * bit-identical results. No backward pass can follow. */
void model_forward_several(Model *model, int batch, int batches);

/* Returns the last forward pass's probabilities (batches, batch, classes), in device memory. */
const float *model_probabilities(const Model *model);

/* Adds the loss of the last forward pass's batch `number` (from 0) to totals. `state` and `totals`
 * are device memory here and below. */
void model_loss(Model *model, int batch, int number, const StepState *state, Totals *totals);

/* After model_forward: the same, then the gradients of all parameters, overwritten, and that of the
 * images: dimages (batch, height, width, channels) in device memory, NULL if not wanted. */
void model_backward(Model *model, int batch, const StepState *state, Totals *totals,
                    float *dimages);

/* Makes one Adam step and advances the step state. */
void model_update(Model *model, StepState *state);

#endif
