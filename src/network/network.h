/*
 * The description of a network: which layers, of which shapes, with which parameters. It is made
 * from a short table of blocks and holds no data; model.h computes with it.
 *
 * A block is the published sequence: ReLU, unfold, L1 norm, NNMF, batch norm, and if `convolution`
 * is set a 1x1 convolution and another batch norm. Batch norms are left out where the block's
 * output is a single position. After the last block comes the softmax.
 *
 * The CNN baseline has, instead of each NNMF, a bias-free 1x1 convolution, and a
 * ReLU behind its batch norm: ReLU, unfold, L1 norm, convolution, batch norm, ReLU, and as above
 * the 1x1 convolution and another batch norm. The last block has only the first convolution, whose
 * outputs the softmax takes as they are. In a block without `convolution` the ReLU is followed by
 * that of the next block, which makes it one and the same: it has its index, but no layer.
 *
 * Layers carry the index of the published Sequential ("18"), parameters its names ("18.weight").
 * The baseline for CIFAR-10 as a Sequential (the names of its weights are these indices):
 *
 *   0-3     ReLU, Unfold 5, Unflatten, L1 norm
 *   4-6     Conv2d 75 -> 32 without bias, BatchNorm2d, ReLU
 *   7, 8    Conv2d 32 -> 32, BatchNorm2d
 *   9-12    ReLU, Unfold 2 stride 2, Unflatten, L1 norm
 *   13-15   Conv2d 128 -> 32 without bias, BatchNorm2d, ReLU
 *   16-19   ReLU, Unfold 5, Unflatten, L1 norm
 *   20-22   Conv2d 800 -> 64 without bias, BatchNorm2d, ReLU
 *   23, 24  Conv2d 64 -> 64, BatchNorm2d
 *   25-28   ReLU, Unfold 2 stride 2, Unflatten, L1 norm
 *   29-31   Conv2d 256 -> 64 without bias, BatchNorm2d, ReLU
 *   32-35   ReLU, Unfold 4, Unflatten, L1 norm
 *   36, 37  Conv2d 1024 -> 96 without bias, ReLU
 *   38      Conv2d 96 -> 96
 *   39-42   ReLU, Unfold 1, Unflatten, L1 norm
 *   43      Conv2d 96 -> 10 without bias
 *   44, 45  Softmax, Flatten
 *
 * bench/torch_nnmf.py builds both.
 */
#ifndef NNMF_NETWORK_H
#define NNMF_NETWORK_H

#include "data/dataset.h"
#include "nnmf/error.h"
#include "nnmf/operations.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum Architecture {
    ARCHITECTURE_NNMF,
    ARCHITECTURE_CNN, /* the CNN baseline: convolutions instead of NNMF */
} Architecture;

/* "nnmf", "cnn"; NULL at the end. */
extern const char *const architecture_names[];

/* The variants of the network; those of NNMF mean nothing to the baseline. */
typedef struct NetworkOptions {
    Architecture architecture;
    int iterations; /* of every NNMF layer, >= 1 */
    double epsilon; /* 0: plain update; > 0: h (1 + epsilon s) */
    PositiveFunction positive_function;
    double beta; /* initial value of the learned beta of POSITIVE_EXP and POSITIVE_TANH */
    LocalLearning local_learning;
    LossKind loss;
    double loss_mse; /* coefficients of LOSS_SBS; the loss is divided by the sum of their */
    double loss_kl;  /* magnitudes */
} NetworkOptions;

extern const NetworkOptions network_default_options;

typedef struct Block {
    int channels; /* outputs of the NNMF layer, or of the convolution in its place */
    int kernel;   /* side of the window; 0: the whole remaining image */
    int stride;
    bool convolution;
} Block;

/* Each group has a learning rate. A convolution in the place of NNMF is in the group nnmf, with
 * that rate: the baseline differs in nothing else. All other convolutions are cnn_top. */
typedef enum ParameterGroup { GROUP_CNN_TOP, GROUP_NNMF, GROUP_BATCHNORM, GROUPS } ParameterGroup;

/* "cnn_top", "nnmf", "batchnorm" */
extern const char *const parameter_group_names[GROUPS];

/* Each NNMF layer has an unfold of its own before it. */
enum {
    MAX_PARAMETERS = MAX_ADAM_SEGMENTS,
    MAX_NNMF_LAYERS = MAX_WEIGHT_LAYERS,
    MAX_LAYERS = 2 * MAX_NNMF_LAYERS,
    PARAMETER_ALIGNMENT = 16, /* floats */
};

typedef struct Parameter {
    char name[32]; /* "18.weight" */
    ParameterGroup group;
    int rank;
    size_t shape[4];
    size_t elements;
    size_t offset; /* in floats, in the buffer that holds all parameters */
} Parameter;

typedef enum LayerKind {
    LAYER_UNFOLD, /* ReLU, unfold and L1 norm together */
    LAYER_NNMF,
    LAYER_BATCHNORM,
    LAYER_CONVOLUTION,
    LAYER_RELU,
    LAYER_SOFTMAX,
} LayerKind;

/* Height, width and channels of one image's activations: (height, width, channels) in memory. */
typedef struct Extent {
    int height, width, channels;
} Extent;

typedef struct Layer {
    LayerKind kind;
    int index; /* in the published Sequential; for LAYER_UNFOLD its ReLU's */
    Extent in, out;
    int kernel, stride;     /* LAYER_UNFOLD */
    int window;             /* LAYER_NNMF, and LAYER_CONVOLUTION in its place: positions of the
                               window that its features come from; else 0 */
    int weight, bias, beta; /* parameters, -1: none */
    size_t population;      /* LAYER_BATCHNORM: where its population statistics begin, see below */
} Layer;

typedef struct Network {
    NetworkOptions options;
    Extent input;
    int layer_count;
    Layer layers[MAX_LAYERS];
    int parameter_count;
    Parameter parameters[MAX_PARAMETERS];
    size_t buffer_elements; /* floats that all parameters need, each aligned */
    /* Floats that the population statistics need: mean, then variance of each batch norm's
     * channels. model.h says what they are. */
    size_t population_elements;
} Network;

/* The published network for a kind of image: crops of 28x28 (CIFAR-10) or 24x24 (MNIST kinds). */
bool network_for_dataset(DatasetKind dataset, const NetworkOptions *options, Network *network,
                         Error *error);

/* Any table of blocks. Fails where an image is too small for a window. */
bool network_build(Extent input, const Block *blocks, int block_count,
                   const NetworkOptions *options, Network *network, Error *error);

/* Number of parameters of a group. */
size_t network_group_elements(const Network *network, ParameterGroup group);

/* Positions of one image (height x width). */
static inline size_t extent_positions(Extent extent)
{
    return (size_t)extent.height * (size_t)extent.width;
}

/* Floats of one image. */
static inline size_t extent_elements(Extent extent)
{
    return extent_positions(extent) * (size_t)extent.channels;
}

/* Of LAYER_NNMF: what it computes for `batches` batches of `batch` images. */
NnmfParams network_nnmf_params(const Network *network, const Layer *layer, int batch, int batches);

/* Prints the layers with shapes and parameter counts, and the counts by group. */
void network_print(const Network *network, FILE *stream);

#endif
