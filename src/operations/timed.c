#include "operations/timed.h"

#include "base/time.h"

/* Returns the multiplications plus additions of one rows x outputs x features product. */
static double nnmf_product(const NnmfParams *s)
{
    return 2.0 * (double)s->rows * s->features * s->outputs;
}

static double convolution_product(const ConvolutionShape *s)
{
    return 2.0 * (double)s->rows * s->in * s->out;
}

/* A row for each operation, in the order of the table: member, name, FLOPs of a call, parameters,
 * arguments. The rest of this file is generated from it. */
/* clang-format off */
#define TIMED_OPERATIONS(T)                                                                        \
    T(sample, "sample", 0.0,                                                                       \
      (Backend *b, const Sampler *s, const StepState *state, uint32_t *indices,                    \
       Augmentation *augmentations),                                                               \
      (b, s, state, indices, augmentations))                                                       \
    T(augment, "augment", 0.0,                                                                     \
      (Backend *b, const CropShape *s, const uint8_t *pixels, const uint8_t *labels,               \
       const uint32_t *indices, const Augmentation *augmentations, float *images,                  \
       uint8_t *batch_labels),                                                                     \
      (b, s, pixels, labels, indices, augmentations, images, batch_labels))                        \
    T(unfold_forward, "unfold", 0.0,                                                               \
      (Backend *b, const UnfoldShape *s, const float *in, float *x, float *scale),                 \
      (b, s, in, x, scale))                                                                        \
    T(unfold_backward, "unfold backward", 0.0,                                                     \
      (Backend *b, const UnfoldShape *s, const float *in, const float *x, const float *scale,      \
       const float *dx, float *din),                                                               \
      (b, s, in, x, scale, dx, din))                                                               \
    T(relu_forward, "ReLU", 0.0, (Backend *b, size_t elements, const float *in, float *out),       \
      (b, elements, in, out))                                                                      \
    T(relu_backward, "ReLU backward", 0.0,                                                         \
      (Backend *b, size_t elements, const float *in, const float *dout, float *din),               \
      (b, elements, in, dout, din))                                                                \
    T(transpose, "transpose", 0.0,                                                                 \
      (Backend *b, int count, int rows, int columns, const float *in, float *out),                 \
      (b, count, rows, columns, in, out))                                                          \
    T(weights_forward, "weights", 0.0, (Backend *b, const LayerWeights *layers, int count),        \
      (b, layers, count))                                                                          \
    T(weights_backward, "weights backward", 0.0,                                                   \
      (Backend *b, const LayerWeights *layers, int count), (b, layers, count))                     \
    T(nnmf_forward, "NNMF", 2.0 * s->iterations * nnmf_product(s),                                 \
      (Backend *b, const NnmfParams *s, const float *x, const float *w, float *h),                  \
      (b, s, x, w, h))                                                                             \
    T(nnmf_backward, "NNMF backward", 4.0 * nnmf_product(s),                                       \
      (Backend *b, const NnmfParams *s, const float *x, const float *w, const float *h,             \
       const float *dh, float *dx, float *dw),                                                     \
      (b, s, x, w, h, dh, dx, dw))                                                                 \
    T(batchnorm_forward, "batch norm", 0.0,                                                        \
      (Backend *b, size_t rows, int channels, int batches, const float *in, const float *weight,   \
       const float *bias, float *out, float *mean, float *rstd),                                   \
      (b, rows, channels, batches, in, weight, bias, out, mean, rstd))                             \
    T(batchnorm_backward, "batch norm backward", 0.0,                                              \
      (Backend *b, size_t rows, int channels, const float *in, const float *weight,                \
       const float *mean, const float *rstd, const float *dout, float *din, float *dweight,        \
       float *dbias),                                                                              \
      (b, rows, channels, in, weight, mean, rstd, dout, din, dweight, dbias))                      \
    T(batchnorm_accumulate, "batch norm sums", 0.0,                                                \
      (Backend *b, size_t rows, int channels, int batches, const float *in, double *sums),         \
      (b, rows, channels, batches, in, sums))                                                      \
    T(batchnorm_frozen_forward, "frozen batch norm", 0.0,                                          \
      (Backend *b, size_t rows, int channels, const float *in, const float *weight,                \
       const float *bias, const float *mean, const float *variance, float *out),                   \
      (b, rows, channels, in, weight, bias, mean, variance, out))                                  \
    T(batchnorm_frozen_backward, "frozen batch norm back", 0.0,                                    \
      (Backend *b, size_t rows, int channels, const float *in, const float *weight,                \
       const float *mean, const float *variance, const float *dout, float *din, float *dweight,    \
       float *dbias),                                                                              \
      (b, rows, channels, in, weight, mean, variance, dout, din, dweight, dbias))                  \
    T(convolution_forward, "convolution", convolution_product(s),                                  \
      (Backend *b, const ConvolutionShape *s, const float *in, const float *weight,                \
       const float *bias, float *out),                                                             \
      (b, s, in, weight, bias, out))                                                               \
    T(convolution_backward, "convolution backward", (din ? 2.0 : 1.0) * convolution_product(s),    \
      (Backend *b, const ConvolutionShape *s, const float *in, const float *weight,                \
       const float *dout, float *din, float *dweight, float *dbias),                               \
      (b, s, in, weight, dout, din, dweight, dbias))                                               \
    T(softmax, "softmax", 0.0,                                                                     \
      (Backend *b, int batch, int classes, const float *logits, float *probabilities),             \
      (b, batch, classes, logits, probabilities))                                                  \
    T(loss, "loss", 0.0,                                                                           \
      (Backend *b, const LossParams *s, const float *probabilities, const uint8_t *labels,          \
       const StepState *state, Totals *totals, float *dlogits),                                        \
      (b, s, probabilities, labels, state, totals, dlogits))                                       \
    T(adam, "Adam", 0.0,                                                                           \
      (Backend *b, const AdamSegment *segments, int segment_count, const StepState *state,             \
       const float *gradients, float *parameters, float *m, float *v),                             \
      (b, segments, segment_count, state, gradients, parameters, m, v))                            \
    T(advance, "advance", 0.0, (Backend *b, StepState *state), (b, state))
/* clang-format on */

enum {
#define PLACE(member, ...) PLACE_##member,
    TIMED_OPERATIONS(PLACE)
#undef PLACE
        PLACES
};

_Static_assert((int)PLACES == (int)OPERATION_COUNT, "every operation is timed");
#define IN_ORDER(member, ...)                                                                      \
    _Static_assert(offsetof(Operations, member) ==                                                 \
                       offsetof(Operations, sample) + PLACE_##member * sizeof(void (*)(void)),     \
                   "rows are in the order of the table");
TIMED_OPERATIONS(IN_ORDER)
#undef IN_ORDER

const char *const timed_names[OPERATION_COUNT] = {
#define NAME(member, name, ...) name,
    TIMED_OPERATIONS(NAME)
#undef NAME
};

const char *const timed_members[OPERATION_COUNT] = {
#define MEMBER(member, ...) #member,
    TIMED_OPERATIONS(MEMBER)
#undef MEMBER
};

/* Operations cannot be passed a context, so the timed table and the sums are static. */
static const Operations *inner;
static Operations timed_operations;
static Timing timing;
static bool paused;
static Error first; /* failure since the last finish of the timed table */

static void wait_until_idle(Backend *backend)
{
    Error error;
    if (!inner->finish(backend, &error) && first.status == STATUS_OK)
        first = error;
}

static double begin(Backend *backend)
{
    if (paused)
        return 0.0;
    wait_until_idle(backend);
    return seconds_now();
}

static void end(Backend *backend, int place, double started, double flops)
{
    if (paused)
        return;
    wait_until_idle(backend);
    timing.seconds[place] += seconds_now() - started;
    timing.flops[place] += flops;
}

#define TIME(member, name, flops, parameters, arguments)                                           \
    static void member parameters                                                                  \
    {                                                                                              \
        double started = begin(b);                                                                 \
        inner->member arguments;                                                                   \
        end(b, PLACE_##member, started, flops);                                                    \
    }
TIMED_OPERATIONS(TIME)
#undef TIME

static bool finish(Backend *backend, Error *error)
{
    wait_until_idle(backend);
    if (first.status == STATUS_OK)
        return true;
    *error = first;
    first = (Error){0};
    return false;
}

void timed_open(const Device *device, Device *timed)
{
    inner = device->operations;
    timed_operations = *inner;
    timed_operations.finish = finish;
    first = (Error){0};
#define FILL(member, ...) timed_operations.member = member;
    TIMED_OPERATIONS(FILL)
#undef FILL
    *timed = *device;
    timed->operations = &timed_operations;
    timed_reset();
}

void timed_pause(bool pause)
{
    paused = pause;
}

void timed_reset(void)
{
    timing = (Timing){0};
}

Timing timed_read(void)
{
    return timing;
}
