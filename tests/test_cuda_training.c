/* Whole trainings on the CUDA back end: its steps recorded and replayed against the CPU's, and bit
 * for bit with itself. Needs the emulation (cuda_host/), which can shuffle the order of threads. */
#include "small_training.h"

#include "nnmf/philox.h"
#include "training/evaluation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 40 };

/* ---- training a small network ---- */

typedef struct Plan {
    NetworkOptions options;
    AugmentKind augment;
    bool shuffle;
    int steps;
} Plan;

/* Without padding, so that two can be compared as bytes. */
typedef struct StepOutcome {
    double loss;
    uint64_t correct;
    uint32_t indices[BATCH];
    Augmentation augmentations[BATCH];
} StepOutcome;

typedef struct Outcome {
    StepOutcome steps[STEPS];
    uint64_t correct; /* in a test afterwards */
    float probabilities[(END - FIRST) * CLASSES];
    float parameters[FLOATS];
} Outcome;

static Plan usual_plan(int steps)
{
    Plan plan = {.options = network_default_options,
                 .augment = AUGMENT_IMAGE,
                 .shuffle = true,
                 .steps = steps};
    plan.options.iterations = 5; /* for speed */
    return plan;
}

/* Makes the step and fetches what it did. */
static void make_step(Steps *steps, int number, StepOutcome *o)
{
    Batches *b = steps->batches;
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    Error error = {0};
    Totals totals;
    StepState start = step_state_of(number), step_state;
    uint32_t step = (uint32_t)number % STEPS_AN_EPOCH;
    if (step == 0)
        batches_rewind(b, &start, &(Totals){0});
    must(steps_make(steps, step, &error), &error);
    ops->download(backend, o->indices, b->indices, sizeof o->indices);
    ops->download(backend, o->augmentations, b->augmentations, sizeof o->augmentations);
    must(batches_read(b, &step_state, &totals, &error), &error);
    assert_int_equal(step_state.step, step + 1);
    assert_int_equal(step_state.updates, number + 1);
    assert_int_equal(totals.first_nonfinite_step, 0);
    o->loss = totals.batch_loss;
    o->correct = totals.batch_correct;
}

static void train(const Device *device, const Plan *plan, Outcome *o)
{
    Network network;
    Model model;
    Batches batches;
    Error error = {0};
    memset(o, 0, sizeof *o);
    build_small(&plan->options, &network);
    must(model_create(&network, device, BATCH, 1, &model, &error), &error);
    must(load_small(device, IMAGES, FIRST, END, network.input, BATCH, 1, &batches, &error), &error);
    assert_int_equal(batches.steps, STEPS_AN_EPOCH);
    must(model_initialise(&model, 3, &error), &error);
    batches.sample.shuffle = plan->shuffle;
    batches.sample.augment = plan->augment;
    batches.sample.seed = 77;
    Steps steps = {.model = &model, .batches = &batches, .training = true};
    for (int i = 0; i < plan->steps; i++)
        make_step(&steps, i, &o->steps[i]);

    /* Each size of batch a second time is recorded, and from then on replayed. */
    bool can_record = device->operations->record != NULL;
    assert_int_equal(steps.recordings[1] != NULL, can_record && plan->steps >= 2);
    assert_int_equal(steps.recordings[0] != NULL, can_record && plan->steps >= 2 * STEPS_AN_EPOCH);
    assert_int_equal(cuda_host_cold_graph_launches(), 0);
    steps_forget(&steps);

    bool stopped;
    Steps tests = {.model = &model, .batches = &batches};
    batches.sample.augment = AUGMENT_NONE;
    for (int i = 0; i < 3; i++)
        must(evaluate(&tests, &o->correct, o->probabilities, NULL, NULL, &stopped, &error), &error);
    steps_forget(&tests);
    must(model_read(&model, model.parameters, o->parameters, &error), &error);
    batches_destroy(&batches);
    model_destroy(&model);
}

static void train_on_cuda(NnmfKernel kernel, const Plan *plan, Outcome *o)
{
    Device device;
    open_cuda(kernel, PRECISION_FP32, &device);
    train(&device, plan, o);
    device_close(&device);
    assert_nothing_left();
}

static void open_cpu(Device *device)
{
    Error error = {0};
    must(device_open(device, &(DeviceOptions){.kind = DEVICE_CPU, .cpu.threads = 1}, &error),
         &error);
}

static void train_on_cpu(const Plan *plan, Outcome *o)
{
    Device device;
    open_cpu(&device);
    train(&device, plan, o);
    device_close(&device);
}

/* ---- as on the CPU ---- */

static void assert_same_images(const Outcome *a, const Outcome *b)
{
    for (int i = 0; i < STEPS; i++) {
        assert_memory_equal(a->steps[i].indices, b->steps[i].indices, sizeof a->steps[i].indices);
        assert_memory_equal(a->steps[i].augmentations, b->steps[i].augmentations,
                            sizeof a->steps[i].augmentations);
    }
}

static double loss_distance(const Outcome *a, const Outcome *b, int step)
{
    return fabs(a->steps[step].loss / b->steps[step].loss - 1.0);
}

static double relative_distance(const float *a, const float *b, size_t count)
{
    double sum = 0.0, size = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(sum / fmax(size, 1e-30));
}

/* Of the weights of NNMF layers. Biases in front of a batch norm have gradients that are zero but
 * for rounding, of which Adam makes steps of full size: they differ, and do not matter. */
static double weight_distance(const Network *network, const Outcome *a, const Outcome *b)
{
    double worst = 0.0;
    for (int i = 0; i < network->parameter_count; i++) {
        const Parameter *p = &network->parameters[i];
        if (p->group == GROUP_NNMF)
            worst = fmax(worst, relative_distance(a->parameters + p->offset,
                                                  b->parameters + p->offset, p->elements));
    }
    return worst;
}

static void assert_within(const char *which, const char *what, int step, double off, double bound)
{
    if (getenv("NNMF_TEST_VERBOSE"))
        printf("%s: %s %d: %.1e of %.1e\n", which, what, step, off, bound);
    if (!(off <= bound))
        fail_msg("%s: %s %d off by %.2g, allowed %.2g", which, what, step, off, bound);
}

/* Sums in another order are off by some 1e-7, and training does not amplify that here: from initial
 * parameters that are 1e-6 off, the CPU's own losses stay within 6e-7 for 40 steps. */
static void check_trajectory(const char *which, NnmfKernel kernel, const Plan *plan,
                             const Outcome *cpu)
{
    const double loss_bound = 3e-6, weight_bound = 1e-5;
    static Outcome cuda;
    Network network;
    build_small(&plan->options, &network);
    train_on_cuda(kernel, plan, &cuda);
    assert_same_images(&cuda, cpu);
    for (int i = 0; i < plan->steps; i++)
        assert_within(which, "loss of step", i, loss_distance(&cuda, cpu, i), loss_bound);
    assert_within(which, "weights after step", plan->steps, weight_distance(&network, &cuda, cpu),
                  weight_bound);
    assert_within(
        which, "probabilities after step", plan->steps,
        relative_distance(cuda.probabilities, cpu->probabilities, COUNT(cpu->probabilities)),
        weight_bound);
}

static void check_both_kernels(const char *which, const Plan *plan)
{
    static Outcome cpu;
    char name[64];
    train_on_cpu(plan, &cpu);
    for (size_t k = 0; k < COUNT(kernels); k++) {
        snprintf(name, sizeof name, "%s, %s", which, nnmf_kernel_names[k]);
        check_trajectory(name, kernels[k], plan, &cpu);
    }
}

static void forty_steps(void **state)
{
    (void)state;
    Plan plan = usual_plan(STEPS);
    plan.options.iterations = network_default_options.iterations;
    check_both_kernels("a draw for each image", &plan);
    plan = usual_plan(STEPS);
    plan.augment = AUGMENT_REFERENCE;
    check_both_kernels("a draw for the batch", &plan);
}

static void without_shuffling(void **state)
{
    (void)state;
    Plan plan = usual_plan(2);
    plan.shuffle = false;
    plan.augment = AUGMENT_NONE;
    check_both_kernels("in order", &plan);
}

static void every_variant(void **state)
{
    (void)state;
    static const char *const functions[] = {"abs", "exp", "tanh", "identity"};
    static const char *const learning[] = {"none", "kl", "mse"};
    enum { SOME = 2 * STEPS_AN_EPOCH };
    Plan plan = usual_plan(SOME);
    plan.options.iterations = 3;
    plan.options.epsilon = 0.5;
    check_both_kernels("epsilon", &plan);
    for (int i = POSITIVE_EXP; i <= POSITIVE_IDENTITY; i++) {
        plan = usual_plan(SOME);
        plan.options.positive_function = (PositiveFunction)i;
        check_both_kernels(functions[i], &plan);
    }
    for (int i = LOCAL_KL; i <= LOCAL_MSE; i++) {
        plan = usual_plan(SOME);
        plan.options.local_learning = (LocalLearning)i;
        check_both_kernels(learning[i], &plan);
    }
    plan = usual_plan(SOME);
    plan.options.loss = LOSS_CROSS_ENTROPY;
    check_both_kernels("cross entropy", &plan);
}

/* dimages (BATCH, 8, 8, 3) of a batch of noise. */
static void image_gradient(Device *device, const NetworkOptions *options, float *dimages)
{
    Network network;
    Model model;
    Error error = {0};
    build_small(options, &network);
    must(model_create(&network, device, BATCH, 1, &model, &error), &error);
    must(model_initialise(&model, 3, &error), &error);
    const Operations *ops = device->operations;
    size_t count = BATCH * extent_elements(network.input), bytes = count * sizeof *dimages;
    for (size_t i = 0; i < count; i++)
        dimages[i] = philox_uniform(noise((uint32_t)i));
    const uint8_t labels[BATCH] = {3, 0, 9, 3, 5};
    float *gradient = ops->allocate(device->backend, bytes, "gradients", &error);
    StepState *step_state =
        ops->allocate(device->backend, sizeof *step_state, "step_state", &error);
    Totals *totals = ops->allocate(device->backend, sizeof *totals, "totals", &error);
    assert_true(gradient && step_state && totals);
    ops->upload(device->backend, model.images, dimages, bytes);
    ops->upload(device->backend, model.labels, labels, sizeof labels);
    model_forward(&model, BATCH);
    model_backward_to_images(&model, BATCH, step_state, totals, gradient);
    ops->download(device->backend, dimages, gradient, bytes);
    must(ops->finish(device->backend, &error), &error);
    ops->release(device->backend, gradient);
    ops->release(device->backend, step_state);
    ops->release(device->backend, totals);
    model_destroy(&model);
}

/* What the sign attack follows. */
static void gradient_of_images(void **state)
{
    (void)state;
    enum { ELEMENTS = BATCH * 8 * 8 * 3 };
    static float cpu[ELEMENTS], cuda[ELEMENTS];
    NetworkOptions options = usual_plan(0).options;
    for (int arch = ARCHITECTURE_NNMF; arch <= ARCHITECTURE_CNN; arch++) {
        Device device;
        options.architecture = (Architecture)arch;
        open_cpu(&device);
        image_gradient(&device, &options, cpu);
        device_close(&device);
        open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
        image_gradient(&device, &options, cuda);
        device_close(&device);
        int moved = 0;
        for (int i = 0; i < ELEMENTS; i++)
            moved += cpu[i] != 0.0f;
        assert_true(moved > ELEMENTS / 2);
        assert_within("image", "gradient", arch, relative_distance(cuda, cpu, ELEMENTS), 1e-4);
    }
    assert_nothing_left();
}

/* Factors of 10 bits: near, and not the same. */
static void tf32(void **state)
{
    (void)state;
    static Outcome cpu, cuda;
    Plan plan = usual_plan(3);
    Device device;
    train_on_cpu(&plan, &cpu);
    open_cuda(NNMF_KERNEL_CUBLAS, PRECISION_TF32, &device);
    assert_non_null(strstr(device.description, "tf32"));
    train(&device, &plan, &cuda);
    device_close(&device);
    assert_same_images(&cuda, &cpu);
    for (int i = 0; i < plan.steps; i++)
        assert_within("tf32", "loss of step", i, loss_distance(&cuda, &cpu, i), 5e-3);
    assert_true(loss_distance(&cuda, &cpu, 0) > 1e-6);
    assert_nothing_left();
}

/* ---- bit for bit ---- */

static void same_bits(void **state)
{
    (void)state;
    enum { SEEDS = 4 };
    static Outcome first, again;
    Plan plan = usual_plan(2 * STEPS_AN_EPOCH + 2);
    for (size_t k = 0; k < COUNT(kernels); k++) {
        cuda_host_set_seed(0);
        train_on_cuda(kernels[k], &plan, &first);
        /* The same order again, then other orders of blocks, threads and lanes. */
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            cuda_host_set_seed(seed);
            train_on_cuda(kernels[k], &plan, &again);
            if (memcmp(&first, &again, sizeof first) != 0)
                fail_msg("%s: another result with seed %d", nnmf_kernel_names[k], (int)seed);
        }
    }
}

/* ---- shared memory ---- */

enum { LEAST_SHARED = 48 << 10, USUAL_SHARED = 99 << 10, MOST_SHARED = 227 << 10 };

/* h of NNMF; x and w from noise, x from its row `first_row` on. */
static void nnmf_from(NnmfKernel kernel, Precision precision, const NnmfParams *shape,
                      size_t first_row, float *h)
{
    enum { W_BEGINS = 1 << 24 };
    Device device;
    Error error = {0};
    size_t x_count = shape->rows * (size_t)shape->features;
    size_t w_count = (size_t)shape->outputs * (size_t)shape->features;
    size_t h_count = shape->rows * (size_t)shape->outputs;
    open_cuda(kernel, precision, &device);
    const Operations *ops = device.operations;
    float *host = malloc((x_count + w_count) * sizeof *host);
    assert_non_null(host);
    for (size_t i = 0; i < x_count + w_count; i++) {
        size_t number =
            i < x_count ? first_row * (size_t)shape->features + i : W_BEGINS + i - x_count;
        host[i] = philox_uniform(noise((uint32_t)number)) / (float)shape->features;
    }
    float *x = ops->allocate(device.backend, x_count * sizeof *x, "x", &error);
    float *w = ops->allocate(device.backend, w_count * sizeof *w, "w", &error);
    float *out = ops->allocate(device.backend, h_count * sizeof *out, "h", &error);
    assert_true(x && w && out);
    ops->upload(device.backend, x, host, x_count * sizeof *x);
    ops->upload(device.backend, w, host + x_count, w_count * sizeof *w);
    ops->nnmf_forward(device.backend, shape, x, w, out);
    ops->download(device.backend, h, out, h_count * sizeof *h);
    must(ops->finish(device.backend, &error), &error);
    ops->release(device.backend, x);
    ops->release(device.backend, w);
    ops->release(device.backend, out);
    free(host);
    device_close(&device);
    assert_nothing_left();
}

/* The same by a fused kernel with so much shared memory. */
static void nnmf(size_t shared, Precision precision, const NnmfParams *shape, float *h)
{
    cuda_host_set_shared_optin(shared);
    nnmf_from(NNMF_KERNEL_FUSED, precision, shape, 0, h);
}

/* Whether all of w is in shared memory or a block of it at a time: the same sums in the same
 * order, where the same number of groups of threads share the rows; with more shared memory more do
 * for many outputs. Where not even a block fits, cuBLAS does it. */
static void shared_memory_of_nnmf(void **state)
{
    (void)state;
    static const NnmfParams shapes[] = {
        {.rows = 37, .features = 75, .outputs = 32, .iterations = 3},
        {.rows = 9, .features = 96, .outputs = 10, .iterations = 3},
        {.rows = 33, .features = 400, .outputs = 64, .iterations = 3}, /* all of w: 138 KB */
        {.rows = 17, .features = 300, .outputs = 96, .iterations = 3}, /* 164 KB, a block 52 KB */
        {.rows = 5, .features = 1024, .outputs = 96, .iterations = 2},
        {.rows = 17, .features = 300, .outputs = 128, .iterations = 3}, /* all of w: 198 KB */
        {.rows = 5, .features = 40, .outputs = 129, .iterations = 2}, /* not of the fused kernels */
    };
    static float usual[64 * 128], other[64 * 128];
    for (size_t i = 0; i < COUNT(shapes); i++) {
        size_t count = shapes[i].rows * (size_t)shapes[i].outputs;
        assert_true(count <= COUNT(usual));
        nnmf(USUAL_SHARED, PRECISION_FP32, &shapes[i], usual);
        nnmf(MOST_SHARED, PRECISION_FP32, &shapes[i], other);
        if (shapes[i].outputs <= 32 || shapes[i].outputs > 128)
            assert_memory_equal(usual, other, count * sizeof *usual);
        assert_within("227 KB", "h of shape", (int)i, relative_distance(other, usual, count), 1e-6);
        nnmf(LEAST_SHARED, PRECISION_FP32, &shapes[i], other);
        assert_within("48 KB", "h of shape", (int)i, relative_distance(other, usual, count), 1e-6);
        /* On tensor cores the warps' shares do not depend on it. */
        nnmf(USUAL_SHARED, PRECISION_3XTF32, &shapes[i], other);
        assert_within("3xTF32", "h of shape", (int)i, relative_distance(other, usual, count), 2e-6);
        nnmf(MOST_SHARED, PRECISION_3XTF32, &shapes[i], usual);
        if (shapes[i].outputs <= 128)
            assert_memory_equal(usual, other, count * sizeof *usual);
    }
}

static void shared_memory_of_training(void **state)
{
    (void)state;
    static const size_t sizes[] = {LEAST_SHARED, MOST_SHARED};
    static Outcome usual, other;
    Plan plan = usual_plan(3);
    train_on_cuda(NNMF_KERNEL_FUSED, &plan, &usual);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        cuda_host_set_shared_optin(sizes[i]);
        train_on_cuda(NNMF_KERNEL_FUSED, &plan, &other);
        assert_memory_equal(&usual, &other, sizeof usual);
    }
}

/* Steps are recorded, those of the full batches and that of the smaller last one, in which one
 * kernel serves two layers that need more shared memory and less: no launch takes from another what
 * it was recorded with. The emulation aborts where one would. */
static void shared_memory_of_recordings(void **state)
{
    (void)state;
    static const Block blocks[] = {{32, 5, 1, false}, {32, 1, 1, false}, {10, 0, 1, true}};
    Network network;
    Device device;
    Model model;
    Batches batches;
    Error error = {0};
    NetworkOptions options = network_default_options;
    options.iterations = 2;
    must(network_build((Extent){8, 8, 3}, blocks, (int)COUNT(blocks), &options, &network, &error),
         &error);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    must(model_create(&network, &device, BATCH, 1, &model, &error), &error);
    must(model_initialise(&model, 3, &error), &error);
    must(load_small(&device, IMAGES, FIRST, END, network.input, BATCH, 1, &batches, &error),
         &error);
    Steps steps = {.model = &model, .batches = &batches, .training = true};
    for (int epoch = 0; epoch < 2; epoch++) {
        StepState step_state = step_state_of(epoch * STEPS_AN_EPOCH);
        Totals totals;
        batches_rewind(&batches, &step_state, &(Totals){0});
        for (uint32_t i = 0; i < STEPS_AN_EPOCH; i++)
            must(steps_make(&steps, i, &error), &error);
        must(batches_read(&batches, NULL, &totals, &error), &error);
        assert_true(isfinite(totals.loss) && totals.first_nonfinite_step == 0);
    }
    steps_forget(&steps);
    batches_destroy(&batches);
    model_destroy(&model);
    device_close(&device);
    assert_nothing_left();
}

/* dx and dw of NNMF, one behind the other; x, h, dh and w from noise. x and dx lie `shift` floats
 * behind where memory begins. */
static void nnmf_backward(const NnmfParams *shape, size_t shift, float *gradients)
{
    Device device;
    Error error = {0};
    size_t x = shape->rows * (size_t)shape->features, h = shape->rows * (size_t)shape->outputs;
    size_t w = (size_t)shape->outputs * (size_t)shape->features, inputs = x + w + 2 * h;
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    const Operations *ops = device.operations;
    float *host = malloc(inputs * sizeof *host);
    assert_non_null(host);
    for (size_t i = 0; i < inputs; i++)
        host[i] = philox_uniform(noise((uint32_t)i));
    float *in = ops->allocate(device.backend, (inputs - x) * sizeof *in, "inputs", &error);
    float *of_x = ops->allocate(device.backend, (x + shift) * sizeof *of_x, "x", &error);
    float *dx = ops->allocate(device.backend, (x + shift) * sizeof *dx, "dx", &error);
    float *dw = ops->allocate(device.backend, w * sizeof *dw, "dw", &error);
    assert_true(in && of_x && dx && dw);
    ops->upload(device.backend, of_x + shift, host, x * sizeof *host);
    ops->upload(device.backend, in, host + x, (inputs - x) * sizeof *host);
    ops->nnmf_backward(device.backend, shape, of_x + shift, in + 2 * h, in, in + h, dx + shift, dw);
    ops->download(device.backend, gradients, dx + shift, x * sizeof *gradients);
    ops->download(device.backend, gradients + x, dw, w * sizeof *gradients);
    must(ops->finish(device.backend, &error), &error);
    ops->release(device.backend, in);
    ops->release(device.backend, of_x);
    ops->release(device.backend, dx);
    ops->release(device.backend, dw);
    free(host);
    device_close(&device);
    assert_nothing_left();
}

/* Four features are read and written at once where they lie so, and one by one to the same bits
 * where they do not; in any order of blocks and threads. */
static void backward_of_nnmf(void **state)
{
    (void)state;
    static const NnmfParams shapes[] = {
        {.rows = 200, .features = 76, .outputs = 20}, /* four chunks, three panels */
        {.rows = 70, .features = 36, .outputs = 64, .local_learning = LOCAL_MSE},
        {.rows = 70, .features = 36, .outputs = 96},
        {.rows = 70, .features = 36, .outputs = 124},
    };
    static float expected[200 * 200], gradients[200 * 200];
    for (size_t i = 0; i < COUNT(shapes); i++) {
        size_t count = (shapes[i].rows + (size_t)shapes[i].outputs) * (size_t)shapes[i].features;
        assert_true(count <= COUNT(expected));
        cuda_host_set_seed(0);
        nnmf_backward(&shapes[i], 0, expected);
        assert_int_equal(cuda_host_launches(), 2); /* one looks whether the GPU can be used */
        assert_int_equal(cuda_host_products(), 0);
        for (uint64_t seed = 0; seed < 4; seed++) {
            cuda_host_set_seed(seed);
            nnmf_backward(&shapes[i], seed % 2, gradients);
            assert_memory_equal(gradients, expected, count * sizeof *expected);
        }
        cuda_host_reset();
    }
}

/* Whatever it does, a kernel costs a GPU a microsecond or two, of the few hundred that a step may
 * take: so many are in the published network's, forward and back, ours and cuBLAS's. Where they
 * become fewer on purpose, write the new number here. */
static void kernels_of_a_step(void **state)
{
    (void)state;
    enum {
        FORWARD = 1 + 6 + 6 + 6 + 4 + 1, /* weights, unfold, NNMF, batch norm, bias, softmax */
        PACKED = 2, /* w of layers 18 and 32 for tensor cores, where it is not kept on chip */
        LOSS = 1,
        /* Bias, batch norm, NNMF, unfold with two where windows overlap (layer 14), weights. */
        BACKWARD = 4 + 6 + 6 + (4 + 2) + 1,
        NORMS = 6,            /* each way; in two kernels without cooperative launches */
        PRODUCTS_FORWARD = 4, /* convolution */
        PRODUCTS_BACKWARD = 2 * 4,
        BATCH_AND_UPDATE = 2 + 2, /* which images, and they; Adam, the step state */
        ALL = BATCH_AND_UPDATE + FORWARD + LOSS + BACKWARD + PRODUCTS_FORWARD + PRODUCTS_BACKWARD,
    };
    assert_int_equal(ALL, 64); /* as the documents say */
    Network network;
    Error error = {0};
    NetworkOptions options = network_default_options;
    options.iterations = 1;
    must(network_for_dataset(DATASET_CIFAR10, &options, &network, &error), &error);
    for (int i = 0; i < 4 * (PRECISION_TF32 + 1); i++) {
        int p = i / 4;
        bool cooperative = i / 2 % 2 == 1;
        bool clusters = i % 2 == 1, packs = p != PRECISION_FP32 && !clusters;
        Device device;
        Model model;
        cuda_host_set_capability(clusters ? 9 : 8, clusters ? 0 : 9);
        cuda_host_set_shared_optin(clusters ? MOST_SHARED : USUAL_SHARED);
        cuda_host_set_cooperative(cooperative);
        open_cuda(NNMF_KERNEL_FUSED, (Precision)p, &device);
        must(model_create(&network, &device, 1, 1, &model, &error), &error);
        for (int training = 0; training <= 1; training++) {
            unsigned long launches = cuda_host_launches(), products = cuda_host_products();
            unsigned long together = cuda_host_cooperative_launches();
            int norms = training ? 2 * NORMS : NORMS;
            must(steps_rehearse(&model, training, &error), &error);
            assert_int_equal(cuda_host_launches() - launches,
                             FORWARD + LOSS + (packs ? PACKED : 0) + (training ? BACKWARD : 0) +
                                 (cooperative ? 0 : norms));
            assert_int_equal(cuda_host_cooperative_launches() - together, cooperative ? norms : 0);
            assert_int_equal(cuda_host_products() - products,
                             PRODUCTS_FORWARD + (training ? PRODUCTS_BACKWARD : 0));
        }
        /* All of a training step. */
        Batches batches;
        StepState step_state = step_state_of(0);
        must(load_small(&device, 1, 0, 1, network.input, 1, 1, &batches, &error), &error);
        batches_rewind(&batches, &step_state, &(Totals){0});
        Steps steps = {.model = &model, .batches = &batches, .training = true};
        unsigned long before = cuda_host_launches() + cuda_host_products();
        must(steps_make(&steps, 0, &error), &error);
        must(batches_read(&batches, NULL, NULL, &error), &error);
        assert_int_equal(cuda_host_launches() + cuda_host_products() - before,
                         ALL + (packs ? PACKED : 0) + (cooperative ? 0 : 2 * NORMS));
        steps_forget(&steps);
        batches_destroy(&batches);
        model_destroy(&model);
        device_close(&device);
        assert_nothing_left();
    }
}

/* Where batch norms take two kernels each way. */
static void without_cooperative_launches(void **state)
{
    (void)state;
    Plan plan = usual_plan(2 * STEPS_AN_EPOCH);
    cuda_host_set_cooperative(false);
    check_both_kernels("two kernels", &plan);
    assert_int_equal(cuda_host_cooperative_launches(), 0);
}

enum { NORM_ROWS = 1000, NORM_CHANNELS = 21, NORM_FLOATS = NORM_ROWS * NORM_CHANNELS };

typedef struct Norm {
    float out[NORM_FLOATS], din[NORM_FLOATS];
    float mean[NORM_CHANNELS], rstd[NORM_CHANNELS];
    float dweight[NORM_CHANNELS], dbias[NORM_CHANNELS];
} Norm;

/* Element i of what is normalised. */
static float norm_element(size_t i, float offset)
{
    return offset + philox_uniform(noise((uint32_t)i));
}

/* A batch norm of noise both ways, twice: the barrier is used again. */
static void norm(float offset, Norm *n)
{
    enum { C = NORM_CHANNELS, BOTH = 2 };
    Device device;
    Error error = {0};
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    const Operations *ops = device.operations;
    Backend *backend = device.backend;
    static float host[BOTH * NORM_FLOATS];
    for (size_t i = 0; i < COUNT(host); i++)
        host[i] = norm_element(i, i < NORM_FLOATS ? offset : 0.0f);
    float *in = ops->allocate(backend, sizeof host, "inputs", &error);
    float *results = ops->allocate(backend, sizeof *n, "results", &error);
    assert_true(in && results);
    float *out = results, *din = out + NORM_FLOATS, *mean = din + NORM_FLOATS;
    ops->upload(backend, in, host, sizeof host);
    for (int i = 0; i < BOTH; i++) {
        ops->batchnorm_forward(backend, NORM_ROWS, C, 1, in, in, in + C, out, mean, mean + C);
        ops->batchnorm_backward(backend, NORM_ROWS, C, in, in, mean, mean + C, in + NORM_FLOATS,
                                din, mean + 2 * C, mean + 3 * C);
    }
    ops->download(backend, n, results, sizeof *n);
    must(ops->finish(backend, &error), &error);
    ops->release(backend, in);
    ops->release(backend, results);
    device_close(&device);
    assert_nothing_left();
}

/* Several chunks of rows and blocks of columns in one kernel: the same bits in any order of blocks
 * and threads, and those of two kernels but for the order of the sums. */
static void batch_norm_in_one(void **state)
{
    (void)state;
    static Norm one, again, two;
    enum { FLOATS_OF_NORM = sizeof one / sizeof(float) };
    cuda_host_set_seed(0);
    norm(0.0f, &one);
    assert_int_equal(cuda_host_cooperative_launches(), 4);
    for (uint64_t seed = 0; seed < 8; seed++) {
        cuda_host_set_seed(seed);
        norm(0.0f, &again);
        assert_memory_equal(&one, &again, sizeof one);
    }
    cuda_host_set_cooperative(false);
    norm(0.0f, &two);
    assert_within("two kernels", "batch norm of rows", NORM_ROWS,
                  relative_distance((const float *)&one, (const float *)&two, FLOATS_OF_NORM),
                  1e-7);
}

/* The GPU says that all blocks fit, and then refuses them: two kernels do it, from then on. */
static void refused_cooperative_launches(void **state)
{
    (void)state;
    static Norm two, refused;
    cuda_host_set_cooperative(false);
    norm(0.0f, &two);
    cuda_host_reset();
    cuda_host_set_partition(1);
    norm(0.0f, &refused);
    assert_int_equal(cuda_host_cooperative_launches(), 0);
    assert_memory_equal(&two, &refused, sizeof two);
    Plan plan = usual_plan(2 * STEPS_AN_EPOCH);
    check_both_kernels("refused", &plan);
}

/* A thousand times the deviation from zero, where sums of floats would leave nothing of it. */
static void batch_norm_of_large_means(void **state)
{
    (void)state;
    const float offset = 1000.0f;
    static Norm n;
    for (int cooperative = 0; cooperative <= 1; cooperative++) {
        cuda_host_set_cooperative(cooperative);
        norm(offset, &n);
        for (size_t c = 0; c < NORM_CHANNELS; c++) {
            double mean = 0.0, variance = 0.0;
            for (size_t row = 0; row < NORM_ROWS; row++)
                mean += norm_element(row * NORM_CHANNELS + c, offset) / (double)NORM_ROWS;
            for (size_t row = 0; row < NORM_ROWS; row++) {
                double off = norm_element(row * NORM_CHANNELS + c, offset) - mean;
                variance += off * off / (double)NORM_ROWS;
            }
            double rstd = 1.0 / sqrt(variance + EPSILON_VARIANCE);
            assert_within("mean", "channel", (int)c, fabs(n.mean[c] / mean - 1.0), 1e-7);
            assert_within("rstd", "channel", (int)c, fabs(n.rstd[c] / rstd - 1.0), 1e-7);
        }
    }
}

enum { RATED = 300 };

/* RATED parameters after one step of Adam from m = v = 0 under `first`, and another under `second`:
 * behind the step state's own advance, or behind an upload. */
static void two_steps_of_adam(const StepState *first, const StepState *second, bool uploaded,
                              float *result)
{
    static const AdamSegment segments[] = {{0, 100, 0}, {100, 200, 1}};
    Device device;
    Error error = {0};
    float host[4 * RATED] = {0};
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    const Operations *ops = device.operations;
    for (size_t i = 0; i < RATED; i++)
        host[i] = philox_uniform(noise((uint32_t)i)) - 0.5f;
    float *all = ops->allocate(device.backend, sizeof host, "parameters", &error);
    StepState *step_state = ops->allocate(device.backend, sizeof *step_state, "step_state", &error);
    assert_true(all && step_state);
    ops->upload(device.backend, all, host, sizeof host);
    ops->upload(device.backend, step_state, first, sizeof *first);
    for (int step = 0; step < 2; step++) {
        ops->adam(device.backend, segments, (int)COUNT(segments), step_state, all, all + RATED,
                  all + 2 * RATED, all + 3 * RATED);
        if (step == 0 && !uploaded)
            ops->advance(device.backend, step_state);
        else if (step == 0)
            ops->upload(device.backend, step_state, second, sizeof *second);
    }
    ops->download(device.backend, result, all + RATED, RATED * sizeof *result);
    must(ops->finish(device.backend, &error), &error);
    ops->release(device.backend, all);
    ops->release(device.backend, step_state);
    device_close(&device);
    assert_nothing_left();
}

/* What `advance` makes ready is what Adam would make of the step state, and is not used for
 * another. */
static void rates_of_adam(void **state)
{
    (void)state;
    StepState first = {.learning_rates = {1e-3, 1e-2, 1e-3}}, second = first, faster = first;
    float expected[RATED], result[RATED];
    second.step = 1;
    second.updates = 1;
    two_steps_of_adam(&first, &second, true, expected);
    two_steps_of_adam(&first, NULL, false, result);
    assert_memory_equal(expected, result, sizeof result);
    faster.updates = 1;
    faster.learning_rates[1] = 1e-1;
    two_steps_of_adam(&first, &faster, true, result);
    assert_memory_equal(expected, result, 100 * sizeof *result);
    for (size_t i = 100; i < RATED; i++)
        assert_true(fabsf(result[i]) > 4.0f * fabsf(expected[i]));
}

/* In clusters blocks share rows, where that gives every block a multiprocessor: the sums may have
 * another order, and the bits are the same in any order of threads. */
static void clusters_of_nnmf(void **state)
{
    (void)state;
    static const NnmfParams shapes[] = {
        {.rows = 50, .features = 1024, .outputs = 96, .iterations = 2}, /* eight blocks */
        {.rows = 5, .features = 250, .outputs = 70, .iterations = 3},   /* some without features */
        {.rows = 33, .features = 250, .outputs = 64, .iterations = 3, .epsilon = 0.5f},
        {.rows = 17, .features = 300, .outputs = 40, .iterations = 20}, /* two or four blocks */
        {.rows = 18, .features = 700, .outputs = 120, .iterations = 2},
    };
    static float alone[64 * 128], together[64 * 128], again[64 * 128];
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int p = PRECISION_FP32; p <= PRECISION_TF32; p++) {
            size_t count = shapes[i].rows * (size_t)shapes[i].outputs;
            double allowed = p == PRECISION_TF32 ? 2e-3 : 2e-6;
            assert_true(count <= COUNT(alone));
            nnmf(MOST_SHARED, (Precision)p, &shapes[i], alone);
            assert_int_equal(cuda_host_cluster_launches(), 0);
            cuda_host_set_capability(9, 0);
            nnmf(MOST_SHARED, (Precision)p, &shapes[i], together);
            cuda_host_set_seed(7);
            nnmf(MOST_SHARED, (Precision)p, &shapes[i], again);
            assert_int_equal(cuda_host_cluster_launches(), 2);
            cuda_host_reset();
            assert_memory_equal(together, again, count * sizeof *again);
            assert_within(precision_names[p], "h of shape", (int)i,
                          relative_distance(together, alone, count), allowed);
        }
}

/* A part of a GPU that has clusters but no room for one: other variants do it, as if there were
 * none. */
static void clusters_without_room(void **state)
{
    (void)state;
    static const NnmfParams shapes[] = {
        {.rows = 17, .features = 300, .outputs = 64, .iterations = 2},
        {.rows = 5, .features = 250, .outputs = 96, .iterations = 2},
        {.rows = 5, .features = 250, .outputs = 128, .iterations = 2},
    };
    static float usual[64 * 128], without[64 * 128];
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int p = PRECISION_FP32; p <= PRECISION_TF32; p++) {
            size_t count = shapes[i].rows * (size_t)shapes[i].outputs;
            nnmf(MOST_SHARED, (Precision)p, &shapes[i], usual);
            cuda_host_set_capability(9, 0);
            cuda_host_set_largest_cluster(1);
            nnmf(MOST_SHARED, (Precision)p, &shapes[i], without);
            assert_int_equal(cuda_host_cluster_launches(), 0);
            assert_int_equal(cuda_host_products(), 0);
            assert_memory_equal(usual, without, count * sizeof *usual);
            cuda_host_reset();
        }
}

/* Several batches at once: each has the bits that it has alone, whatever kernel all their rows
 * would have got; clusters may then be more than run at a time. */
static void batches_at_once(void **state)
{
    (void)state;
    enum { BATCHES = 4 };
    static const struct {
        int multiprocessors;
        bool clusters;
        NnmfParams one;
    } cases[] = {
        {4, false, {.rows = 130, .features = 100, .outputs = 32, .iterations = 2}},
        {4, false, {.rows = 66, .features = 200, .outputs = 64, .iterations = 2}},
        {8, true, {.rows = 33, .features = 300, .outputs = 64, .iterations = 2}},
        {16, true, {.rows = 20, .features = 200, .outputs = 96, .iterations = 2}},
        {16, true, {.rows = 20, .features = 300, .outputs = 128, .iterations = 2}},
        {4, false, {.rows = 66, .features = 200, .outputs = 128, .iterations = 2}},
        {4, false, {.rows = 7, .features = 30, .outputs = 150, .iterations = 2}},
    };
    static float alone[130 * 150], together[BATCHES * 130 * 150];
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int p = -1; p <= PRECISION_TF32; p++) { /* -1: by cuBLAS */
            NnmfKernel kernel = p < 0 ? NNMF_KERNEL_CUBLAS : NNMF_KERNEL_FUSED;
            Precision precision = p < 0 ? PRECISION_FP32 : (Precision)p;
            bool products = p < 0 || cases[i].one.outputs > 128;
            bool clusters = cases[i].clusters && !products;
            NnmfParams shape = cases[i].one;
            size_t count = shape.rows * (size_t)shape.outputs;
            cuda_host_reset();
            cuda_host_set_shared_optin(MOST_SHARED);
            cuda_host_set_multiprocessors(cases[i].multiprocessors);
            cuda_host_set_capability(cases[i].clusters ? 9 : 8, 0);
            shape.rows *= BATCHES;
            shape.batches = BATCHES;
            nnmf_from(kernel, precision, &shape, 0, together);
            assert_int_equal(cuda_host_cluster_launches(), clusters);
            assert_int_equal(cuda_host_products(), products ? 2 * 2 * BATCHES : 0);
            for (size_t b = 0; b < BATCHES; b++) {
                nnmf_from(kernel, precision, &cases[i].one, b * cases[i].one.rows, alone);
                if (memcmp(alone, together + b * count, count * sizeof *alone) != 0)
                    fail_msg("shape %zu, %s: batch %zu has other bits alone", i,
                             p < 0 ? "cuBLAS" : precision_names[p], b);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(forty_steps, reset),
        cmocka_unit_test_setup(without_shuffling, reset),
        cmocka_unit_test_setup(every_variant, reset),
        cmocka_unit_test_setup(gradient_of_images, reset),
        cmocka_unit_test_setup(tf32, reset),
        cmocka_unit_test_setup(same_bits, reset),
        cmocka_unit_test_setup(shared_memory_of_nnmf, reset),
        cmocka_unit_test_setup(shared_memory_of_training, reset),
        cmocka_unit_test_setup(shared_memory_of_recordings, reset),
        cmocka_unit_test_setup(clusters_of_nnmf, reset),
        cmocka_unit_test_setup(clusters_without_room, reset),
        cmocka_unit_test_setup(batches_at_once, reset),
        cmocka_unit_test_setup(backward_of_nnmf, reset),
        cmocka_unit_test_setup(without_cooperative_launches, reset),
        cmocka_unit_test_setup(batch_norm_in_one, reset),
        cmocka_unit_test_setup(refused_cooperative_launches, reset),
        cmocka_unit_test_setup(batch_norm_of_large_means, reset),
        cmocka_unit_test_setup(rates_of_adam, reset),
        cmocka_unit_test_setup(kernels_of_a_step, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
