/* How the host follows the device without stopping it. Needs the emulation (cuda_host/), in which
 * copies arrive as late as allowed, so that a missing wait is detected. */
#include "small_training.h"

#include "run/loop.h"
#include "settings/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN_EPOCH = 140 }; /* steps, of one image each */

/* A small network in training on the emulated GPU. Must not be moved. */
typedef struct Training {
    Network network;
    Device device;
    Model model;
    Batches batches;
    Steps steps;
} Training;

/* polls: see cuda_host_set_polls; more make the host faster than the device. */
static void open_training(Training *t, unsigned polls)
{
    Error error = {0};
    NetworkOptions options = network_default_options;
    options.iterations = 1;
    build_small(&options, &t->network);
    cuda_host_set_polls(polls);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &t->device);
    must(model_create(&t->network, &t->device, 1, 1, &t->model, &error), &error);
    must(model_initialise(&t->model, 3, &error), &error);
    must(load_small(&t->device, IN_EPOCH, 0, IN_EPOCH, t->network.input, 1, 1, &t->batches, &error),
         &error);
    must(steps_create(&t->model, &t->batches, STEP_TRAIN, &t->steps, &error), &error);
    StepState start = step_state_of(0);
    steps_reset(&t->steps, &start, &(Totals){0});
}

static void close_training(Training *t)
{
    steps_destroy(&t->steps);
    batches_destroy(&t->batches);
    model_destroy(&t->model);
    device_close(&t->device);
    assert_nothing_left();
}

/* The host follows the device without waiting for it and does not run too far ahead. */
static void read_backs_follow(void **state)
{
    (void)state;
    enum { AHEAD = (READBACKS_IN_FLIGHT + 1) * READBACK_STEPS };
    Training t;
    Error error = {0};
    unsigned long waits = 0;
    uint32_t known = 0;
    open_training(&t, 10);
    for (uint32_t step = 0; step < IN_EPOCH; step++) {
        must(step_run(&t.steps, &error), &error);
        const StepState *last = &t.steps.readback.last_state;
        assert_true(last->step >= known && last->step <= step);
        assert_true(step + 1 - last->step <= AHEAD);
        assert_int_equal(last->updates, last->step);
        assert_true((t.steps.readback.last_totals.loss > 0.0) == (last->step > 0));
        known = last->step;
        if (step == 1) /* the recorded step */
            waits = cuda_host_waits();
    }
    assert_int_equal(cuda_host_waits(), waits);
    assert_true(known > 0);
    close_training(&t);
}

/* A failed call is reported although the host then waits for a copy, which arrives. */
static void failures_are_reported_while_waiting(void **state)
{
    (void)state;
    Training t;
    Error error = {0};
    open_training(&t, 1000); /* no copy arrives before the host waits for it */
    const Readback *r = &t.steps.readback;
    while (r->requested - r->received < READBACKS_IN_FLIGHT || r->steps + 1 < READBACK_STEPS)
        must(step_run(&t.steps, &error), &error);
    assert_false(steps_ended(&t.steps));
    must(steps_read(&t.steps, NULL, NULL, &error), &error); /* now both have arrived */
    cuda_host_fail_call(1, cudaErrorInvalidValue);          /* the launch of the recorded step */
    assert_false(step_run(&t.steps, &error));
    assert_non_null(strstr(error.text, "CUDA failed"));
    close_training(&t);
}

/* A non-finite loss is still detected within the epoch. */
static void bad_loss_within_an_epoch(void **state)
{
    (void)state;
    static float bad[FLOATS];
    Training t;
    Error error = {0};
    memset(bad, 0xff, sizeof bad); /* NaN */
    open_training(&t, 1);
    must(model_write(&t.model, t.model.parameters, bad, &error), &error);
    const Totals *totals = &t.steps.readback.last_totals;
    while (!steps_ended(&t.steps) && !totals->first_nonfinite_step)
        must(step_run(&t.steps, &error), &error);
    assert_false(steps_ended(&t.steps));
    assert_int_equal(totals->first_nonfinite_step, 1);
    close_training(&t);
}

/* ---- a whole run ---- */

static char folder[64];

/* Writes a file of MNIST with noise. */
static void write_idx(const char *name, const unsigned *sizes, int rank)
{
    char path[128];
    size_t bytes = 1;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    uint8_t magic[4] = {0, 0, 8, (uint8_t)rank};
    fwrite(magic, 1, sizeof magic, file);
    for (int i = 0; i < rank; i++) {
        uint8_t size[4] = {0, 0, (uint8_t)(sizes[i] >> 8), (uint8_t)sizes[i]};
        fwrite(size, 1, sizeof size, file);
        bytes *= sizes[i];
    }
    for (size_t i = 0; i < bytes; i++)
        fputc(rank == 1 ? (int)(i % CLASSES) : (int)(noise((uint32_t)i) >> 24), file);
    assert_int_equal(fclose(file), 0);
}

static const char *const files[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

static int make_data(void **state)
{
    static const unsigned sizes[] = {300, 28, 28};
    strcpy(folder, "/tmp/nnmf-readback-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < (int)COUNT(files); i++)
        write_idx(files[i], sizes, i % 2 ? 1 : 3);
    return reset(state);
}

static int remove_data(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* Trains like nnmf-train on `images` images, one per step, for two epochs. */
static bool run_training(const char *name, int images, const char *rate, Error *error)
{
    char out[128], range[32];
    snprintf(out, sizeof out, "%s/%s", folder, name);
    snprintf(range, sizeof range, "0:%d", images);
    const char *options[] = {"--dataset",
                             "mnist",
                             "--data",
                             folder,
                             "--out",
                             out,
                             "--device",
                             "cuda",
                             "--epochs",
                             "2",
                             "--batch-size",
                             "1",
                             "--iterations",
                             "1",
                             "--quiet",
                             "--train-range",
                             range,
                             "--test-range",
                             "0:3",
                             "--lr-nnmf",
                             rate};
    Settings settings;
    int signal;
    *error = (Error){0};
    must(settings_parse((int)COUNT(options), (char **)options, &settings, error), error);
    cuda_host_reset();
    bool good = loop_train(&settings, &signal, error);
    assert_nothing_left();
    return good;
}

/* Within an epoch there is no wait, however many steps it has. */
static void no_wait_within_an_epoch(void **state)
{
    (void)state;
    Error error;
    must(run_training("few", 8, "0.01", &error), &error); /* as many as TensorBoard shows */
    unsigned long few = cuda_host_waits();
    must(run_training("many", 36, "0.01", &error), &error);
    assert_int_equal(cuda_host_waits(), few);
    assert_true(few > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(read_backs_follow, reset),
        cmocka_unit_test_setup(failures_are_reported_while_waiting, reset),
        cmocka_unit_test_setup(bad_loss_within_an_epoch, reset),
        cmocka_unit_test_setup_teardown(no_wait_within_an_epoch, make_data, remove_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
