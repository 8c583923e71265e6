/*
 * The description of a network: its layers, their shapes and their parameters. It is built from a
 * short table of blocks and holds no data; model.h computes with it.
 *
 * A block is the published sequence: ReLU, unfold, L1 norm, NNMF, batch norm, and if `convolution`
 * is set a 1x1 convolution and another batch norm. A batch norm is left out if its input is a
 * single position. The softmax follows the last block.
 *
 * The CNN baseline replaces each NNMF by a 1x1 convolution without bias, followed by its batch norm
 * and a ReLU; the last block ends with that convolution.
 *
 * Both networks for CIFAR-10, crops of 3,28,28, as one torch.nn.Sequential each
 * (bench/torch_nnmf.py). Layers carry its indices, parameters its names ("18.weight"):
 *
 *   NNMF    CNN     layers; [ReLU]: of the CNN only           output: channels,height,width
 *   0-3     0-3     ReLU, unfold 5x5, L1 norm                 75,24,24
 *   4, 5    4-6     NNMF, batch norm, [ReLU]                  32,24,24
 *   6, 7    7, 8    convolution, batch norm                   32,24,24
 *   8-11    9-12    ReLU, unfold 2x2 stride 2, L1 norm        128,12,12
 *   12, 13  13-15   NNMF, batch norm, [ReLU]                  32,12,12
 *   14-17   16-19   ReLU, unfold 5x5, L1 norm                 800,8,8
 *   18, 19  20-22   NNMF, batch norm, [ReLU]                  64,8,8
 *   20, 21  23, 24  convolution, batch norm                   64,8,8
 *   22-25   25-28   ReLU, unfold 2x2 stride 2, L1 norm        256,4,4
 *   26, 27  29-31   NNMF, batch norm, [ReLU]                  64,4,4
 *   28-31   32-35   ReLU, unfold 4x4, L1 norm                 1024,1,1
 *   32      36, 37  NNMF, [ReLU]                              96,1,1
 *   33      38      convolution                               96,1,1
 *   34-37   39-42   ReLU, unfold 1x1, L1 norm                 96,1,1
 *   38      43      NNMF                                      10,1,1
 *   39              convolution                               10,1,1
 *   40, 41  44, 45  softmax, flatten                          10
 *
 * The baseline's ReLUs 15 and 31 are followed by another ReLU and have an index but no layer.
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
    ARCHITECTURE_CNN, /* the CNN baseline */
} Architecture;

/* "nnmf", "cnn"; NULL at the end. */
extern const char *const architecture_names[];

/* Variants of the network; the baseline ignores those of NNMF. */
typedef struct NetworkOptions {
    Architecture architecture;
    int iterations; /* of every NNMF layer, >= 1 */
    double epsilon; /* 0: plain update; > 0: h (1 + epsilon s) */
    PositiveFunction positive_function;
    double beta; /* initial value of the learned beta of POSITIVE_EXP and POSITIVE_TANH */
    LocalLearning local_learning;
    LossKind loss;
    double loss_mse; /* coefficients of LOSS_SBS, which is divided by the sum of their magnitudes */
    double loss_kl;
} NetworkOptions;

extern const NetworkOptions network_default_options;

typedef struct Block {
    int channels; /* outputs of the NNMF layer, or of the convolution that replaces it */
    int kernel;   /* side of the window; 0: the whole remaining image */
    int stride;
    bool convolution;
} Block;

/* Each group has its own learning rate. A convolution that replaces NNMF is in the group nnmf, so
 * that the baseline differs in nothing else; all other convolutions are in cnn_top. */
typedef enum ParameterGroup { GROUP_CNN_TOP, GROUP_NNMF, GROUP_BATCHNORM, GROUPS } ParameterGroup;

/* "cnn_top", "nnmf", "batchnorm" */
extern const char *const parameter_group_names[GROUPS];

/* An unfold precedes each NNMF layer, so that at most half of the layers are NNMF. */
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
    int index; /* in the Sequential; of LAYER_UNFOLD: its ReLU's */
    Extent in, out;
    int kernel, stride;     /* LAYER_UNFOLD */
    int window;             /* LAYER_NNMF, and LAYER_CONVOLUTION that replaces it: positions of
                               the window of its features; otherwise 0 */
    int weight, bias, beta; /* parameters, -1: none */
    size_t population;      /* LAYER_BATCHNORM: offset of its population statistics */
} Layer;

typedef struct Network {
    NetworkOptions options;
    Extent input;
    int layer_count;
    Layer layers[MAX_LAYERS];
    int parameter_count;
    Parameter parameters[MAX_PARAMETERS];
    size_t buffer_elements; /* floats that all parameters need, each aligned */
    /* Floats of the population statistics (population.h): each batch norm's means, then
     * variances, by channel. */
    size_t population_elements;
} Network;

/* Builds the published network for a dataset's crops: 28x28 for CIFAR-10, otherwise 24x24. */
bool network_for_dataset(DatasetKind dataset, const NetworkOptions *options, Network *network,
                         Error *error);

/* Builds a network from a table of blocks. Errors: an image too small for a window, too many layers
 * or parameters. */
bool network_build(Extent input, const Block *blocks, int block_count,
                   const NetworkOptions *options, Network *network, Error *error);

/* Returns the number of parameters of a group. */
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

/* Returns the operation's parameters for a LAYER_NNMF and `batches` batches of `batch` images. */
NnmfParams network_nnmf_params(const Network *network, const Layer *layer, int batch, int batches);

/* Prints the layers with shapes and parameter counts, and the counts by group. */
void network_print(const Network *network, FILE *stream);

#endif
