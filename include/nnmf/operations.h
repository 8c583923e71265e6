/*
 * The table of operations: the only seam between the network and a device. The plain C version
 * of each (src/operations/plain) is its definition; tests/test_operations.c checks every other
 * table against it.
 *
 * Conventions. Activations are row-major (rows, channels): a row is one position of one image,
 * rows are ordered (image, y, x), channels are contiguous. Pointers named as parameters are device
 * memory from `allocate`. Buffers do not overlap unless it is said. Outputs are overwritten, not
 * accumulated into, unless it is said. Operations may run asynchronously and return nothing: a
 * failure is kept by the backend and reported by `finish`. Results do not depend on the number of
 * threads.
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

/* Added to divisors and to arguments of logarithms so that they are not 0, as published. */
#define EPSILON_SUM 1e-19         /* sums of a row, before they divide it */
#define EPSILON_R 1e-20           /* r = h w, before x / r */
#define EPSILON_VARIANCE 1e-5     /* of a batch norm */
#define EPSILON_PROBABILITY 1e-20 /* in the loss */

/* Adam's decay rates and epsilon, the defaults of Kingma and Ba (2015). */
#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
#define ADAM_EPSILON 1e-8

/* Limits of one call, so that back ends can pass its arguments by value. */
enum {
    LEARNING_RATES = 3,
    MAX_ADAM_SEGMENTS = 96,
    MAX_WEIGHT_LAYERS = 32,
};

/* What the weights of an NNMF layer go through before their rows are normalised. */
typedef enum PositiveFunction {
    POSITIVE_ABS,      /* |W| */
    POSITIVE_EXP,      /* exp((tanh(beta) + 1) / 2 * W), W scaled to at most 80 in magnitude */
    POSITIVE_TANH,     /* (tanh(beta W) + 1) / 2 */
    POSITIVE_IDENTITY, /* W */
} PositiveFunction;

/* What an NNMF layer's weights learn from. */
typedef enum LocalLearning {
    LOCAL_NONE, /* the error that comes back from the loss */
    LOCAL_KL,   /* the layer's own reconstruction, Kullback-Leibler divergence */
    LOCAL_MSE,  /* the layer's own reconstruction, squared error */
} LocalLearning;

typedef enum LossKind {
    LOSS_SBS,           /* squared error and Kullback-Leibler divergence of the probabilities */
    LOSS_CROSS_ENTROPY, /* of the probabilities taken as logits */
} LossKind;

/* Does the positive function have a learned beta? */
static inline bool positive_function_has_beta(PositiveFunction function)
{
    return function == POSITIVE_EXP || function == POSITIVE_TANH;
}

typedef struct Backend Backend; /* threads, scratch memory, streams: the device's own business */

/* Host memory that a device copies from and to by itself, and what it knows of its last copy. */
typedef struct Transfer Transfer;

/* Where training stands; lives in device memory so that a recorded step needs no host. */
typedef struct StepState {
    uint32_t epoch;
    uint32_t step;    /* within the epoch */
    uint64_t updates; /* optimiser steps made so far */
    double learning_rates[LEARNING_RATES];
} StepState;

/* Sums over the batches since they were last set to zero; lives in device memory. */
typedef struct Totals {
    double loss;       /* of all images */
    double batch_loss; /* of the last batch: LOSS_SBS the sum over its images, LOSS_CROSS_ENTROPY
                          the mean, both as published */
    uint64_t correct;  /* images, of all batches */
    uint64_t batch_correct;
    int64_t first_nonfinite_step; /* 1 + the first step whose loss was not finite, 0: none */
} Totals;

/* Which images a batch consists of. */
typedef struct Sampler {
    size_t begin, end; /* image numbers, half open */
    int batch;         /* images now: fewer than batch_size at the end of the range, more where
                          those of the next steps follow */
    int batch_size;    /* images of a full batch: step s begins at position s * batch_size */
    bool shuffle;
    AugmentKind augment;
    bool colour;          /* are there three channels for flips and colours? */
    int slack_y, slack_x; /* image minus crop, in pixels */
    uint64_t seed;
    /* 0: all images lie in memory, in their own order. Else those of this many full batches do, in
     * the order they are drawn in: batch s begins at (s mod ring_steps) * batch_size. Those of
     * several steps at once do not go beyond its end. */
    uint32_t ring_steps;
} Sampler;

/* The number of image `i` of batch `step`. */
static inline NNMF_HD uint32_t sample_image(const Sampler *s, uint32_t epoch, uint32_t step,
                                            uint32_t i)
{
    uint32_t position = step * (uint32_t)s->batch_size + i;
    if (s->shuffle)
        position = draw_permuted(s->seed, epoch, (uint32_t)(s->end - s->begin), position);
    return (uint32_t)s->begin + position;
}

/* How it is augmented. */
static inline NNMF_HD Augmentation sample_augmentation(const Sampler *s, uint32_t epoch,
                                                       uint32_t step, uint32_t i)
{
    uint32_t batch_size = (uint32_t)s->batch_size;
    return augment_draw(s->augment, s->seed, epoch, step + i / batch_size, i % batch_size,
                        s->slack_y, s->slack_x, s->colour);
}

/* Where that image lies in memory. */
static inline NNMF_HD uint32_t sample_index(const Sampler *s, uint32_t epoch, uint32_t step,
                                            uint32_t i)
{
    return s->ring_steps ? step % s->ring_steps * (uint32_t)s->batch_size + i
                         : sample_image(s, epoch, step, i);
}

typedef struct CropShape {
    int batch, channels; /* 3 or 1 channels */
    int height, width;   /* of the stored images */
    int crop_height, crop_width;
} CropShape;

typedef struct UnfoldShape {
    int batch, height, width, channels; /* in */
    int kernel, stride;
    int out_height, out_width; /* (height - kernel) / stride + 1, likewise */
} UnfoldShape;

/* rows = batch * out_height * out_width; features = kernel * kernel * channels. */
static inline size_t unfold_rows(const UnfoldShape *s)
{
    return (size_t)s->batch * (size_t)s->out_height * (size_t)s->out_width;
}
static inline size_t unfold_features(const UnfoldShape *s)
{
    return (size_t)s->kernel * (size_t)s->kernel * (size_t)s->channels;
}

/* `raw`, the published weights, is (outputs, channels, window); `w` is (outputs, window, channels),
 * the order in which the features of a window lie in memory when channels are contiguous. */
typedef struct WeightShape {
    int outputs, channels, window;
    PositiveFunction function;
} WeightShape;

/* The weights of one NNMF layer and their gradients. */
typedef struct LayerWeights {
    WeightShape shape;
    const float *raw, *beta; /* (outputs, channels, window); (1), NULL without */
    float *w, *scale;        /* (outputs, window, channels); (outputs) */
    const float *dw;         /* shaped as w */
    float *d_raw, *dbeta;    /* shaped as raw; (1), NULL without */
} LayerWeights;

typedef struct NnmfParams {
    size_t rows;  /* of all batches */
    int features; /* K */
    int outputs;  /* N */
    int batches;  /* equally large ones that the rows consist of; 0 is 1. Each has the bits that it
                     would have alone, on whatever device */
    int iterations;
    float epsilon;
    LocalLearning local_learning;
} NnmfParams;

/* Of a shape's `batches`. */
static inline size_t batch_count(int batches)
{
    return batches > 1 ? (size_t)batches : 1;
}

/* What a device computes NNMF of some shape with. */
typedef struct NnmfImplementation {
    char text[96];       /* for people: "fused fp32, 32 rows x 64 outputs, 512 threads" */
    size_t shared_bytes; /* that a block of the one kernel that does it asks for; 0: several do */
} NnmfImplementation;

typedef struct ConvolutionShape {
    size_t rows; /* of all batches */
    int in, out; /* channels */
    int batches; /* as for NNMF; forward only */
} ConvolutionShape;

typedef struct LossParams {
    int batch, classes;
    LossKind kind;
    double mse, kl;
} LossParams;

/* The sum of a batch's losses over its images, from the batch's loss as published. */
static inline NNMF_HD double loss_of_images(const LossParams *s, double batch_loss)
{
    return s->kind == LOSS_CROSS_ENTROPY ? batch_loss * s->batch : batch_loss;
}

/* A parameter's place in the buffers that hold all of them. */
typedef struct AdamSegment {
    size_t offset, elements;
    int group; /* index into StepState.learning_rates */
} AdamSegment;

typedef struct Operations {
    const char *name;

    /* ---- device memory; zeroed by allocate ---- */
    void *(*allocate)(Backend *, size_t bytes, const char *what, Error *);
    void (*release)(Backend *, void *memory); /* NULL is allowed */
    void (*upload)(Backend *, void *device, const void *host, size_t bytes);
    void (*download)(Backend *, void *host, const void *device, size_t bytes); /* waits */

    /* Waits until all operations are done; false with the first failure since the last call. */
    bool (*finish)(Backend *, Error *);

    /* What nnmf_forward computes this shape with, or nnmf_backward; NULL where it is the same for
     * all shapes. */
    void (*nnmf_implementation)(Backend *, const NnmfParams *, bool backward,
                                NnmfImplementation *implementation);

    /* ---- transfers: copies while the host goes on; all NULL where the device's memory is the
     * host's, so that there is nothing to copy ---- */

    /* How many bytes allocate could still give; 0 after a failure. */
    size_t (*available)(Backend *);

    /* One through `bytes` of host memory, *host. */
    Transfer *(*open_transfer)(Backend *, size_t bytes, const char *what, void **host, Error *);
    void (*close_transfer)(Backend *, Transfer *); /* waits for it; NULL is allowed */

    /* *host from `offset` on -> device: after the operations that were called before it, beside
     * those that are called later, but for those after `await`. */
    void (*send)(Backend *, Transfer *, size_t offset, void *device, size_t bytes);
    void (*await)(Backend *, Transfer *);

    /* device -> *host from `offset` on, between the operations called before it and after it. */
    void (*fetch)(Backend *, Transfer *, size_t offset, const void *device, size_t bytes);

    /* Is all done that was sent or fetched, so that *host is the host's again? Does not wait;
     * false with the first failure since the last call of this or of finish. */
    bool (*arrived)(Backend *, Transfer *, bool *yes, Error *);

    /* ---- recordings: all three NULL where a device has none ---- */

    /* Runs `step`, whose operations are recorded instead of done; allocate, release, upload,
     * download and finish are not possible in it, and it must have run once before. */
    bool (*record)(Backend *, void (*step)(void *context), void *context, void **recording,
                   Error *);
    void (*replay)(Backend *, void *recording);
    void (*forget)(Backend *, void *recording); /* NULL is allowed */

    /* ---- a batch ---- */

    /* Draws which images make up the batch of the state's epoch and step, and how each is
     * augmented: indices (batch) as of sample_index, augmentations (batch). Random numbers:
     * philox.h, augment.h. */
    void (*sample)(Backend *, const Sampler *, const StepState *state, uint32_t *indices,
                   Augmentation *augmentations);

    /* pixels (count, channels, height, width) bytes, labels (count) that indices refer to ->
     * images (batch, crop_height, crop_width, channels) in [0, 1], batch_labels (batch). */
    void (*augment)(Backend *, const CropShape *, const uint8_t *pixels, const uint8_t *labels,
                    const uint32_t *indices, const Augmentation *augmentations, float *images,
                    uint8_t *batch_labels);

    /* ---- ReLU, unfold, L1 norm ---- */

    /* in (batch, height, width, channels) -> x (rows, features), scale (rows):
     * x = u scale with u = max(in, 0) over the window, scale = 1 / (sum(u) + EPSILON_SUM).
     * Features are ordered (window row, window column, channel). */
    void (*unfold_forward)(Backend *, const UnfoldShape *, const float *in, float *x, float *scale);

    /* dx (rows, features) -> din, shaped as in: du = (dx - sum(dx x)) scale, summed over the
     * windows that hold a pixel; 0 where in <= 0. */
    void (*unfold_backward)(Backend *, const UnfoldShape *, const float *in, const float *x,
                            const float *scale, const float *dx, float *din);

    /* ---- ReLU alone, where no unfold follows ---- */

    /* out = max(in, 0), element by element; a NaN stays one. */
    void (*relu_forward)(Backend *, size_t elements, const float *in, float *out);

    /* din = dout where in > 0, else 0. din may be dout. */
    void (*relu_backward)(Backend *, size_t elements, const float *in, const float *dout,
                          float *din);

    /* ---- the order of weights ---- */

    /* in (count, rows, columns) -> out (count, columns, rows): from the published order of the
     * features of a window, (channels, window), to that in memory, (window, channels), and back. */
    void (*transpose)(Backend *, int count, int rows, int columns, const float *in, float *out);

    /* ---- NNMF ---- */

    /* Of all layers at once, since each has little work: `layers` (count) is host memory, count
     * 1 .. MAX_WEIGHT_LAYERS. Of each, raw, beta -> w, scale: w = f(raw) scale,
     * scale = 1 / (sum over the row of f(raw) + EPSILON_SUM). */
    void (*weights_forward)(Backend *, const LayerWeights *layers, int count);

    /* The same way back: raw, beta, w, scale, dw -> d_raw, dbeta. The chain rule; the derivative of
     * |raw| is its sign, 0 at 0. */
    void (*weights_backward)(Backend *, const LayerWeights *layers, int count);

    /* x (rows, features) with rows that sum to 1, w (outputs, features) -> h (rows, outputs).
     * h = 1 / outputs, then `iterations` times:
     * r = h w + EPSILON_R; s = (x / r) w^T; h = h s, or h (1 + epsilon s) if epsilon is not 0;
     * h = h / (sum(h) + EPSILON_SUM). */
    void (*nnmf_forward)(Backend *, const NnmfParams *, const float *x, const float *w, float *h);

    /* dh (rows, outputs) -> dx (rows, features; NULL if not wanted), dw (outputs, features).
     * With r = h w, q = 1 / (r + EPSILON_R): dx = ((h dh) w) q;
     * dw = (h dh)^T (x q) - h^T (x q dx), LOCAL_KL: - h^T (x q), LOCAL_MSE: - h^T (2 (x - r)). */
    void (*nnmf_backward)(Backend *, const NnmfParams *, const float *x, const float *w,
                          const float *h, const float *dh, float *dx, float *dw);

    /* ---- batch norm over rows, statistics of this batch, biased variance ---- */

    /* in, out (rows, channels); weight, bias (channels); mean, rstd (batches, channels):
     * out = (in - mean) rstd weight + bias, rstd = 1 / sqrt(variance + EPSILON_VARIANCE). The rows
     * are those of `batches` equally large batches, each with its own statistics and the bits that
     * it would have alone. */
    void (*batchnorm_forward)(Backend *, size_t rows, int channels, int batches, const float *in,
                              const float *weight, const float *bias, float *out, float *mean,
                              float *rstd);

    /* Of one batch; mean, rstd (channels). din may be dout. */
    void (*batchnorm_backward)(Backend *, size_t rows, int channels, const float *in,
                               const float *weight, const float *mean, const float *rstd,
                               const float *dout, float *din, float *dweight, float *dbias);

    /* Adds to sums (2, channels) the sums over rows of in and of its square, to the bits that a
     * call for each of the `batches` equally large batches would give. */
    void (*batchnorm_accumulate)(Backend *, size_t rows, int channels, int batches, const float *in,
                                 double *sums);

    /* ---- batch norm with frozen statistics: mean, variance (channels), of whatever images ---- */

    /* out = (in - mean) weight / sqrt(variance + EPSILON_VARIANCE) + bias. */
    void (*batchnorm_frozen_forward)(Backend *, size_t rows, int channels, const float *in,
                                     const float *weight, const float *bias, const float *mean,
                                     const float *variance, float *out);

    /* The statistics are constants: din = dout weight / sqrt(variance + EPSILON_VARIANCE). din may
     * be dout. */
    void (*batchnorm_frozen_backward)(Backend *, size_t rows, int channels, const float *in,
                                      const float *weight, const float *mean, const float *variance,
                                      const float *dout, float *din, float *dweight, float *dbias);

    /* ---- convolution 1x1: out = in weight^T + bias ---- */

    /* in (rows, in), weight (out, in), bias (out; NULL: none), out (rows, out). */
    void (*convolution_forward)(Backend *, const ConvolutionShape *, const float *in,
                                const float *weight, const float *bias, float *out);

    /* din: NULL if not wanted; dbias: NULL without a bias. */
    void (*convolution_backward)(Backend *, const ConvolutionShape *, const float *in,
                                 const float *weight, const float *dout, float *din, float *dweight,
                                 float *dbias);

    /* ---- softmax, loss ---- */

    /* logits, probabilities (batch, classes). */
    void (*softmax)(Backend *, int batch, int classes, const float *logits, float *probabilities);

    /* Adds the losses of the batch's images (loss_of_images) and the number of correct ones to
     * `totals`, sets the batch's loss there, and writes dlogits (batch, classes; NULL if not
     * wanted), the derivative of the batch's loss.
     * LOSS_SBS, p probabilities, t one-hot: sum over batch, mean over classes, of
     * (mse (p - t)^2 + kl t log((t + EPSILON_PROBABILITY) / (p + EPSILON_PROBABILITY))) / (|mse| +
     * |kl|). LOSS_CROSS_ENTROPY: mean over batch of -log(softmax(p)) at the label. An image is
     * correct when its first largest probability is at its label. */
    void (*loss)(Backend *, const LossParams *, const float *probabilities, const uint8_t *labels,
                 const StepState *state, Totals *totals, float *dlogits);

    /* ---- optimiser ---- */

    /* Adam (Kingma, Ba 2015) for all parameters at once, with b1 = ADAM_BETA1, b2 = ADAM_BETA2:
     * m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; t = state.updates + 1;
     * p -= rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + ADAM_EPSILON). `segments` is host
     * memory. */
    void (*adam)(Backend *, const AdamSegment *segments, int segment_count, const StepState *state,
                 const float *gradients, float *parameters, float *m, float *v);

    /* state: one more step, one more update. */
    void (*advance)(Backend *, StepState *state);
} Operations;

/* The operations proper begin with `sample`. */
enum {
    OPERATION_COUNT = (sizeof(Operations) - offsetof(Operations, sample)) / sizeof(void (*)(void))
};

/*
 * The families of operations. A family is one file of its name in each back end and in the checker;
 * all lists of them are made from this one.
 *
 * To add an operation: a member of Operations with its shapes and formula; its definition in
 * src/operations/plain/<family>.c; its fast versions in src/operations/cpu/<family>.c (or none: the
 * definition serves) and kernels/<family>.cu; its check in tests/operations/<family>.c; its row in
 * src/operations/timed.c. A new family is one more name here. What is forgotten does not compile,
 * does not link, or fails the checker.
 */
#define OPERATION_FAMILIES(F) F(batch) FAST_OPERATION_FAMILIES(F) F(loss)

/* Those that have a fast CPU version. */
#define FAST_OPERATION_FAMILIES(F)                                                                 \
    F(unfold) F(relu) F(weights) F(nnmf) F(batchnorm) F(convolution) F(adam)

#endif
