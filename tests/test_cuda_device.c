/* The CUDA back end as a device of the whole training: its steps recorded and replayed against the
 * CPU's, bit for bit with itself, what it says when something fails, and what it then leaves. Needs
 * the emulation (cuda_host/), which can fail on demand. */
#include "nnmf/cuda_device.h"

#include "cuda_host.h"
#include "nnmf/evaluation.h"
#include "nnmf/philox.h"
#include "nnmf/steps.h"

#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum {
    BATCH = 5,
    SIDE = 10,
    IMAGES = 30,
    FIRST = 3,
    END = 27, /* four batches of 5 and one of 4 */
    STEPS_AN_EPOCH = 5,
    STEPS = 40,
    FLOATS = 8192, /* at least those of the small network's parameters */
    CLASSES = DATASET_CLASSES,
};

static const NnmfKernel kernels[] = {NNMF_KERNEL_FUSED, NNMF_KERNEL_CUBLAS};
static const char *const kernel_names[] = {"fused", "cublas"};

static void must(bool good, const Error *error)
{
    if (!good)
        fail_msg("%s", error->text);
}

/* ---- devices ---- */

static void open_cuda(NnmfKernel kernel, Precision precision, Device *device)
{
    Error error = {0};
    CudaOptions options = {.kernel = kernel, .precision = precision};
    must(device_open(device, DEVICE_CUDA, 0, &options, &error), &error);
}

static void open_cpu(Device *device)
{
    Error error = {0};
    must(device_open(device, DEVICE_CPU, 1, NULL, &error), &error);
}

/* Nothing may be left of what was made. */
static void assert_nothing_left(void)
{
    assert_int_equal(cuda_host_memory_used(), 0);
}

static int reset(void **state)
{
    (void)state;
    cuda_host_reset();
    return 0;
}

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

static void build_small(const NetworkOptions *options, Network *network)
{
    static const Block blocks[] = {{5, 3, 1, true}, {4, 2, 2, false}, {10, 0, 1, true}};
    Error error = {0};
    must(network_build((Extent){8, 8, 3}, blocks, (int)COUNT(blocks), options, network, &error),
         &error);
    assert_true(network->buffer_elements <= FLOATS);
}

static uint32_t noise(uint32_t number)
{
    return draw(8, DRAW_WEIGHTS, 1, 0, number).v[0];
}

static const ImageSet *small_images(void)
{
    static uint8_t pixels[IMAGES * 3 * SIDE * SIDE], labels[IMAGES];
    static const ImageSet images = {IMAGES, 3, SIDE, SIDE, pixels, labels};
    for (uint32_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(noise(i) >> 24);
    for (uint32_t i = 0; i < sizeof labels; i++)
        labels[i] = (uint8_t)(i * 7 % CLASSES);
    return &images;
}

static Clock clock_of(int steps_made)
{
    return (Clock){.epoch = (uint32_t)(steps_made / STEPS_AN_EPOCH),
                   .updates = (uint64_t)steps_made,
                   .learning_rates = {1e-3, 1e-2, 1e-3}};
}

/* Makes the step and fetches what it did. */
static void make_step(Steps *steps, int number, StepOutcome *o)
{
    Batches *b = steps->batches;
    const Operations *ops = b->device->operations;
    Backend *backend = b->device->backend;
    Error error = {0};
    Totals totals;
    Clock start = clock_of(number), clock;
    uint32_t step = (uint32_t)number % STEPS_AN_EPOCH;
    if (step == 0)
        batches_rewind(b, &start, &(Totals){0});
    must(steps_make(steps, step, &error), &error);
    ops->download(backend, o->indices, b->indices, sizeof o->indices);
    ops->download(backend, o->augmentations, b->augmentations, sizeof o->augmentations);
    must(batches_read(b, &clock, &totals, &error), &error);
    assert_int_equal(clock.step, step + 1);
    assert_int_equal(clock.updates, number + 1);
    assert_int_equal(totals.bad_step, 0);
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
    must(model_create(&network, device, BATCH, &model, &error), &error);
    must(batches_create(device, small_images(), FIRST, END, network.input, BATCH, &batches, &error),
         &error);
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
    assert_int_equal(steps.recordings[0] != NULL, can_record && plan->steps >= 2);
    assert_int_equal(steps.recordings[1] != NULL, can_record && plan->steps >= 2 * STEPS_AN_EPOCH);
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
        snprintf(name, sizeof name, "%s, %s", which, kernel_names[k]);
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
                fail_msg("%s: another result with seed %d", kernel_names[k], (int)seed);
        }
    }
}

/* ---- opening ---- */

/* "what: which: expected" in one line. */
static void assert_clear(const Error *error)
{
    int parts = 1;
    assert_int_equal(error->status, STATUS_FAILED);
    assert_null(strchr(error->text, '\n'));
    for (const char *at = error->text; (at = strstr(at, ": ")); at += 2) {
        assert_true(at[2] != '\0' && at[2] != ':');
        parts++;
    }
    if (parts < 3)
        fail_msg("'%s' has %d parts", error->text, parts);
}

static void assert_says(const Error *error, const char *expected)
{
    assert_clear(error);
    if (!strstr(error->text, expected))
        fail_msg("'%s', expected '%s'", error->text, expected);
}

static bool try_opening(Error *error)
{
    Device device = {0};
    CudaOptions options = {0};
    *error = (Error){0};
    bool opened = device_open(&device, DEVICE_CUDA, 0, &options, error);
    device_close(&device);
    assert_nothing_left();
    return opened;
}

static void assert_not_opened(const char *expected)
{
    Error error;
    assert_false(try_opening(&error));
    assert_says(&error, expected);
}

static void no_usable_gpu(void **state)
{
    (void)state;
    Error error;
    cuda_host_set_driver(cudaErrorInsufficientDriver);
    assert_not_opened("no NVIDIA driver: ");
    cuda_host_set_driver(cudaErrorNoDevice);
    assert_not_opened("no NVIDIA GPU: ");
    cuda_host_reset();
    /* The driver has a version: this call alone fails. */
    cuda_host_fail_call(1, cudaErrorInsufficientDriver);
    assert_not_opened("NVIDIA driver too old: it is for CUDA ");
    cuda_host_fail_call(1, cudaErrorInitializationError);
    assert_not_opened("cudaErrorInitializationError");
    cuda_host_fail_call(0, cudaSuccess);
    assert_true(try_opening(&error));
}

/* The first launch fails so, on a GPU that this program has no code for. */
static void unsupported_gpu(void **state)
{
    (void)state;
    static const cudaError_t failures[] = {cudaErrorNoKernelImageForDevice,
                                           cudaErrorUnsupportedPtxVersion};
    Error error;
    cuda_host_fail_call(0, cudaSuccess);
    assert_true(try_opening(&error));
    unsigned long calls = cuda_host_calls();
    for (size_t f = 0; f < COUNT(failures); f++) {
        int found = 0;
        for (unsigned long n = 1; n <= calls; n++) {
            cuda_host_fail_call(n, failures[f]);
            if (try_opening(&error))
                continue; /* it was one of closing */
            assert_clear(&error);
            found += strstr(error.text,
                            "unsupported GPU: host emulation, compute capability "
                            "8.9: ") == error.text;
        }
        assert_int_equal(found, 1);
    }
}

/* Standard error while `open` runs. */
static void open_automatically(Device *device, char *said, size_t capacity)
{
    Error error = {0};
    CudaOptions options = {0};
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    bool opened = device_open(device, DEVICE_AUTO, 1, &options, &error);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    must(opened, &error);
    rewind(file);
    said[fread(said, 1, capacity - 1, file)] = '\0';
    fclose(file);
}

static void automatic_device(void **state)
{
    (void)state;
    char said[2048];
    Device device;
    open_automatically(&device, said, sizeof said);
    assert_string_equal(device.operations->name, "cuda");
    assert_string_equal(device.description, "host emulation, CUDA, fused, fp32");
    assert_string_equal(said, "");
    device_close(&device);

    cuda_host_set_driver(cudaErrorNoDevice);
    open_automatically(&device, said, sizeof said);
    assert_string_not_equal(device.operations->name, "cuda");
    assert_true(strncmp(device.description, "CPU, ", 5) == 0);
    assert_true(strncmp(said, "nnmf-train: using the CPU: no NVIDIA GPU: ", 42) == 0);
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
    device_close(&device);
    assert_nothing_left();
}

/* ---- out of memory ---- */

static void assert_out_of_memory(const Error *error)
{
    assert_says(error, "out of GPU memory: ");
    assert_says(error, " bytes were asked for, ");
    assert_says(error, "--batch-size");
}

typedef struct Small {
    Network network;
    Device device;
    Model model;
    Batches batches;
} Small;

static bool create_model(Small *s, Error *error)
{
    return model_create(&s->network, &s->device, BATCH, &s->model, error);
}

static void destroy_model(Small *s)
{
    model_destroy(&s->model);
}

static bool create_batches(Small *s, Error *error)
{
    return batches_create(&s->device, small_images(), FIRST, END, s->network.input, BATCH,
                          &s->batches, error);
}

static void destroy_batches(Small *s)
{
    batches_destroy(&s->batches);
}

/* With room for ever more of it, until there is enough. */
static void fill_memory(Small *s, bool (*create)(Small *, Error *), void (*destroy)(Small *))
{
    Error error = {0};
    size_t base = cuda_host_memory_used();
    cuda_host_set_memory((size_t)1 << 30);
    must(create(s, &error), &error);
    size_t all = cuda_host_memory_used() - base;
    destroy(s);
    assert_int_equal(cuda_host_memory_used(), base);
    for (size_t part = 0; part < 50; part++) {
        error = (Error){0};
        cuda_host_set_memory(base + (all - 1) * part / 49);
        assert_false(create(s, &error));
        assert_out_of_memory(&error);
        assert_int_equal(cuda_host_memory_used(), base);
    }
    error = (Error){0};
    cuda_host_set_memory(base + all);
    must(create(s, &error), &error);
}

static void out_of_memory(void **state)
{
    (void)state;
    Small s;
    Error error = {0};
    build_small(&network_default_options, &s.network);
    open_cuda(NNMF_KERNEL_CUBLAS, PRECISION_FP32, &s.device);
    fill_memory(&s, create_model, destroy_model);
    fill_memory(&s, create_batches, destroy_batches);

    /* None is left for an operation's work space: told at the next look, and once. */
    Steps steps = {.model = &s.model, .batches = &s.batches, .training = true};
    Clock clock = clock_of(0);
    batches_rewind(&s.batches, &clock, &(Totals){0});
    must(steps_make(&steps, 0, &error), &error);
    assert_false(batches_read(&s.batches, NULL, NULL, &error));
    assert_out_of_memory(&error);
    assert_non_null(strstr(error.text, "work space"));
    cuda_host_set_memory((size_t)1 << 30);
    error = (Error){0};
    steps_forget(&steps);
    steps = (Steps){.model = &s.model, .batches = &s.batches, .training = true};
    must(model_initialise(&s.model, 3, &error), &error);
    for (int i = 0; i < STEPS_AN_EPOCH; i++) {
        StepOutcome outcome;
        make_step(&steps, i, &outcome);
    }
    steps_forget(&steps);
    batches_destroy(&s.batches);
    model_destroy(&s.model);
    device_close(&s.device);
    assert_nothing_left();

    cuda_host_set_memory(1 << 20);
    assert_false(try_opening(&error));
    assert_out_of_memory(&error);
}

/* ---- work space ---- */

/* A recording keeps the addresses of its work space: it must live on when a larger one is needed
 * later. The recorded batch is the smaller one. */
static void work_space_grows_after_a_recording(void **state)
{
    (void)state;
    enum { FEW = 2 };
    Small s;
    Batches few;
    Error error = {0};
    Totals first = {0}, later = {0};
    build_small(&network_default_options, &s.network);
    open_cuda(NNMF_KERNEL_CUBLAS, PRECISION_FP32, &s.device);
    must(create_model(&s, &error) && create_batches(&s, &error), &error);
    must(batches_create(&s.device, small_images(), 0, FEW, s.network.input, BATCH, &few, &error),
         &error);
    must(model_initialise(&s.model, 3, &error), &error);
    Steps small = {.model = &s.model, .batches = &few};
    Steps large = {.model = &s.model, .batches = &s.batches};
    Clock clock = clock_of(0);
    for (int i = 0; i < 2; i++) {
        batches_rewind(&few, &clock, &(Totals){0});
        must(steps_make(&small, 0, &error), &error);
    }
    must(batches_read(&few, NULL, &first, &error), &error);
    batches_rewind(&s.batches, &clock, &(Totals){0});
    must(steps_make(&large, 0, &error), &error);
    batches_rewind(&few, &clock, &(Totals){0});
    must(steps_make(&small, 0, &error), &error);
    must(batches_read(&few, NULL, &later, &error), &error);
    assert_memory_equal(&first, &later, sizeof first);
    steps_forget(&small);
    steps_forget(&large);
    batches_destroy(&few);
    batches_destroy(&s.batches);
    model_destroy(&s.model);
    device_close(&s.device);
    assert_nothing_left();
}

/* ---- every call fails once ---- */

enum { TINY_BATCH = 2, TINY_STEPS = 4 };

/* *calls: how many there were before those that only free. */
static bool train_tiny(Small *s, const CudaOptions *options, unsigned long *calls, Error *error)
{
    Clock clock = clock_of(0);
    Steps steps = {.model = &s->model, .batches = &s->batches, .training = true};
    if (!device_open(&s->device, DEVICE_CUDA, 0, options, error) ||
        !model_create(&s->network, &s->device, TINY_BATCH, &s->model, error) ||
        !batches_create(&s->device, small_images(), 0, TINY_BATCH * TINY_STEPS, s->network.input,
                        TINY_BATCH, &s->batches, error) ||
        !model_initialise(&s->model, 3, error))
        return false;
    batches_rewind(&s->batches, &clock, &(Totals){0});
    bool good = true;
    for (uint32_t step = 0; good && step < TINY_STEPS; step++)
        good = steps_make(&steps, step, error);
    good = good && batches_read(&s->batches, NULL, NULL, error);
    *calls = cuda_host_calls();
    steps_forget(&steps);
    return good;
}

static bool run_tiny(const Network *network, const CudaOptions *options, unsigned long *calls,
                     Error *error)
{
    Small s = {.network = *network};
    bool good = train_tiny(&s, options, calls, error);
    batches_destroy(&s.batches);
    model_destroy(&s.model);
    device_close(&s.device);
    assert_nothing_left();
    return good;
}

static void check_failing_calls(const Network *network, NnmfKernel kernel, cudaError_t failure)
{
    const CudaOptions options = {.kernel = kernel};
    Error error = {0};
    unsigned long calls, unused;
    cuda_host_reset();
    must(run_tiny(network, &options, &calls, &error), &error);
    unsigned long all = cuda_host_calls();
    assert_true(calls > 100 && all > calls);
    for (unsigned long n = 1; n <= all; n++) {
        cuda_host_reset();
        cuda_host_fail_call(n, failure);
        error = (Error){0};
        if (run_tiny(network, &options, &unused, &error)) {
            if (n <= calls)
                fail_msg("call %lu of %lu failed (%s), and nobody told", n, calls,
                         cudaGetErrorName(failure));
            continue;
        }
        assert_clear(&error);
        bool named = strstr(error.text, cudaGetErrorName(failure)) ||
                     strncmp(error.text, "cuBLAS failed: ", 15) == 0 ||
                     strncmp(error.text, "out of GPU memory: ", 19) == 0;
        if (!named)
            fail_msg("call %lu: '%s'", n, error.text);
    }
    if (getenv("NNMF_TEST_VERBOSE"))
        printf("%lu calls failed with %s\n", all, cudaGetErrorName(failure));
    cuda_host_reset();
}

static void every_call_fails_once(void **state)
{
    (void)state;
    /* One that breaks the context, one that asks for less, one that passes. */
    static const cudaError_t failures[] = {cudaErrorLaunchFailure, cudaErrorMemoryAllocation,
                                           cudaErrorNotSupported};
    static const Block blocks[] = {{3, 2, 1, true}, {10, 0, 1, true}};
    Network network;
    Error error = {0};
    NetworkOptions options = network_default_options;
    options.iterations = 1;
    must(network_build((Extent){3, 3, 3}, blocks, (int)COUNT(blocks), &options, &network, &error),
         &error);
    for (size_t f = 0; f < COUNT(failures); f++)
        check_failing_calls(&network, kernels[f % COUNT(kernels)], failures[f]);
}

/* ---- shared memory ---- */

enum { LEAST_SHARED = 48 << 10, USUAL_SHARED = 99 << 10, MOST_SHARED = 227 << 10 };

/* h of NNMF with so much shared memory; x and w from noise. */
static void nnmf(size_t shared, const NnmfShape *shape, float *h)
{
    Device device;
    Error error = {0};
    size_t x_count = shape->rows * (size_t)shape->features;
    size_t w_count = (size_t)shape->outputs * (size_t)shape->features;
    size_t h_count = shape->rows * (size_t)shape->outputs;
    cuda_host_set_shared_optin(shared);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    const Operations *ops = device.operations;
    float *host = malloc((x_count + w_count) * sizeof *host);
    assert_non_null(host);
    for (size_t i = 0; i < x_count + w_count; i++)
        host[i] = philox_uniform(noise((uint32_t)i)) / (float)shape->features;
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

/* Whether all of w is in shared memory or a block of it at a time: the same sums in the same
 * order. Where not even a block fits, cuBLAS does it. */
static void shared_memory_of_nnmf(void **state)
{
    (void)state;
    static const NnmfShape shapes[] = {
        {.rows = 37, .features = 75, .outputs = 32, .iterations = 3},
        {.rows = 9, .features = 96, .outputs = 10, .iterations = 3},
        {.rows = 33, .features = 400, .outputs = 64, .iterations = 3}, /* all of w: 138 KB */
        {.rows = 17, .features = 300, .outputs = 96, .iterations = 3}, /* 164 KB, a block 52 KB */
        {.rows = 5, .features = 1024, .outputs = 96, .iterations = 2},
        {.rows = 5, .features = 40, .outputs = 97, .iterations = 2}, /* not of the fused kernel */
    };
    static float usual[64 * 128], other[64 * 128];
    for (size_t i = 0; i < COUNT(shapes); i++) {
        size_t count = shapes[i].rows * (size_t)shapes[i].outputs;
        assert_true(count <= COUNT(usual));
        nnmf(USUAL_SHARED, &shapes[i], usual);
        nnmf(MOST_SHARED, &shapes[i], other);
        assert_memory_equal(usual, other, count * sizeof *usual);
        nnmf(LEAST_SHARED, &shapes[i], other);
        assert_within("48 KB", "h of shape", (int)i, relative_distance(other, usual, count), 1e-6);
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

int main(void)
{
    /* Devices are opened a thousand times, each with 32 MB for cuBLAS: pages once got are kept. */
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(forty_steps, reset),
        cmocka_unit_test_setup(without_shuffling, reset),
        cmocka_unit_test_setup(every_variant, reset),
        cmocka_unit_test_setup(tf32, reset),
        cmocka_unit_test_setup(same_bits, reset),
        cmocka_unit_test_setup(no_usable_gpu, reset),
        cmocka_unit_test_setup(unsupported_gpu, reset),
        cmocka_unit_test_setup(automatic_device, reset),
        cmocka_unit_test_setup(out_of_memory, reset),
        cmocka_unit_test_setup(work_space_grows_after_a_recording, reset),
        cmocka_unit_test_setup(every_call_fails_once, reset),
        cmocka_unit_test_setup(shared_memory_of_nnmf, reset),
        cmocka_unit_test_setup(shared_memory_of_training, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
