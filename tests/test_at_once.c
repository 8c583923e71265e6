/* Test passes of several batches at once give the same bits as one by one, on every device. Needs
 * the emulation (cuda_host/) for CUDA. */
#include "small_training.h"

#include "network/population.h"
#include "nnmf/philox.h"
#include "training/evaluation.h"
#include "training/population_pass.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* COUNTED: nine full batches and one of 3 images. */
enum { BEGIN = 2, COUNTED = 9 * BATCH + 3, STORED = BEGIN + COUNTED + 1, STATISTICS = 512 };

static const int numbers[] = {2, 3, 4, 7};

/* Builds a network whose layers have numbers of outputs that select different CUDA kernels. */
static void build_wide(const NetworkOptions *options, Network *network)
{
    static const Block blocks[] = {
        {20, 3, 1, true}, {36, 2, 2, true}, {66, 3, 1, true}, {10, 0, 1, true}};
    Error error = {0};
    must(network_build((Extent){8, 8, 3}, blocks, (int)COUNT(blocks), options, network, &error),
         &error);
}

/* Has no padding, so that memcmp can compare two. */
typedef struct Pass {
    Totals totals;
    StepState step_state;
    uint64_t correct;
    float probabilities[COUNTED * CLASSES];
} Pass;

typedef struct Outcome {
    Pass augmented, population;
    float statistics[STATISTICS];
} Outcome;

static void test(Steps *steps, int times, Pass *pass)
{
    Error error = {0};
    Evaluation result = {.probabilities = pass->probabilities};
    for (int i = 0; i < times; i++)
        must(evaluate(steps, (Watch){0}, &result, &error), &error);
    pass->correct = result.correct;
    must(steps_read(steps, &pass->step_state, &pass->totals, &error), &error);
    assert_int_equal(pass->step_state.step, COUNTED / BATCH + 1);
    assert_int_equal(pass->correct, pass->totals.correct);
}

/* Tests shuffled and augmented images; then measures the population statistics and tests with
 * them. */
static void run(const Device *device, Architecture architecture, int at_once, bool recorded,
                Outcome *o)
{
    Network network;
    Model model;
    Batches b;
    Error error = {0};
    NetworkOptions options = network_default_options;
    options.architecture = architecture;
    options.iterations = 2;
    memset(o, 0, sizeof *o);
    build_wide(&options, &network);
    must(model_create(&network, device, BATCH, at_once, &model, &error), &error);
    must(load_small(device, STORED, BEGIN, BEGIN + COUNTED, network.input, BATCH, at_once, &b,
                    &error),
         &error);
    must(model_initialise(&model, 3, &error), &error);
    b.sampler.shuffle = true;
    b.sampler.augment = AUGMENT_IMAGE;
    b.sampler.seed = 5;
    Steps steps;
    must(steps_create(&model, &b, STEP_TEST, &steps, &error), &error);
    test(&steps, recorded ? 3 : 1, &o->augmented); /* run, recorded, replayed */
    /* One for each number of full batches that occurs, and one for the smaller batch. */
    int full = COUNTED / BATCH;
    for (int size = 0; recorded && size < STEP_SIZES; size++)
        assert_int_equal(steps.recordings[size] != NULL,
                         size == 0 || size == at_once || size == full % at_once);
    steps_destroy(&steps);

    bool stopped;
    size_t elements = network.population_elements;
    assert_true(elements <= STATISTICS);
    must(population_measure(&model, &b, (Watch){0}, &stopped, &error), &error);
    device->operations->download(device->backend, o->statistics, model.population,
                                 elements * sizeof *o->statistics);
    must(population_use(&model, STATISTICS_POPULATION, "a test", &error), &error);
    must(steps_create(&model, &b, STEP_TEST, &steps, &error), &error);
    test(&steps, 1, &o->population);
    steps_destroy(&steps);
    batches_destroy(&b);
    model_destroy(&model);
}

/* Compares passes with each of `numbers` batches at once to one by one. With NNMF_TEST_QUICK set,
 * and unless `all`, tries only the last number, whose pass has recordings of all three sizes. */
static void check(const Device *device, Architecture architecture, bool recorded, bool all,
                  const char *name)
{
    static Outcome one_by_one, together;
    run(device, architecture, 1, recorded, &one_by_one);
    assert_true(one_by_one.population.totals.loss > 0.0);
    assert_memory_not_equal(one_by_one.augmented.probabilities, one_by_one.population.probabilities,
                            sizeof one_by_one.population.probabilities);
    bool quick = getenv("NNMF_TEST_QUICK") && !all;
    for (size_t i = quick ? COUNT(numbers) - 1 : 0; i < COUNT(numbers); i++) {
        run(device, architecture, numbers[i], recorded, &together);
        if (memcmp(&one_by_one, &together, sizeof together) != 0)
            fail_msg("%s, %s: another result with %d batches at once", name,
                     architecture == ARCHITECTURE_NNMF ? "nnmf" : "cnn", numbers[i]);
    }
}

static void check_both(const Device *device, const char *name)
{
    check(device, ARCHITECTURE_NNMF, false, false, name);
    check(device, ARCHITECTURE_CNN, false, false, name);
}

static void same_bits_in_plain_c(void **state)
{
    (void)state;
    Device device;
    Error error = {0};
    must(device_open_plain(&device, &error), &error);
    check_both(&device, "plain");
    device_close(&device);
}

static void same_bits_on_cpu(void **state)
{
    (void)state;
    const char *set;
    for (int number = 0; (set = cpu_instruction_set(number)); number++)
        for (int threads = 1; threads <= 3; threads += 2) {
            Device device;
            Error error = {0};
            must(device_open_cpu(&device, &(CpuOptions){set, threads}, &error), &error);
            check_both(&device, set);
            device_close(&device);
        }
}

typedef struct Gpu {
    const char *name;
    NnmfKernel kernel;
    Precision last; /* tries precisions up to this one */
    bool clusters, cooperative, baseline;
    int multiprocessors; /* 0: the usual number */
} Gpu;

static void same_bits_on_cuda(void **state)
{
    (void)state;
    static const Gpu gpus[] = {
        {"usual", NNMF_KERNEL_FUSED, PRECISION_TF32, false, true, true, 0},
        {"clusters", NNMF_KERNEL_FUSED, PRECISION_TF32, true, true, false, 0},
        {"clusters of one batch fit", NNMF_KERNEL_FUSED, PRECISION_TF32, true, true, false, 8},
        {"batch norm in two kernels", NNMF_KERNEL_FUSED, PRECISION_FP32, false, false, false, 0},
        {"product by product", NNMF_KERNEL_CUBLAS, PRECISION_TF32, false, true, false, 0},
    };
    for (size_t g = 0; g < COUNT(gpus); g++)
        for (int p = PRECISION_FP32; p <= (int)gpus[g].last; p++) {
            Device device;
            char name[64];
            snprintf(name, sizeof name, "%s, %s", gpus[g].name, precision_names[p]);
            cuda_host_reset();
            if (gpus[g].clusters)
                cuda_host_set_capability(9, 0);
            cuda_host_set_cooperative(gpus[g].cooperative);
            if (gpus[g].multiprocessors)
                cuda_host_set_multiprocessors(gpus[g].multiprocessors);
            open_cuda(gpus[g].kernel, (Precision)p, &device);
            bool recorded = p == PRECISION_FP32;
            check(&device, ARCHITECTURE_NNMF, recorded, recorded && g == 0, name);
            if (gpus[g].baseline)
                check(&device, ARCHITECTURE_CNN, recorded, false, name);
            device_close(&device);
            assert_nothing_left();
        }
}

/* ---- a batch with a non-finite image ---- */

enum { FAULTY = 2, BATCHES = 4, OF_A_BATCH = BATCH * CLASSES };

static void check_fault(const Device *device)
{
    static float images[BATCHES * BATCH * 8 * 8 * 3];
    const size_t batch = COUNT(images) / BATCHES;
    const Operations *ops = device->operations;
    Backend *backend = device->backend;
    Network network;
    Model model;
    Error error = {0};
    float right[BATCHES * OF_A_BATCH], wrong[BATCHES * OF_A_BATCH];
    Totals result;
    build_small(&network_default_options, &network);
    must(model_create(&network, device, BATCH, BATCHES, &model, &error), &error);
    must(model_initialise(&model, 3, &error), &error);
    StepState *step_state = ops->allocate(backend, sizeof *step_state, "step_state", &error);
    Totals *totals = ops->allocate(backend, sizeof *totals, "totals", &error);
    assert_true(step_state && totals);
    for (size_t i = 0; i < COUNT(images); i++)
        images[i] = philox_uniform(noise((uint32_t)i));
    for (int faulty = 0; faulty <= 1; faulty++) {
        if (faulty)
            images[FAULTY * batch] = INFINITY;
        ops->upload(backend, model.images, images, sizeof images);
        ops->upload(backend, totals, &(Totals){0}, sizeof *totals);
        ops->upload(backend, step_state, &(StepState){0}, sizeof *step_state);
        model_forward_several(&model, BATCH, BATCHES);
        for (int i = 0; i < BATCHES; i++) {
            model_loss(&model, BATCH, i, step_state, totals);
            ops->advance(backend, step_state);
        }
        ops->download(backend, faulty ? wrong : right, model_probabilities(&model), sizeof right);
        ops->download(backend, &result, totals, sizeof result);
        must(ops->finish(backend, &error), &error);
        assert_int_equal(result.first_nonfinite_step, faulty ? 1 + FAULTY : 0);
    }
    for (int i = 0; i < BATCHES; i++)
        if (i != FAULTY)
            assert_memory_equal(right + i * OF_A_BATCH, wrong + i * OF_A_BATCH,
                                OF_A_BATCH * sizeof *right);
    ops->release(backend, step_state);
    ops->release(backend, totals);
    model_destroy(&model);
}

static void a_fault_stays_in_its_batch(void **state)
{
    (void)state;
    Device device;
    Error error = {0};
    must(device_open_plain(&device, &error), &error);
    check_fault(&device);
    device_close(&device);
    must(device_open(&device, &(DeviceOptions){.kind = DEVICE_CPU, .cpu.threads = 2}, &error),
         &error);
    check_fault(&device);
    device_close(&device);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    check_fault(&device);
    device_close(&device);
    assert_nothing_left();
}

/* ---- stopping, and memory ---- */

typedef struct StopCalls {
    int count;
    uint32_t last;
} StopCalls;

static bool stop_after_four(void *context, uint32_t step)
{
    StopCalls *calls = context;
    assert_true(calls->count == 0 || step > calls->last);
    calls->last = step;
    calls->count++;
    return step > 4;
}

/* A pass calls the watch before each group of batches, with the number of batches done. */
static void stopped_between_batches(void **state)
{
    (void)state;
    Network network;
    Device device;
    Model model;
    Batches b;
    Error error = {0};
    StopCalls calls = {0};
    Evaluation result = {.stopped = false};
    build_small(&network_default_options, &network);
    must(device_open_plain(&device, &error), &error);
    must(model_create(&network, &device, BATCH, 3, &model, &error), &error);
    must(load_small(&device, STORED, BEGIN, BEGIN + COUNTED, network.input, BATCH, 3, &b, &error),
         &error);
    Steps steps;
    must(steps_create(&model, &b, STEP_TEST, &steps, &error), &error);
    must(evaluate(&steps, (Watch){stop_after_four, &calls}, &result, &error), &error);
    assert_true(result.stopped);
    assert_int_equal(calls.count, 3);
    assert_int_equal(calls.last, 6);
    steps_destroy(&steps);
    batches_destroy(&b);
    model_destroy(&model);
    device_close(&device);
}

/* A model allocates activations for all batches at once, but gradients for one. */
static void memory_of_activations(void **state)
{
    (void)state;
    Network network;
    Device device;
    Error error = {0};
    size_t used[3], activations = 0;
    build_small(&network_default_options, &network);
    for (int i = 0; i < network.layer_count; i++)
        activations += extent_elements(network.layers[i].out);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    for (int i = 0; i < 3; i++) {
        Model model;
        size_t before = cuda_host_memory_used();
        must(model_create(&network, &device, BATCH, 1 + 20 * i, &model, &error), &error);
        used[i] = cuda_host_memory_used() - before;
        model_destroy(&model);
    }
    size_t more = 20 * BATCH * activations * sizeof(float);
    for (int i = 0; i < 2; i++) {
        assert_true(used[i + 1] - used[i] > more);
        assert_true(used[i + 1] - used[i] < 2 * more);
    }
    device_close(&device);
    assert_nothing_left();
}

/* ---- batch norms ---- */

enum { NORMED = 4, NORM_ROWS = 300, NORM_CHANNELS = 21, NORM_FLOATS = NORM_ROWS * NORM_CHANNELS };

typedef struct Norms {
    float out[NORMED * NORM_FLOATS], mean[NORMED * NORM_CHANNELS], rstd[NORMED * NORM_CHANNELS];
} Norms;

/* Normalises NORMED batches of noise in groups of `at_once`. */
static void norm(int at_once, Norms *n)
{
    Device device;
    Error error = {0};
    static float host[NORMED * NORM_FLOATS];
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    const Operations *ops = device.operations;
    for (size_t i = 0; i < COUNT(host); i++)
        host[i] = philox_uniform(noise((uint32_t)i));
    float *in = ops->allocate(device.backend, sizeof host, "inputs", &error);
    Norms *results = ops->allocate(device.backend, sizeof *n, "results", &error);
    assert_true(in && results);
    ops->upload(device.backend, in, host, sizeof host);
    for (int b = 0; b < NORMED; b += at_once)
        ops->batchnorm_forward(device.backend, (size_t)at_once * NORM_ROWS, NORM_CHANNELS, at_once,
                               in + b * NORM_FLOATS, in, in + NORM_CHANNELS,
                               results->out + b * NORM_FLOATS, results->mean + b * NORM_CHANNELS,
                               results->rstd + b * NORM_CHANNELS);
    ops->download(device.backend, n, results, sizeof *n);
    must(ops->finish(device.backend, &error), &error);
    ops->release(device.backend, in);
    ops->release(device.backend, results);
    device_close(&device);
    assert_nothing_left();
}

static void check_norms(unsigned long together)
{
    static Norms alone, at_once;
    unsigned long before = cuda_host_cooperative_launches();
    norm(NORMED, &at_once);
    assert_int_equal(cuda_host_cooperative_launches() - before, together);
    norm(1, &alone);
    assert_memory_equal(&alone, &at_once, sizeof alone);
}

/* One kernel or two, all batches at once or as many as the GPU holds, and a GPU that reports to
 * hold more than it does. A batch has three chunks and three blocks of columns. */
static void same_bits_of_batch_norms(void **state)
{
    (void)state;
    cuda_host_set_multiprocessors(36);
    check_norms(1);
    cuda_host_set_multiprocessors(27);
    check_norms(2);
    cuda_host_set_multiprocessors(36);
    cuda_host_set_partition(20); /* refuses four at once, accepts one by one */
    check_norms(NORMED);
    cuda_host_set_partition(8);
    check_norms(0);
    cuda_host_set_partition(0);
    cuda_host_set_cooperative(false);
    check_norms(0);
}

/* ---- launches saved ---- */

/* Four batches of the published network at once take a quarter of the launches. */
static void fewer_launches(void **state)
{
    (void)state;
    enum { FOUR = 4 };
    Network network;
    Device device;
    Model model;
    Error error = {0};
    unsigned long launches[2], products[2];
    NetworkOptions options = network_default_options;
    options.iterations = 1;
    must(network_for_dataset(DATASET_CIFAR10, &options, &network, &error), &error);
    cuda_host_set_multiprocessors(96); /* enough for all batch norms at once */
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    must(model_create(&network, &device, 1, FOUR, &model, &error), &error);
    for (int at_once = 0; at_once <= 1; at_once++) {
        unsigned long launches_before = cuda_host_launches();
        unsigned long products_before = cuda_host_products();
        if (at_once)
            model_forward_several(&model, 1, FOUR);
        for (int i = 0; !at_once && i < FOUR; i++)
            model_forward(&model, 1);
        must(device.operations->finish(device.backend, &error), &error);
        launches[at_once] = cuda_host_launches() - launches_before;
        products[at_once] = cuda_host_products() - products_before;
    }
    if (getenv("NNMF_TEST_VERBOSE"))
        printf("four batches: %lu kernels one by one, %lu at once\n", launches[0], launches[1]);
    assert_int_equal(launches[1], launches[0] / FOUR);
    /* Products run batch by batch, because cuBLAS may choose another kernel for more rows. */
    assert_int_equal(products[1], products[0]);
    model_destroy(&model);
    device_close(&device);
    assert_nothing_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(same_bits_in_plain_c, reset),
        cmocka_unit_test_setup(same_bits_on_cpu, reset),
        cmocka_unit_test_setup(same_bits_on_cuda, reset),
        cmocka_unit_test_setup(a_fault_stays_in_its_batch, reset),
        cmocka_unit_test_setup(stopped_between_batches, reset),
        cmocka_unit_test_setup(memory_of_activations, reset),
        cmocka_unit_test_setup(same_bits_of_batch_norms, reset),
        cmocka_unit_test_setup(fewer_launches, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
