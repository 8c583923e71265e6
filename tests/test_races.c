/*
 * Runs every kernel on every path, with shapes of two or three blocks and few rows, so that the
 * emulation can look for races (cuda_host/race); it aborts the program at the first one. Other
 * tests check the results.
 */
#include "small_training.h"

#include "nnmf/philox.h"
#include "training/evaluation.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a device and its memory ---- */

enum { MAX_GPU_BUFFERS = 128 };

static struct {
    Device device;
    const Operations *ops;
    Backend *backend;
    void *buffers[MAX_GPU_BUFFERS];
    int count;
} gpu;

static void open_gpu(NnmfKernel kernel, Precision precision)
{
    open_cuda(kernel, precision, &gpu.device);
    gpu.ops = gpu.device.operations;
    gpu.backend = gpu.device.backend;
    gpu.count = 0;
}

static void close_gpu(void)
{
    Error error = {0};
    must(gpu.ops->finish(gpu.backend, &error), &error);
    for (int i = 0; i < gpu.count; i++)
        gpu.ops->release(gpu.backend, gpu.buffers[i]);
    device_close(&gpu.device);
    assert_nothing_left();
}

static void *bytes_on_gpu(const void *from, size_t bytes)
{
    Error error = {0};
    assert_true(gpu.count < MAX_GPU_BUFFERS);
    void *memory = gpu.ops->allocate(gpu.backend, bytes, "a buffer", &error);
    must(memory != NULL, &error);
    gpu.ops->upload(gpu.backend, memory, from, bytes);
    return gpu.buffers[gpu.count++] = memory;
}

/* Returns random numbers in [0.01, 1). */
static float *floats_on_gpu(size_t count)
{
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = 0.01f + 0.99f * philox_uniform(noise((uint32_t)i));
    float *memory = bytes_on_gpu(values, count * sizeof *values);
    free(values);
    return memory;
}

/* ---- NNMF ---- */

typedef struct Gpu {
    size_t shared;       /* bytes in a block */
    int multiprocessors; /* few, so that few blocks keep it busy */
    bool clusters;
} Gpu;

enum { SMALL = 48 << 10, USUAL = 99 << 10, LARGE = 227 << 10 };

typedef struct NnmfCase {
    Gpu gpu;
    NnmfParams shape;
    Precision precision;
} NnmfCase;

static void nnmf_forward(const NnmfCase *c, NnmfKernel kernel)
{
    const NnmfParams *s = &c->shape;
    cuda_host_reset();
    cuda_host_set_shared_optin(c->gpu.shared);
    cuda_host_set_multiprocessors(c->gpu.multiprocessors);
    cuda_host_set_capability(c->gpu.clusters ? 9 : 8, 0);
    open_gpu(kernel, c->precision);
    size_t features = (size_t)s->features, outputs = (size_t)s->outputs;
    gpu.ops->nnmf_forward(gpu.backend, s, floats_on_gpu(s->rows * features),
                          floats_on_gpu(outputs * features), floats_on_gpu(s->rows * outputs));
    close_gpu();
    assert_int_equal(cuda_host_cluster_launches() != 0, c->gpu.clusters);
    assert_int_equal(cuda_host_products() != 0, kernel == NNMF_KERNEL_CUBLAS);
}

/* All tiles of nnmf_forward_fused.cu, with all of w in shared memory and with a block of it. */
static void fused_forward(void **state)
{
    (void)state;
    static const NnmfCase cases[] = {
        {{USUAL, 8, false},
         {.rows = 35, .features = 40, .outputs = 10, .iterations = 2},
         PRECISION_FP32},
        {{SMALL, 8, false},
         {.rows = 35, .features = 600, .outputs = 16, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 1, false},
         {.rows = 130, .features = 40, .outputs = 30, .iterations = 2},
         PRECISION_FP32},
        {{SMALL, 1, false},
         {.rows = 130, .features = 300, .outputs = 30, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 70, .features = 75, .outputs = 32, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 70, .features = 600, .outputs = 32, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 1, false},
         {.rows = 66, .features = 100, .outputs = 50, .iterations = 2},
         PRECISION_FP32},
        {{SMALL, 1, false},
         {.rows = 66, .features = 300, .outputs = 50, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 8, true},
         {.rows = 40, .features = 400, .outputs = 64, .iterations = 3},
         PRECISION_FP32},
        {{USUAL, 8, true},
         {.rows = 40, .features = 900, .outputs = 64, .iterations = 3},
         PRECISION_FP32},
        {{LARGE, 8, false},
         {.rows = 33, .features = 150, .outputs = 64, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 8, false},
         {.rows = 33, .features = 600, .outputs = 64, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 33, .features = 200, .outputs = 64, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 33, .features = 400, .outputs = 64, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, true},
         {.rows = 20, .features = 250, .outputs = 90, .iterations = 3},
         PRECISION_FP32},
        {{LARGE, 16, true},
         {.rows = 20, .features = 4700, .outputs = 90, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 16, false},
         {.rows = 20, .features = 150, .outputs = 96, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, false},
         {.rows = 20, .features = 150, .outputs = 96, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, false},
         {.rows = 20, .features = 500, .outputs = 96, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 16, false},
         {.rows = 20, .features = 250, .outputs = 96, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 1, false},
         {.rows = 66, .features = 100, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 1, false},
         {.rows = 66, .features = 300, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, true},
         {.rows = 20, .features = 350, .outputs = 100, .iterations = 3},
         PRECISION_FP32},
        {{USUAL, 16, true},
         {.rows = 20, .features = 1100, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, false},
         {.rows = 20, .features = 150, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, false},
         {.rows = 20, .features = 500, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 16, false},
         {.rows = 20, .features = 100, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 16, false},
         {.rows = 20, .features = 250, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        nnmf_forward(&cases[i], NNMF_KERNEL_FUSED);
}

/* All plans of nnmf_forward_tensor.cu, with aligned and unaligned rows of w. */
static void tensor_forward(void **state)
{
    (void)state;
    static const NnmfCase cases[] = {
        {{USUAL, 8, false},
         {.rows = 20, .features = 75, .outputs = 10, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 70, .features = 100, .outputs = 32, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 8, true},
         {.rows = 20, .features = 200, .outputs = 64, .iterations = 3},
         PRECISION_FP32},
        {{LARGE, 8, false},
         {.rows = 20, .features = 75, .outputs = 60, .iterations = 2},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 20, .features = 400, .outputs = 64, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, true},
         {.rows = 20, .features = 250, .outputs = 90, .iterations = 3},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 20, .features = 100, .outputs = 96, .iterations = 2},
         PRECISION_FP32},
        {{LARGE, 16, true},
         {.rows = 20, .features = 250, .outputs = 120, .iterations = 3},
         PRECISION_FP32},
        {{USUAL, 8, false},
         {.rows = 20, .features = 100, .outputs = 128, .iterations = 2},
         PRECISION_FP32},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int precision = PRECISION_3XTF32; precision <= PRECISION_TF32; precision++) {
            NnmfCase c = cases[i];
            c.precision = (Precision)precision;
            nnmf_forward(&c, NNMF_KERNEL_FUSED);
        }
}

static void cublas_forward(void **state)
{
    (void)state;
    const NnmfCase c = {{USUAL, 8, false},
                        {.rows = 9, .features = 40, .outputs = 50, .iterations = 2},
                        PRECISION_FP32};
    nnmf_forward(&c, NNMF_KERNEL_CUBLAS);
}

static void nnmf_backward(NnmfKernel kernel, const NnmfParams *s)
{
    cuda_host_reset();
    cuda_host_set_multiprocessors(1);
    open_gpu(kernel, PRECISION_FP32);
    size_t features = (size_t)s->features, outputs = (size_t)s->outputs;
    float *x = floats_on_gpu(s->rows * features), *w = floats_on_gpu(outputs * features);
    float *h = floats_on_gpu(s->rows * outputs), *dh = floats_on_gpu(s->rows * outputs);
    float *dx = s->local_learning == LOCAL_KL ? NULL : floats_on_gpu(s->rows * features);
    for (int i = 0; i < 2; i++) /* twice, to reuse the block counts */
        gpu.ops->nnmf_backward(gpu.backend, s, x, w, h, dh, dx, floats_on_gpu(outputs * features));
    close_gpu();
}

/* Several chunks of several tiles of rows, and several panels of features. */
static void both_backward(void **state)
{
    (void)state;
    static const NnmfParams shapes[] = {
        {.rows = 150, .features = 40, .outputs = 30},
        {.rows = 300, .features = 30, .outputs = 20, .local_learning = LOCAL_MSE},
        {.rows = 140, .features = 50, .outputs = 50},
        {.rows = 140, .features = 33, .outputs = 64, .local_learning = LOCAL_KL},
        {.rows = 100, .features = 40, .outputs = 90},
        {.rows = 100, .features = 64, .outputs = 96, .local_learning = LOCAL_KL},
        {.rows = 100, .features = 40, .outputs = 120},
        {.rows = 70, .features = 36, .outputs = 128, .local_learning = LOCAL_MSE},
    };
    for (size_t i = 0; i < COUNT(shapes); i++)
        nnmf_backward(NNMF_KERNEL_FUSED, &shapes[i]);
    nnmf_backward(NNMF_KERNEL_CUBLAS, &shapes[0]);
}

/* ---- weights ---- */

static void weights(void **state)
{
    (void)state;
    enum { LAYERS = POSITIVE_IDENTITY + 1, OUTPUTS = 3, CHANNELS = 20, WINDOW = 25 };
    const size_t count = OUTPUTS * CHANNELS * WINDOW;
    LayerWeights layers[LAYERS];
    cuda_host_reset();
    open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
    for (int i = 0; i < LAYERS; i++) {
        PositiveFunction function = (PositiveFunction)i;
        bool has_beta = positive_function_has_beta(function);
        layers[i] = (LayerWeights){
            .shape = {OUTPUTS, CHANNELS, WINDOW, function},
            .raw = floats_on_gpu(count),
            .beta = has_beta ? floats_on_gpu(1) : NULL,
            .w = floats_on_gpu(count),
            .scale = floats_on_gpu(OUTPUTS),
            .dw = floats_on_gpu(count),
            .d_raw = floats_on_gpu(count),
            .dbeta = has_beta ? floats_on_gpu(1) : NULL,
        };
    }
    gpu.ops->weights_forward(gpu.backend, layers, LAYERS);
    gpu.ops->weights_backward(gpu.backend, layers, LAYERS);
    gpu.ops->transpose(gpu.backend, OUTPUTS, CHANNELS, WINDOW, layers[0].raw, layers[0].d_raw);
    close_gpu();
}

/* ---- batch norm and sums of columns ---- */

static void batch_norm(bool cooperative, size_t rows, int channels)
{
    size_t elements = rows * (size_t)channels, width = (size_t)channels;
    cuda_host_reset();
    cuda_host_set_cooperative(cooperative);
    cuda_host_set_multiprocessors(40); /* for two batches at once */
    open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
    const Operations *ops = gpu.ops;
    float *in = floats_on_gpu(elements), *out = floats_on_gpu(elements);
    float *dout = floats_on_gpu(elements), *weight = floats_on_gpu(width);
    float *bias = floats_on_gpu(width);
    float *mean = floats_on_gpu(2 * width), *rstd = floats_on_gpu(2 * width);
    float *dweight = floats_on_gpu(width), *dbias = floats_on_gpu(width);
    double *sums = bytes_on_gpu(&(double[256]){0}, 2 * width * sizeof *sums);
    for (int i = 0; i < 2; i++) { /* twice, to reuse the barrier and the block counts */
        ops->batchnorm_forward(gpu.backend, rows, channels, 1, in, weight, bias, out, mean, rstd);
        ops->batchnorm_backward(gpu.backend, rows, channels, in, weight, mean, rstd, dout, dout,
                                dweight, dbias);
        ops->batchnorm_accumulate(gpu.backend, rows, channels, 2, in, sums);
    }
    ops->batchnorm_forward(gpu.backend, rows, channels, 2, in, weight, bias, out, mean, rstd);
    ops->batchnorm_frozen_forward(gpu.backend, rows, channels, in, weight, bias, mean, weight, out);
    ops->batchnorm_frozen_backward(gpu.backend, rows, channels, in, weight, mean, weight, dout,
                                   dout, dweight, dbias);
    close_gpu();
    assert_int_equal(cuda_host_cooperative_launches(), cooperative ? 5 : 0);
}

static void batch_norms(void **state)
{
    (void)state;
    for (int cooperative = 0; cooperative < 2; cooperative++) {
        batch_norm(cooperative, 300, 10); /* three chunks of rows, two blocks of columns */
        batch_norm(cooperative, 40, 35);
        batch_norm(cooperative, 5000, 3); /* more rows than the threads of a block keep */
    }
}

/* ---- images, unfold, convolution, loss and Adam ---- */

static void batches(void **state)
{
    (void)state;
    enum { IMAGES_HERE = 3, PIXELS = SIDE * SIDE * 3, CROP = 8 };
    static uint8_t pixels[IMAGES_HERE * PIXELS], labels[IMAGES_HERE];
    const Sampler sample = {.end = IMAGES_HERE,
                            .batch = IMAGES_HERE,
                            .batch_size = IMAGES_HERE,
                            .shuffle = true,
                            .augment = AUGMENT_IMAGE,
                            .colour = true,
                            .slack_y = SIDE - CROP,
                            .slack_x = SIDE - CROP};
    const CropShape crop = {IMAGES_HERE, 3, SIDE, SIDE, CROP, CROP};
    StepState step_state = step_state_of(1);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)noise((uint32_t)i);
    cuda_host_reset();
    open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
    uint32_t *indices = bytes_on_gpu(&(uint32_t[IMAGES_HERE]){0}, IMAGES_HERE * sizeof *indices);
    Augmentation *augmentations =
        bytes_on_gpu(&(Augmentation[IMAGES_HERE]){{0}}, IMAGES_HERE * sizeof *augmentations);
    const StepState *device_step_state = bytes_on_gpu(&step_state, sizeof step_state);
    gpu.ops->sample(gpu.backend, &sample, device_step_state, indices, augmentations);
    gpu.ops->augment(gpu.backend, &crop, bytes_on_gpu(pixels, sizeof pixels),
                     bytes_on_gpu(labels, sizeof labels), indices, augmentations,
                     floats_on_gpu(IMAGES_HERE * CROP * CROP * 3),
                     bytes_on_gpu(labels, sizeof labels));
    close_gpu();
}

static void unfold(const UnfoldShape *s)
{
    size_t rows = unfold_rows(s), elements = rows * unfold_features(s);
    size_t in_elements = (size_t)s->batch * (size_t)(s->height * s->width * s->channels);
    float *in = floats_on_gpu(in_elements), *x = floats_on_gpu(elements);
    float *scale = floats_on_gpu(rows), *dx = floats_on_gpu(elements);
    gpu.ops->unfold_forward(gpu.backend, s, in, x, scale);
    gpu.ops->unfold_backward(gpu.backend, s, in, x, scale, dx, floats_on_gpu(in_elements));
}

/* One warp and one block per row; pixels in one window and in several. */
static void unfolds(void **state)
{
    (void)state;
    static const UnfoldShape shapes[] = {
        {2, 4, 4, 3, 2, 2, 2, 2},
        {2, 4, 4, 100, 2, 2, 2, 2},
        {2, 5, 5, 3, 3, 1, 3, 3},
        {2, 5, 5, 130, 3, 1, 3, 3},
    };
    cuda_host_reset();
    open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
    for (size_t i = 0; i < COUNT(shapes); i++)
        unfold(&shapes[i]);
    close_gpu();
}

static void elements_and_convolutions(void **state)
{
    (void)state;
    const ConvolutionShape s = {.rows = 150, .in = 6, .out = 35};
    size_t in_count = s.rows * (size_t)s.in, out_count = s.rows * (size_t)s.out;
    size_t weight_count = (size_t)(s.in * s.out);
    cuda_host_reset();
    open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
    float *in = floats_on_gpu(in_count), *out = floats_on_gpu(out_count);
    float *weight = floats_on_gpu(weight_count), *bias = floats_on_gpu((size_t)s.out);
    gpu.ops->convolution_forward(gpu.backend, &s, in, weight, bias, out);
    gpu.ops->convolution_backward(gpu.backend, &s, in, weight, out, floats_on_gpu(in_count),
                                  floats_on_gpu(weight_count), bias);
    gpu.ops->relu_forward(gpu.backend, in_count, in, out);
    gpu.ops->relu_backward(gpu.backend, in_count, in, out, out);
    close_gpu();
}

static void losses_and_adam(void **state)
{
    (void)state;
    enum { MANY = 300, SEGMENTS = 2, ELEMENTS = 9000 };
    static const uint8_t labels[MANY];
    const AdamSegment segments[SEGMENTS] = {{0, ELEMENTS, 0}, {ELEMENTS, 100, 1}};
    StepState step_state = step_state_of(1);
    Totals totals = {0};
    cuda_host_reset();
    open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
    StepState *device_step_state = bytes_on_gpu(&step_state, sizeof step_state);
    Totals *device_totals = bytes_on_gpu(&totals, sizeof totals);
    float *logits = floats_on_gpu(MANY * CLASSES), *probabilities = floats_on_gpu(MANY * CLASSES);
    const uint8_t *device_labels = bytes_on_gpu(labels, sizeof labels);
    gpu.ops->softmax(gpu.backend, MANY, CLASSES, logits, probabilities);
    for (int kind = LOSS_SBS; kind <= LOSS_CROSS_ENTROPY; kind++) {
        LossParams shape = {MANY, CLASSES, (LossKind)kind, 0.5, 0.5};
        gpu.ops->loss(gpu.backend, &shape, probabilities, device_labels, device_step_state,
                      device_totals, logits);
    }
    float *values = floats_on_gpu(4 * (ELEMENTS + 100));
    gpu.ops->adam(gpu.backend, segments, SEGMENTS, device_step_state, values,
                  values + ELEMENTS + 100, values + 2 * (ELEMENTS + 100),
                  values + 3 * (ELEMENTS + 100));
    gpu.ops->advance(gpu.backend, device_step_state);
    close_gpu();
}

/* ---- streams ---- */

/* The host may reuse its memory as soon as upload and download have returned, even pinned memory,
 * which the GPU copies asynchronously. */
static void uploads_and_downloads(void **state)
{
    (void)state;
    enum { FLOATS_SENT = 100 };
    void *host;
    Error error = {0};
    cuda_host_reset();
    open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
    Transfer *transfer = gpu.ops->open_transfer(gpu.backend, FLOATS_SENT * sizeof(float),
                                                "a transfer", &host, &error);
    must(transfer != NULL, &error);
    float *values = host, *there = floats_on_gpu(FLOATS_SENT);
    for (int i = 0; i < 3; i++) {
        values[7] = (float)i;
        gpu.ops->upload(gpu.backend, there, host, FLOATS_SENT * sizeof(float));
        values[7] = -1.0f;
        gpu.ops->download(gpu.backend, host, there, FLOATS_SENT * sizeof(float));
        assert_true(values[7] == (float)i);
    }
    gpu.ops->close_transfer(gpu.backend, transfer);
    close_gpu();
}

/* Closes transfers with copies in flight, and after the host has waited for all operations. */
static void transfers_are_closed(void **state)
{
    (void)state;
    enum { FLOATS_SENT = 100 };
    for (int waited = 0; waited < 2; waited++) {
        void *host;
        Error error = {0};
        cuda_host_reset();
        open_gpu(NNMF_KERNEL_FUSED, PRECISION_FP32);
        float *there = floats_on_gpu(FLOATS_SENT);
        Transfer *transfer = gpu.ops->open_transfer(gpu.backend, FLOATS_SENT * sizeof(float),
                                                    "a transfer", &host, &error);
        must(transfer != NULL, &error);
        gpu.ops->fetch(gpu.backend, transfer, 0, there, FLOATS_SENT * sizeof(float));
        if (waited) {
            must(gpu.ops->finish(gpu.backend, &error), &error);
            assert_true(*(const float *)host > 0.0f);
        }
        gpu.ops->close_transfer(gpu.backend, transfer);
        close_gpu();
    }
}

static bool claim_arrival(Backend *backend, Transfer *transfer, bool *yes, Error *error)
{
    (void)backend, (void)transfer, (void)error;
    return *yes = true;
}

enum { FEW_BATCH = 2, FEW_IMAGES = 16, FEW_EPOCHS = 2 };

/* Two epochs of steps that are recorded and replayed, with read-backs; and a test. */
static void train(bool waits)
{
    Network network;
    Model model;
    Batches b;
    Device device;
    Steps steps;
    Error error = {0};
    float probabilities[FEW_IMAGES * CLASSES];
    Evaluation result = {.probabilities = probabilities};
    NetworkOptions options = network_default_options;
    options.iterations = 1;
    build_small(&options, &network);
    cuda_host_reset();
    open_cuda(NNMF_KERNEL_CUBLAS, PRECISION_FP32, &device);
    Operations table = *device.operations;
    if (!waits)
        table.arrived = claim_arrival;
    device.operations = &table;
    must(model_create(&network, &device, FEW_BATCH, 1, &model, &error), &error);
    must(load_small(&device, FEW_IMAGES, 0, FEW_IMAGES, network.input, FEW_BATCH, 1, &b, &error),
         &error);
    must(steps_create(&model, &b, STEP_TRAIN, &steps, &error), &error);
    must(steps_warm_up(&steps, &error), &error);
    must(model_initialise(&model, 3, &error), &error);
    for (uint32_t epoch = 0; epoch < FEW_EPOCHS; epoch++) {
        StepState step_state = {.epoch = epoch, .learning_rates = {1e-3, 1e-2, 1e-3}};
        steps_reset(&steps, &step_state, &(Totals){0});
        while (!steps_ended(&steps))
            must(step_run(&steps, &error), &error);
        must(steps_read(&steps, NULL, NULL, &error), &error);
    }
    steps_destroy(&steps);
    must(steps_create(&model, &b, STEP_TEST, &steps, &error), &error);
    must(evaluate(&steps, (Watch){0}, &result, &error), &error);
    steps_destroy(&steps);
    batches_destroy(&b);
    model_destroy(&model);
    device_close(&device);
    assert_nothing_left();
}

static void training(void **state)
{
    (void)state;
    train(true);
}

/* Checks that the accesses of src/training are seen: training that does not wait for its copies is
 * aborted. */
static void training_that_does_not_wait(void **state)
{
    (void)state;
    static char output[1 << 16];
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fileno(file), STDERR_FILENO);
        train(false);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    rewind(file);
    output[fread(output, 1, sizeof output - 1, file)] = '\0';
    fclose(file);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(output, "cuda_host: a race: "));
    assert_non_null(strstr(output, " of pinned memory\n"));
    assert_non_null(strstr(output, "    the host reads it\n        take_arrived at readback.c:"));
}

/* ---- all of them ---- */

/* Start of the program in memory, defined by the linker. */
extern const char __executable_start[];

/* Returns whether a symbol printed by nm is a kernel or an instance of a kernel template. */
static bool is_kernel(const char *name)
{
    const char *end = strstr(name, "_kernel");
    return end && (end[7] == '(' || end[7] == '<') && !strstr(name, "cuda_host::") &&
           !strstr(name, "lambda") && !strstr(name, "[clone") && !strstr(name, ")::");
}

static FILE *list_symbols(void)
{
    char command[64];
    snprintf(command, sizeof command, "nm --demangle /proc/%ld/exe", (long)getpid());
    FILE *symbols = popen(command, "r");
    assert_non_null(symbols);
    return symbols;
}

/* Reads the next symbol; false at the end. */
static bool next_symbol(FILE *symbols, uintptr_t *address, char *name, size_t capacity)
{
    char line[2048], kind;
    while (fgets(line, sizeof line, symbols)) {
        int from = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%" SCNxPTR " %c %n", address, &kind, &from) < 2 || !from)
            continue;
        snprintf(name, capacity, "%s", line + from);
        return true;
    }
    return false;
}

/* The program contains every instance of every kernel that can be launched, and no other. */
static void every_kernel_has_run(void **state)
{
    (void)state;
    char name[2048];
    uintptr_t address, begin = 0;
    int kernel_count = 0, missing = 0;
    FILE *symbols = list_symbols();
    while (next_symbol(symbols, &address, name, sizeof name))
        if (strcmp(name, "__executable_start") == 0)
            begin = (uintptr_t)__executable_start - address; /* not 0 if position-independent */
    assert_int_equal(pclose(symbols), 0);
    symbols = list_symbols();
    while (next_symbol(symbols, &address, name, sizeof name)) {
        if (!is_kernel(name))
            continue;
        kernel_count++;
        if (!cuda_host_launched((const void *)(begin + address))) {
            fprintf(stderr, "has not run: %s\n", name);
            missing++;
        }
    }
    assert_int_equal(pclose(symbols), 0);
    assert_true(kernel_count > 0);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_forward),
        cmocka_unit_test(tensor_forward),
        cmocka_unit_test(cublas_forward),
        cmocka_unit_test(both_backward),
        cmocka_unit_test(weights),
        cmocka_unit_test(batch_norms),
        cmocka_unit_test(batches),
        cmocka_unit_test(unfolds),
        cmocka_unit_test(elements_and_convolutions),
        cmocka_unit_test(losses_and_adam),
        cmocka_unit_test(uploads_and_downloads),
        cmocka_unit_test(transfers_are_closed),
        cmocka_unit_test(training),
        cmocka_unit_test(training_that_does_not_wait),
        cmocka_unit_test(every_kernel_has_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
