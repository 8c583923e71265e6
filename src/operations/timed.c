#include "operations/timed.h"

#include "base/time.h"

#include <stdio.h>

const char *const profiled_names[PROFILED_OPERATIONS] = {
    "sample",
    "augment",
    "unfold",
    "unfold backward",
    "ReLU",
    "ReLU backward",
    "transpose",
    "weights",
    "weights backward",
    "NNMF",
    "NNMF backward",
    "batch norm",
    "batch norm backward",
    "convolution",
    "convolution backward",
    "softmax",
    "loss",
    "Adam",
};

/* Operations get no context of ours, so the table beneath and the sums are the file's own. */
static const Operations *inner;
static Operations timed_operations;
static Profile profile;
static bool paused;

static double begin(Backend *backend)
{
    Error ignored; /* bench asks for failures once, at the end */
    if (paused)
        return 0.0;
    inner->finish(backend, &ignored);
    return seconds_now();
}

static void end(Backend *backend, ProfiledOperation operation, double started, double flops)
{
    Error ignored;
    if (paused)
        return;
    inner->finish(backend, &ignored);
    profile.seconds[operation] += seconds_now() - started;
    profile.flops[operation] += flops;
}

static void sample(Backend *b, const SampleShape *s, const Clock *clock, uint32_t *indices,
                   Augmentation *augmentations)
{
    double t = begin(b);
    inner->sample(b, s, clock, indices, augmentations);
    end(b, PROFILE_SAMPLE, t, 0.0);
}

static void augment(Backend *b, const CropShape *s, const uint8_t *pixels, const uint8_t *labels,
                    const uint32_t *indices, const Augmentation *augmentations, float *images,
                    uint8_t *batch_labels)
{
    double t = begin(b);
    inner->augment(b, s, pixels, labels, indices, augmentations, images, batch_labels);
    end(b, PROFILE_AUGMENT, t, 0.0);
}

static void unfold_forward(Backend *b, const UnfoldShape *s, const float *in, float *x,
                           float *scale)
{
    double t = begin(b);
    inner->unfold_forward(b, s, in, x, scale);
    end(b, PROFILE_UNFOLD_FORWARD, t, 0.0);
}

static void unfold_backward(Backend *b, const UnfoldShape *s, const float *in, const float *x,
                            const float *scale, const float *dx, float *din)
{
    double t = begin(b);
    inner->unfold_backward(b, s, in, x, scale, dx, din);
    end(b, PROFILE_UNFOLD_BACKWARD, t, 0.0);
}

static void relu_forward(Backend *b, size_t elements, const float *in, float *out)
{
    double t = begin(b);
    inner->relu_forward(b, elements, in, out);
    end(b, PROFILE_RELU_FORWARD, t, 0.0);
}

static void relu_backward(Backend *b, size_t elements, const float *in, const float *dout,
                          float *din)
{
    double t = begin(b);
    inner->relu_backward(b, elements, in, dout, din);
    end(b, PROFILE_RELU_BACKWARD, t, 0.0);
}

static void transpose(Backend *b, int count, int rows, int columns, const float *in, float *out)
{
    double t = begin(b);
    inner->transpose(b, count, rows, columns, in, out);
    end(b, PROFILE_TRANSPOSE, t, 0.0);
}

static void weights_forward(Backend *b, const LayerWeights *layers, int count)
{
    double t = begin(b);
    inner->weights_forward(b, layers, count);
    end(b, PROFILE_WEIGHTS_FORWARD, t, 0.0);
}

static void weights_backward(Backend *b, const LayerWeights *layers, int count)
{
    double t = begin(b);
    inner->weights_backward(b, layers, count);
    end(b, PROFILE_WEIGHTS_BACKWARD, t, 0.0);
}

/* Multiplications and additions of one rows x outputs x features product. */
static double nnmf_product(const NnmfShape *s)
{
    return 2.0 * (double)s->rows * s->features * s->outputs;
}

static void nnmf_forward(Backend *b, const NnmfShape *s, const float *x, const float *w, float *h)
{
    double t = begin(b);
    inner->nnmf_forward(b, s, x, w, h);
    end(b, PROFILE_NNMF_FORWARD, t, 2.0 * s->iterations * nnmf_product(s));
}

static void nnmf_backward(Backend *b, const NnmfShape *s, const float *x, const float *w,
                          const float *h, const float *dh, float *dx, float *dw)
{
    double t = begin(b);
    inner->nnmf_backward(b, s, x, w, h, dh, dx, dw);
    end(b, PROFILE_NNMF_BACKWARD, t, 4.0 * nnmf_product(s));
}

static void batchnorm_forward(Backend *b, size_t rows, int channels, const float *in,
                              const float *weight, const float *bias, float *out, float *mean,
                              float *rstd)
{
    double t = begin(b);
    inner->batchnorm_forward(b, rows, channels, in, weight, bias, out, mean, rstd);
    end(b, PROFILE_BATCHNORM_FORWARD, t, 0.0);
}

static void batchnorm_backward(Backend *b, size_t rows, int channels, const float *in,
                               const float *weight, const float *mean, const float *rstd,
                               const float *dout, float *din, float *dweight, float *dbias)
{
    double t = begin(b);
    inner->batchnorm_backward(b, rows, channels, in, weight, mean, rstd, dout, din, dweight, dbias);
    end(b, PROFILE_BATCHNORM_BACKWARD, t, 0.0);
}

static double convolution_product(const ConvolutionShape *s)
{
    return 2.0 * (double)s->rows * s->in * s->out;
}

static void convolution_forward(Backend *b, const ConvolutionShape *s, const float *in,
                                const float *weight, const float *bias, float *out)
{
    double t = begin(b);
    inner->convolution_forward(b, s, in, weight, bias, out);
    end(b, PROFILE_CONVOLUTION_FORWARD, t, convolution_product(s));
}

static void convolution_backward(Backend *b, const ConvolutionShape *s, const float *in,
                                 const float *weight, const float *dout, float *din, float *dweight,
                                 float *dbias)
{
    double t = begin(b);
    inner->convolution_backward(b, s, in, weight, dout, din, dweight, dbias);
    end(b, PROFILE_CONVOLUTION_BACKWARD, t, (din ? 2.0 : 1.0) * convolution_product(s));
}

static void softmax(Backend *b, int batch, int classes, const float *logits, float *probabilities)
{
    double t = begin(b);
    inner->softmax(b, batch, classes, logits, probabilities);
    end(b, PROFILE_SOFTMAX, t, 0.0);
}

static void loss(Backend *b, const LossShape *s, const float *probabilities, const uint8_t *labels,
                 const Clock *clock, Totals *totals, float *dlogits)
{
    double t = begin(b);
    inner->loss(b, s, probabilities, labels, clock, totals, dlogits);
    end(b, PROFILE_LOSS, t, 0.0);
}

static void adam(Backend *b, const AdamSegment *segments, int segment_count, const Clock *clock,
                 const float *gradients, float *parameters, float *m, float *v)
{
    double t = begin(b);
    inner->adam(b, segments, segment_count, clock, gradients, parameters, m, v);
    end(b, PROFILE_ADAM, t, 0.0);
}

void profile_device(const Device *device, Device *timed)
{
    inner = device->operations;
    timed_operations = *inner;
    timed_operations.sample = sample;
    timed_operations.augment = augment;
    timed_operations.unfold_forward = unfold_forward;
    timed_operations.unfold_backward = unfold_backward;
    timed_operations.relu_forward = relu_forward;
    timed_operations.relu_backward = relu_backward;
    timed_operations.transpose = transpose;
    timed_operations.weights_forward = weights_forward;
    timed_operations.weights_backward = weights_backward;
    timed_operations.nnmf_forward = nnmf_forward;
    timed_operations.nnmf_backward = nnmf_backward;
    timed_operations.batchnorm_forward = batchnorm_forward;
    timed_operations.batchnorm_backward = batchnorm_backward;
    timed_operations.convolution_forward = convolution_forward;
    timed_operations.convolution_backward = convolution_backward;
    timed_operations.softmax = softmax;
    timed_operations.loss = loss;
    timed_operations.adam = adam;
    *timed = *device;
    timed->operations = &timed_operations;
    profile_reset();
}

void profile_pause(bool pause)
{
    paused = pause;
}

void profile_reset(void)
{
    profile = (Profile){0};
}

Profile profile_read(void)
{
    return profile;
}
