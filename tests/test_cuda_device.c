/* The CUDA back end as a device: opening it, its error messages, its state after an error, and its
 * memory. Needs the emulation (cuda_host/), in which calls can be made to fail. */
#include "small_training.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- opening ---- */

/* Asserts that the error is one line of the form "what: which: expected". */
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

static void assert_message(const Error *error, const char *expected)
{
    assert_clear(error);
    if (!strstr(error->text, expected))
        fail_msg("'%s', expected '%s'", error->text, expected);
}

static bool try_opening(Error *error)
{
    Device device = {0};
    DeviceOptions options = {.kind = DEVICE_CUDA};
    *error = (Error){0};
    bool opened = device_open(&device, &options, error);
    device_close(&device);
    assert_nothing_left();
    return opened;
}

static void assert_not_opened(const char *expected)
{
    Error error;
    assert_false(try_opening(&error));
    assert_message(&error, expected);
}

static void no_usable_gpu(void **state)
{
    (void)state;
    Error error;
    cuda_host_set_driver(cudaErrorInsufficientDriver);
    assert_not_opened("no NVIDIA driver: CUDA 13.0: driver 580.65.06 or newer was expected");
    cuda_host_set_driver(cudaErrorNoDevice);
    assert_not_opened("no NVIDIA GPU: ");
    cuda_host_reset();
    /* The driver has a version: this call alone fails. */
    cuda_host_fail_call(1, cudaErrorInsufficientDriver);
    assert_not_opened("NVIDIA driver too old: it is for CUDA 13.0: driver 580.65.06 or newer ");
    cuda_host_fail_call(1, cudaErrorInitializationError);
    assert_not_opened("cudaErrorInitializationError");
    cuda_host_fail_call(0, cudaSuccess);
    assert_true(try_opening(&error));
}

/* cuBLAS's library is not there, or is not what it should be. */
static void no_cublas(void **state)
{
    (void)state;
    Error error;
    cuda_host_lack("libcublas.so.13");
    assert_not_opened("no cuBLAS: /nowhere/libcublas.so.13: cannot open shared object file: ");
    assert_not_opened(": install NVIDIA's libcublas-13-0, or PyPI's nvidia-cublas with ");
    cuda_host_lack("cublasSgemm_v2");
    assert_not_opened("unusable cuBLAS: libcublas.so.13: it has no function cublasSgemm_v2");
    cuda_host_lack(NULL);
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
                continue; /* a call while closing failed */
            assert_clear(&error);
            found += strstr(error.text,
                            "unsupported GPU: host emulation, compute capability "
                            "8.9: ") == error.text;
        }
        assert_int_equal(found, 1);
    }
}

/* Opens the default device and captures what that prints to standard error. */
static void open_automatically(Device *device, char *output, size_t capacity)
{
    Error error = {0};
    DeviceOptions options = {.kind = DEVICE_AUTO, .cpu.threads = 1};
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    bool opened = device_open(device, &options, &error);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    must(opened, &error);
    rewind(file);
    output[fread(output, 1, capacity - 1, file)] = '\0';
    fclose(file);
}

static void automatic_device(void **state)
{
    (void)state;
    char output[2048];
    Device device;
    open_automatically(&device, output, sizeof output);
    assert_string_equal(device.operations->name, "cuda");
    assert_string_equal(device.description, "host emulation, CUDA, fused, fp32");
    assert_string_equal(output, "");
    device_close(&device);

    cuda_host_set_driver(cudaErrorNoDevice);
    open_automatically(&device, output, sizeof output);
    assert_string_not_equal(device.operations->name, "cuda");
    assert_true(strncmp(device.description, "CPU, ", 5) == 0);
    assert_true(strncmp(output, "nnmf-train: using the CPU: no NVIDIA GPU: ", 42) == 0);
    assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1); /* one line */
    device_close(&device);
    assert_nothing_left();
}

/* ---- out of memory ---- */

static void assert_out_of_memory(const Error *error)
{
    assert_message(error, "out of GPU memory: ");
    assert_message(error, " bytes were asked for, ");
    assert_message(error, "--batch-size");
}

typedef struct Small {
    Network network;
    Device device;
    Model model;
    Batches batches;
    Steps steps;
} Small;

static bool create_model(Small *s, Error *error)
{
    return model_create(&s->network, &s->device, BATCH, 1, &s->model, error);
}

static void destroy_model(Small *s)
{
    model_destroy(&s->model);
}

static bool create_batches(Small *s, Error *error)
{
    return load_small(&s->device, IMAGES, FIRST, END, s->network.input, BATCH, 1, &s->batches,
                      error);
}

static void destroy_batches(Small *s)
{
    batches_destroy(&s->batches);
}

static bool create_steps(Small *s, Error *error)
{
    return steps_create(&s->model, &s->batches, STEP_TRAIN, &s->steps, error);
}

static void destroy_steps(Small *s)
{
    steps_destroy(&s->steps);
}

enum { SMALL_MEMORY = 32 << 20 }; /* bytes; enough for each */

/* Creates the object with more and more memory, until there is enough. */
static void fill_memory(Small *s, bool (*create)(Small *, Error *), void (*destroy)(Small *))
{
    Error error = {0};
    size_t base = cuda_host_memory_used();
    cuda_host_set_memory(base + SMALL_MEMORY);
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
    fill_memory(&s, create_steps, destroy_steps);

    /* No memory is left for an operation's workspace: the next read-back reports that, once. */
    StepState step_state = step_state_of(0);
    steps_reset(&s.steps, &step_state, &(Totals){0});
    assert_false(step_run(&s.steps, &error) && steps_read(&s.steps, NULL, NULL, &error));
    assert_out_of_memory(&error);
    assert_non_null(strstr(error.text, "work space"));
    cuda_host_set_memory((size_t)1 << 30);
    error = (Error){0};
    steps_destroy(&s.steps);
    must(create_steps(&s, &error), &error);
    must(model_initialise(&s.model, 3, &error), &error);
    steps_reset(&s.steps, &step_state, &(Totals){0});
    for (uint32_t i = 0; i < STEPS_AN_EPOCH; i++)
        must(step_run(&s.steps, &error), &error);
    must(steps_read(&s.steps, NULL, NULL, &error), &error);
    steps_destroy(&s.steps);
    batches_destroy(&s.batches);
    model_destroy(&s.model);
    device_close(&s.device);
    assert_nothing_left();

    cuda_host_set_memory(1 << 20);
    assert_false(try_opening(&error));
    assert_out_of_memory(&error);
}

/* ---- workspace ---- */

/* A recording keeps the addresses of its workspace, which must stay valid when an operation needs a
 * larger one later. The recorded batch is the smaller one. */
static void workspace_grows_after_a_recording(void **state)
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
    must(load_small(&s.device, IMAGES, 0, FEW, s.network.input, BATCH, 1, &few, &error), &error);
    must(model_initialise(&s.model, 3, &error), &error);
    Steps small, large;
    must(steps_create(&s.model, &few, STEP_TEST, &small, &error), &error);
    must(steps_create(&s.model, &s.batches, STEP_TEST, &large, &error), &error);
    StepState step_state = step_state_of(0);
    for (int i = 0; i < 2; i++) {
        steps_reset(&small, &step_state, &(Totals){0});
        must(step_run(&small, &error), &error);
    }
    must(steps_read(&small, NULL, &first, &error), &error);
    steps_reset(&large, &step_state, &(Totals){0});
    must(step_run(&large, &error), &error);
    steps_reset(&small, &step_state, &(Totals){0});
    must(step_run(&small, &error), &error);
    must(steps_read(&small, NULL, &later, &error), &error);
    assert_memory_equal(&first, &later, sizeof first);
    steps_destroy(&small);
    steps_destroy(&large);
    batches_destroy(&few);
    batches_destroy(&s.batches);
    model_destroy(&s.model);
    device_close(&s.device);
    assert_nothing_left();
}

/* ---- every call fails once ---- */

enum { TINY_BATCH = 2, TINY_STEPS = 4 };

/* Sets *calls to the number of CUDA calls before those that only free. */
static bool train_tiny(Small *s, const CudaOptions *options, unsigned long *calls, Error *error)
{
    StepState step_state = step_state_of(0);
    DeviceOptions device = {.kind = DEVICE_CUDA, .cuda = *options};
    if (!device_open(&s->device, &device, error) ||
        !model_create(&s->network, &s->device, TINY_BATCH, 1, &s->model, error) ||
        !load_small(&s->device, IMAGES, 0, TINY_BATCH * TINY_STEPS, s->network.input, TINY_BATCH, 1,
                    &s->batches, error) ||
        !create_steps(s, error) || !steps_warm_up(&s->steps, error) ||
        !model_initialise(&s->model, 3, error))
        return false;
    steps_reset(&s->steps, &step_state, &(Totals){0});
    bool good = true;
    for (uint32_t step = 0; good && step < TINY_STEPS; step++)
        good = step_run(&s->steps, error);
    good = good && steps_read(&s->steps, NULL, NULL, error);
    *calls = cuda_host_calls();
    return good;
}

static bool run_tiny(const Network *network, const CudaOptions *options, unsigned long *calls,
                     Error *error)
{
    Small s = {.network = *network};
    cuda_host_set_memory((size_t)64 << 20); /* cuBLAS takes half of it */
    bool good = train_tiny(&s, options, calls, error);
    steps_destroy(&s.steps);
    batches_destroy(&s.batches);
    model_destroy(&s.model);
    device_close(&s.device);
    assert_nothing_left();
    return good;
}

/* Under sanitizers, which are slow, each call fails with one of the errors, otherwise with all. */
#ifdef __SANITIZE_ADDRESS__
enum { EVERY = 3 };
#else
enum { EVERY = 1 };
#endif

static void check_failing_calls(const Network *network, NnmfKernel kernel, cudaError_t failure,
                                unsigned long first)
{
    const CudaOptions options = {.kernel = kernel};
    Error error = {0};
    unsigned long calls, unused;
    cuda_host_reset();
    must(run_tiny(network, &options, &calls, &error), &error);
    unsigned long all = cuda_host_calls();
    assert_true(calls > 100 && all > calls);
    for (unsigned long n = first; n <= all; n += EVERY) {
        cuda_host_reset();
        cuda_host_fail_call(n, failure);
        error = (Error){0};
        if (run_tiny(network, &options, &unused, &error)) {
            if (n <= calls)
                fail_msg("call %lu of %lu failed (%s) without an error", n, calls,
                         cudaGetErrorName(failure));
            continue;
        }
        assert_clear(&error);
        bool named = strstr(error.text, cudaGetErrorName(failure)) ||
                     strncmp(error.text, "cuBLAS failed: ", 15) == 0 ||
                     strncmp(error.text, "out of GPU memory: ", 19) == 0 ||
                     strncmp(error.text, "out of pinned memory: ", 22) == 0;
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
    /* One that breaks the context, one that is out of memory, one that has no further effect. */
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
        check_failing_calls(&network, kernels[f % COUNT(kernels)], failures[f], 1 + f % EVERY);
}

int main(void)
{
    /* Keeps freed pages: devices are opened a thousand times, each with 32 MB for cuBLAS. */
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_usable_gpu, reset),
        cmocka_unit_test_setup(no_cublas, reset),
        cmocka_unit_test_setup(unsupported_gpu, reset),
        cmocka_unit_test_setup(automatic_device, reset),
        cmocka_unit_test_setup(out_of_memory, reset),
        cmocka_unit_test_setup(workspace_grows_after_a_recording, reset),
        cmocka_unit_test_setup(every_call_fails_once, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
