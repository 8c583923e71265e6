/*
 * The table of operations: the only interface between the network and a device. The plain C version
 * (src/operations/plain) defines each operation; tests/operations checks every other table against
 * it.
 *
 * Conventions. Activations are row-major (rows, channels): a row is one position of one image,
 * rows are ordered (image, y, x), channels are contiguous. Pointers are device memory from
 * `allocate` unless stated otherwise. Buffers do not overlap, and outputs are overwritten, not
 * accumulated into, unless stated otherwise. Operations may run asynchronously and return nothing:
 * the back end keeps the first failure and `finish` reports it. Results do not depend on the number
 * of threads.
 *
 * Formulas: Rotermund, Nouri, Garcia-Ortiz, Pawelzik, the published deep NNMF network; the
 * backward rule of NNMF is that of "Back-Propagation Learning in Deep Spike-By-Spike Networks".
 */
#ifndef NNMF_OPERATIONS_H
#define NNMF_OPERATIONS_H

#include "nnmf/augment.h"
#include "nnmf/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Added to divisors and to arguments of logarithms to keep them from being 0, as published. */
#define EPSILON_SUM 1e-19         /* sum of a row, in its normalisation */
#define EPSILON_R 1e-20           /* r = h w, in x / r */
#define EPSILON_VARIANCE 1e-5     /* variance, in batch norm */
#define EPSILON_PROBABILITY 1e-20 /* probability, in the loss */

/* Decay rates and epsilon of Adam, the defaults of Kingma and Ba (2015). */
#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
#define ADAM_EPSILON 1e-8

/* Limits of one call, so that back ends can pass its arguments by value. */
enum {
    LEARNING_RATES = 3,
    MAX_ADAM_SEGMENTS = 96,
    MAX_WEIGHT_LAYERS = 32,
};

/* Makes the weights of an NNMF layer positive, before their rows are normalised. */
typedef enum PositiveFunction {
    POSITIVE_ABS,      /* |W| */
    POSITIVE_EXP,      /* exp((tanh(beta) + 1) / 2 * W), W scaled to a maximum magnitude of 80 */
    POSITIVE_TANH,     /* (tanh(beta W) + 1) / 2 */
    POSITIVE_IDENTITY, /* W */
} PositiveFunction;

/* What the gradient of an NNMF layer's weights is derived from. */
typedef enum LocalLearning {
    LOCAL_NONE, /* the back-propagated error of the loss */
    LOCAL_KL,   /* the Kullback-Leibler divergence of the layer's own reconstruction */
    LOCAL_MSE,  /* the squared error of the layer's own reconstruction */
} LocalLearning;

typedef enum LossKind {
    LOSS_SBS,           /* squared error and Kullback-Leibler divergence of the probabilities */
    LOSS_CROSS_ENTROPY, /* cross entropy, with the probabilities taken as logits */
} LossKind;

/* Returns whether the positive function has a learned parameter beta. */
static inline bool positive_function_has_beta(PositiveFunction function)
{
    return function == POSITIVE_EXP || function == POSITIVE_TANH;
}

typedef struct Backend Backend; /* private state of a device: threads, scratch memory, streams */

/* Pinned host memory for asynchronous copies, with the state of the last copy. */
typedef struct Transfer Transfer;

/* Progress of training; kept in device memory so that a recorded step does not need the host. */
typedef struct StepState {
    uint32_t epoch;
    uint32_t step;    /* within the epoch */
    uint64_t updates; /* optimiser steps so far */
    double learning_rates[LEARNING_RATES];
} StepState;

/* Sums over batches since the host last set them to zero; kept in device memory. */
typedef struct Totals {
    double loss;       /* summed over all images */
    double batch_loss; /* of the last batch, as published: the sum over its images for LOSS_SBS,
                          the mean for LOSS_CROSS_ENTROPY */
    uint64_t correct;  /* correctly classified images of all batches */
    uint64_t batch_correct;       /* of the last batch */
    int64_t first_nonfinite_step; /* 1 + the first step with a loss that is not finite; 0: none */
} Totals;

/* Selects the images of a batch. */
typedef struct Sampler {
    size_t begin, end; /* image numbers, half open */
    int batch;         /* images to draw: fewer than batch_size at the end of the range, more to
                          draw those of several steps at once */
    int batch_size;    /* images in a full batch: step s begins at position s * batch_size */
    bool shuffle;
    AugmentKind augment;
    bool colour;          /* images have three channels, so flip and recolour them */
    int slack_y, slack_x; /* image size minus crop size, in pixels */
    uint64_t seed;
} Sampler;

/* Returns the number of image `i` of batch `step` in the data set. */
static inline NNMF_HD uint32_t sample_image(const Sampler *s, uint32_t epoch, uint32_t step,
                                            uint32_t i)
{
    uint32_t position = step * (uint32_t)s->batch_size + i;
    if (s->shuffle)
        position = draw_permuted(s->seed, epoch, (uint32_t)(s->end - s->begin), position);
    return (uint32_t)s->begin + position;
}

/* Returns the augmentation of that image. */
static inline NNMF_HD Augmentation sample_augmentation(const Sampler *s, uint32_t epoch,
                                                       uint32_t step, uint32_t i)
{
    uint32_t batch_size = (uint32_t)s->batch_size;
    return augment_draw(s->augment, s->seed, epoch, step + i / batch_size, i % batch_size,
                        s->slack_y, s->slack_x, s->colour);
}

typedef struct CropShape {
    int batch, channels; /* 1 or 3 channels */
    int height, width;   /* of the stored images */
    int crop_height, crop_width;
} CropShape;

typedef struct UnfoldShape {
    int batch, height, width, channels; /* of the input */
    int kernel, stride;                 /* of a window, the same in both directions */
    int out_height, out_width;          /* (height or width - kernel) / stride + 1 */
} UnfoldShape;

static inline size_t unfold_rows(const UnfoldShape *s)
{
    return (size_t)s->batch * (size_t)s->out_height * (size_t)s->out_width;
}

static inline size_t unfold_features(const UnfoldShape *s)
{
    return (size_t)s->kernel * (size_t)s->kernel * (size_t)s->channels;
}

/* window: positions of a window. Raw weights are (outputs, channels, window), as published; w is
 * (outputs, window, channels), the order of the features in memory. */
typedef struct WeightShape {
    int outputs, channels, window;
    PositiveFunction function;
} WeightShape;

/* The weights of one NNMF layer and their gradients. */
typedef struct LayerWeights {
    WeightShape shape;
    const float *raw, *beta; /* (outputs, channels, window); (1), NULL if there is no beta */
    float *w, *scale;        /* (outputs, window, channels); (outputs) */
    const float *dw;         /* (outputs, window, channels) */
    float *d_raw, *dbeta;    /* (outputs, channels, window); (1), NULL if there is no beta */
} LayerWeights;

typedef struct NnmfParams {
    size_t rows;  /* of all batches */
    int features; /* K */
    int outputs;  /* N */
    int batches;  /* that the rows consist of, equally large; 0 means 1. Results of each batch are
                     bit-identical to those it has alone */
    int iterations;
    float epsilon;
    LocalLearning local_learning;
} NnmfParams;

/* Returns the number of batches that a `batches` member stands for. */
static inline size_t batch_count(int batches)
{
    return batches > 1 ? (size_t)batches : 1;
}

/* The implementation of NNMF that a device uses for a shape. */
typedef struct NnmfImplementation {
    char text[96];       /* for display: "fused fp32, 32 rows x 64 outputs, 512 threads" */
    size_t shared_bytes; /* dynamic shared memory of a block; 0 if it is not one kernel */
} NnmfImplementation;

typedef struct ConvolutionShape {
    size_t rows; /* of all batches */
    int in, out; /* channels */
    int batches; /* as in NnmfParams; used by convolution_forward only */
} ConvolutionShape;

typedef struct LossParams {
    int batch, classes;
    LossKind kind;
    double mse, kl; /* coefficients of LOSS_SBS */
} LossParams;

/* Returns the loss summed over a batch's images, from the batch's loss as published. */
static inline NNMF_HD double loss_of_images(const LossParams *s, double batch_loss)
{
    return s->kind == LOSS_CROSS_ENTROPY ? batch_loss * s->batch : batch_loss;
}

/* A parameter's place in the buffers that hold all parameters. */
typedef struct AdamSegment {
    size_t offset, elements;
    int group; /* index into StepState.learning_rates */
} AdamSegment;

typedef struct Operations {
    const char *name;

    /* ---- device memory; zeroed by allocate ---- */
    void *(*allocate)(Backend *, size_t bytes, const char *what, Error *);
    void (*release)(Backend *, void *memory); /* NULL is allowed */

    /* Copy between host and device; `host` may be reused as soon as they return. */
    void (*upload)(Backend *, void *device, const void *host, size_t bytes);
    void (*download)(Backend *, void *host, const void *device, size_t bytes);

    /* Waits for all operations. Returns false with the first failure since the last call. */
    bool (*finish)(Backend *, Error *);

    /* Describes the implementation that nnmf_forward or nnmf_backward uses for these parameters.
     * NULL on devices with a single implementation. */
    void (*nnmf_implementation)(Backend *, const NnmfParams *, bool backward,
                                NnmfImplementation *implementation);

    /* ---- asynchronous transfers; all NULL on devices that share the host's memory ---- */

    /* Opens a transfer with `bytes` of pinned host memory, returned in *host. On failure returns
     * NULL; the error states `what` the memory was for. */
    Transfer *(*open_transfer)(Backend *, size_t bytes, const char *what, void **host, Error *);

    /* Waits for the last copy and frees the transfer. NULL is allowed. */
    void (*close_transfer)(Backend *, Transfer *);

    /* Copies from the device to *host + offset, ordered between earlier and later operations. */
    void (*fetch)(Backend *, Transfer *, size_t offset, const void *device, size_t bytes);

    /* Sets *yes if every copy has completed and *host may be reused. Does not block. Returns false
     * with the first failure since the last call of this or of `finish`, whatever *yes is. */
    bool (*arrived)(Backend *, Transfer *, bool *yes, Error *);

    /* ---- recordings; all three NULL on devices without them ---- */

    /* Calls `step` and records its operations instead of running them. `step` must have run once
     * before, and must not call allocate, release, upload, download or finish. */
    bool (*record)(Backend *, void (*step)(void *context), void *context, void **recording,
                   Error *);

    /* Runs the recorded operations. */
    void (*replay)(Backend *, void *recording);
    void (*forget)(Backend *, void *recording); /* NULL is allowed */

    /* ---- a batch ---- */

    /* Draws the images of the batch of the state's epoch and step, and their augmentations: indices
     * (batch), from sample_image; augmentations (batch), from sample_augmentation. */
    void (*sample)(Backend *, const Sampler *, const StepState *state, uint32_t *indices,
                   Augmentation *augmentations);

    /* Crops, flips and recolours the images that indices (batch) select from pixels (count,
     * channels, height, width) and labels (count) -> images (batch, crop_height, crop_width,
     * channels) in [0, 1], batch_labels (batch). */
    void (*augment)(Backend *, const CropShape *, const uint8_t *pixels, const uint8_t *labels,
                    const uint32_t *indices, const Augmentation *augmentations, float *images,
                    uint8_t *batch_labels);

    /* ---- ReLU, unfold, L1 norm ---- */

    /* in (batch, height, width, channels) -> x (rows, features), scale (rows), with rows =
     * unfold_rows and features = unfold_features, which are ordered (window row, window column,
     * channel): u = max(in, 0) over the window; scale = 1 / (sum(u) + EPSILON_SUM); x = u scale. */
    void (*unfold_forward)(Backend *, const UnfoldShape *, const float *in, float *x, float *scale);

    /* dx (rows, features) -> din (batch, height, width, channels): du = (dx - sum(dx x)) scale,
     * summed over the windows that contain the pixel; 0 where in <= 0. */
    void (*unfold_backward)(Backend *, const UnfoldShape *, const float *in, const float *x,
                            const float *scale, const float *dx, float *din);

    /* ---- ReLU without unfold ---- */

    /* out = max(in, 0), element by element; NaN remains NaN. */
    void (*relu_forward)(Backend *, size_t elements, const float *in, float *out);

    /* din = dout where in > 0, else 0. din may be dout. */
    void (*relu_backward)(Backend *, size_t elements, const float *in, const float *dout,
                          float *din);

    /* ---- the order of weights ---- */

    /* in (count, rows, columns) -> out (count, columns, rows). Converts the features of a window
     * from the published order (channels, window) to the order in memory (window, channels), and
     * back. */
    void (*transpose)(Backend *, int count, int rows, int columns, const float *in, float *out);

    /* ---- NNMF ---- */

    /* Normalises the weights of all layers in one call, because each layer is too small for a
     * launch of its own. layers (count) is host memory, 1 <= count <= MAX_WEIGHT_LAYERS. For each
     * layer: raw, beta -> w = f(raw) scale, with scale = 1 / (sum of f(raw) over a row +
     * EPSILON_SUM). */
    void (*weights_forward)(Backend *, const LayerWeights *layers, int count);

    /* For each layer: raw, beta, w, scale, dw -> d_raw, dbeta, by the chain rule. The derivative of
     * |raw| at 0 is 0. */
    void (*weights_backward)(Backend *, const LayerWeights *layers, int count);

    /* x (rows, features) with rows that sum to 1, w (outputs, features) -> h (rows, outputs).
     * h starts at 1 / outputs, then `iterations` times:
     * r = h w + EPSILON_R; s = (x / r) w^T; h = h s, or h (1 + epsilon s) if epsilon is not 0;
     * h = h / (sum(h) + EPSILON_SUM). */
    void (*nnmf_forward)(Backend *, const NnmfParams *, const float *x, const float *w, float *h);

    /* dh (rows, outputs) -> dx (rows, features; may be NULL), dw (outputs, features).
     * r = h w; q = 1 / (r + EPSILON_R); dx = ((h dh) w) q;
     * LOCAL_NONE: dw = (h dh)^T (x q) - h^T (x q dx);
     * LOCAL_KL: dw = - h^T (x q); LOCAL_MSE: dw = - h^T (2 (x - r)). */
    void (*nnmf_backward)(Backend *, const NnmfParams *, const float *x, const float *w,
                          const float *h, const float *dh, float *dx, float *dw);

    /* ---- batch norm (Ioffe, Szegedy 2015) with the mean and biased variance of this batch ---- */

    /* in, out (rows, channels); weight, bias (channels); mean, rstd (batches, channels):
     * rstd = 1 / sqrt(variance + EPSILON_VARIANCE); out = (in - mean) rstd weight + bias. The rows
     * consist of `batches` equally large batches, each with its own statistics; results of each are
     * bit-identical to those it has alone. */
    void (*batchnorm_forward)(Backend *, size_t rows, int channels, int batches, const float *in,
                              const float *weight, const float *bias, float *out, float *mean,
                              float *rstd);

    /* One batch: mean, rstd (channels); dout (rows, channels) -> din (rows, channels), dweight,
     * dbias (channels). din may be dout. */
    void (*batchnorm_backward)(Backend *, size_t rows, int channels, const float *in,
                               const float *weight, const float *mean, const float *rstd,
                               const float *dout, float *din, float *dweight, float *dbias);

    /* Adds the sums over rows of in (rows, channels) and of its square to sums (2, channels),
     * bit-identical to one call for each of the `batches` equally large batches. */
    void (*batchnorm_accumulate)(Backend *, size_t rows, int channels, int batches, const float *in,
                                 double *sums);

    /* ---- batch norm with frozen statistics: mean, variance (channels) ---- */

    /* out = (in - mean) weight / sqrt(variance + EPSILON_VARIANCE) + bias. */
    void (*batchnorm_frozen_forward)(Backend *, size_t rows, int channels, const float *in,
                                     const float *weight, const float *bias, const float *mean,
                                     const float *variance, float *out);

    /* din = dout weight / sqrt(variance + EPSILON_VARIANCE), since the statistics are constants;
     * dweight, dbias (channels) as in batchnorm_backward. din may be dout. */
    void (*batchnorm_frozen_backward)(Backend *, size_t rows, int channels, const float *in,
                                      const float *weight, const float *mean, const float *variance,
                                      const float *dout, float *din, float *dweight, float *dbias);

    /* ---- 1x1 convolution: out = in weight^T + bias ---- */

    /* in (rows, in), weight (out, in), bias (out; may be NULL) -> out (rows, out). */
    void (*convolution_forward)(Backend *, const ConvolutionShape *, const float *in,
                                const float *weight, const float *bias, float *out);

    /* dout (rows, out) -> din (rows, in; may be NULL), dweight (out, in), dbias (out; may be
     * NULL). */
    void (*convolution_backward)(Backend *, const ConvolutionShape *, const float *in,
                                 const float *weight, const float *dout, float *din, float *dweight,
                                 float *dbias);

    /* ---- softmax, loss ---- */

    /* logits (batch, classes) -> probabilities (batch, classes). */
    void (*softmax)(Backend *, int batch, int classes, const float *logits, float *probabilities);

    /* probabilities p (batch, classes), labels (batch). Adds the losses of the batch's images
     * (loss_of_images) and the number of correct ones to `totals`, sets the values of the last
     * batch there, and writes dlogits (batch, classes; may be NULL), the derivative of the batch's
     * loss with respect to the logits. LOSS_SBS, t one-hot: sum over the batch, mean over the
     * classes, of (mse (p - t)^2 + kl t log((t + EPSILON_PROBABILITY) / (p + EPSILON_PROBABILITY)))
     * / (|mse| + |kl|). LOSS_CROSS_ENTROPY: mean over the batch of -log(softmax(p)) at the label.
     * An image is correct if the first maximum of its probabilities is at its label. */
    void (*loss)(Backend *, const LossParams *, const float *probabilities, const uint8_t *labels,
                 const StepState *state, Totals *totals, float *dlogits);

    /* ---- optimiser ---- */

    /* Adam (Kingma, Ba 2015) for all parameters at once, with b1 = ADAM_BETA1, b2 = ADAM_BETA2:
     * m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; t = state.updates + 1;
     * p -= rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + ADAM_EPSILON). segments
     * (segment_count), at most MAX_ADAM_SEGMENTS, is host memory; elements outside of them do not
     * change. */
    void (*adam)(Backend *, const AdamSegment *segments, int segment_count, const StepState *state,
                 const float *gradients, float *parameters, float *m, float *v);

    /* Adds one to state->step and state->updates. */
    void (*advance)(Backend *, StepState *state);
} Operations;

/* The members from `sample` on are the operations. */
enum {
    OPERATION_COUNT = (sizeof(Operations) - offsetof(Operations, sample)) / sizeof(void (*)(void))
};

/*
 * The families of operations. Each family is one file in each back end and in the checker, all of
 * the same name; every other list of families is generated from this one.
 *
 * CONTRIBUTING.md has the recipe for adding an operation or a family. A part that is missing does
 * not compile, does not link, or fails the checker.
 */
#define OPERATION_FAMILIES(F) F(batch) FAST_OPERATION_FAMILIES(F) F(loss)

/* Families with a fast CPU version. */
#define FAST_OPERATION_FAMILIES(F)                                                                 \
    F(unfold) F(relu) F(weights) F(nnmf) F(batchnorm) F(convolution) F(adam)

#endif
