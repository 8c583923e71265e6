/* Images that do not fit into the GPU's memory are streamed: the same bits come out. And how the
 * host follows the device without stopping it. Needs the emulation (cuda_host/): what is sent there
 * arrives as late as it may, so that what is not waited for shows. */
#include "small_training.h"

#include "run/run.h"
#include "settings/settings.h"
#include "training/evaluation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- streamed or not: the same ---- */

enum { EPOCHS = 2, MOST_IMAGES = 256 };

typedef struct Case {
    const char *name;
    size_t begin, end, count; /* images begin..end-1 of `count` */
    int batch;
    AugmentKind augment;
    bool shuffle;
    uint32_t ring_steps;  /* that are expected */
    uint32_t interrupted; /* the second epoch, before this step; 0: it is not */
} Case;

/* Without padding, so that two can be compared as bytes. */
typedef struct Result {
    Totals totals[EPOCHS];
    float parameters[FLOATS];
    float probabilities[MOST_IMAGES * CLASSES];
    uint64_t correct;
} Result;

static void train_epoch(Steps *steps, uint32_t epoch, uint32_t interrupted, Totals *totals)
{
    Batches *b = steps->batches;
    Error error = {0};
    StepState step_state = {.epoch = epoch,
                            .updates = (uint64_t)epoch * b->steps,
                            .learning_rates = {1e-3, 1e-2, 1e-3}};
    *totals = (Totals){0};
    batches_rewind(b, &step_state, totals);
    for (uint32_t step = 0; step < b->steps; step++) {
        if (interrupted && step == interrupted) {
            must(batches_read(b, &step_state, totals, &error), &error);
            assert_int_equal(step_state.step, step);
            batches_rewind(b, &step_state, totals);
        }
        must(steps_make(steps, step, &error) && notices_step(&b->notices, 1, &error), &error);
    }
    must(batches_read(b, &step_state, totals, &error), &error);
    assert_int_equal(step_state.step, b->steps);
    assert_int_equal(totals->first_nonfinite_step, 0);
}

/* at_once: batches of the tests. */
static void train(const Case *c, size_t free_memory, bool streamed, bool interrupted, int at_once,
                  Result *r)
{
    Network network;
    Device device;
    Model model;
    Batches b;
    Error error = {0};
    NetworkOptions options = network_default_options;
    options.iterations = 2;
    memset(r, 0, sizeof *r);
    build_small(&options, &network);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    must(model_create(&network, &device, c->batch, at_once, &model, &error), &error);
    must(steps_rehearse(&model, true, &error), &error);
    must(model_initialise(&model, 3, &error), &error);
    cuda_host_set_memory(cuda_host_memory_used() + free_memory);
    must(load_small(&device, c->count, c->begin, c->end, network.input, c->batch, at_once, &b,
                    &error),
         &error);
    assert_int_equal(b.sample.ring_steps, streamed ? c->ring_steps : 0);
    b.sample.shuffle = c->shuffle;
    b.sample.augment = c->augment;
    b.sample.seed = 77;
    Steps steps = {.model = &model, .batches = &b, .training = true};
    Steps tests = {.model = &model, .batches = &b};
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        bool stopped;
        train_epoch(&steps, epoch, interrupted && epoch == 1 ? c->interrupted : 0,
                    &r->totals[epoch]);
        must(evaluate(&tests, &r->correct, epoch ? NULL : r->probabilities, NULL, NULL, &stopped,
                      &error),
             &error);
    }
    must(model_read(&model, model.parameters, r->parameters, &error), &error);
    steps_forget(&steps);
    steps_forget(&tests);
    batches_destroy(&b);
    model_destroy(&model);
    device_close(&device);
    assert_nothing_left();
    cuda_host_reset();
}

/* Room for a ring and little more. */
enum { LITTLE = 4 << 20 };

static void same_bits_streamed(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"by image", 0, 61, 61, 5, AUGMENT_IMAGE, true, 6, 7},
        {"by batch", 3, 49, 53, 5, AUGMENT_REFERENCE, true, 4, 4},
        {"in order", 1, 38, 40, 4, AUGMENT_IMAGE, false, 4, 9},
        {"three halves", 0, 15, 15, 5, AUGMENT_IMAGE, true, 2, 1},
        {"one by one", 0, 40, 40, 1, AUGMENT_IMAGE, true, 20, 39},
    };
    static Result whole, streamed;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const Case *c = &cases[i];
        cuda_host_set_seed(i);
        train(c, (size_t)1 << 30, false, false, 1, &whole);
        for (int at_once = 1; at_once <= 3; at_once += 2) {
            train(c, LITTLE, true, false, at_once, &streamed);
            if (memcmp(&whole, &streamed, sizeof whole) != 0)
                fail_msg("%s: another result when streamed, %d batches at once", c->name, at_once);
        }
        train(c, LITTLE, true, true, 1, &streamed);
        if (memcmp(&whole, &streamed, sizeof whole) != 0)
            fail_msg("%s: another result when interrupted", c->name);
    }
}

/* ---- when images are streamed ---- */

static bool is_streamed(size_t free_memory, size_t images)
{
    Network network;
    Device device;
    Batches b;
    Error error = {0};
    build_small(&network_default_options, &network);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    cuda_host_set_memory(cuda_host_memory_used() + free_memory);
    must(load_small(&device, images, 0, images, network.input, BATCH, 1, &b, &error), &error);
    bool streamed = batches_streamed(&b);
    assert_int_equal(b.stream.images.count, streamed ? images : 0);
    batches_destroy(&b);
    device_close(&device);
    assert_nothing_left();
    return streamed;
}

static void only_what_does_not_fit(void **state)
{
    (void)state;
    size_t bytes = IMAGES * (3 * SIDE * SIDE + 1), reserve = (size_t)64 << 20;
    assert_false(is_streamed(reserve + bytes, IMAGES));
    assert_true(is_streamed(reserve + bytes - 1, IMAGES));
    /* A ring of two batches would be no smaller. */
    assert_false(is_streamed(LITTLE, 2 * BATCH));
    assert_true(is_streamed(LITTLE, 2 * BATCH + 1));
}

/* ---- following the device ---- */

/* The host learns how far the device is, which never stops; it is not too far ahead. */
static void notices_follow(void **state)
{
    (void)state;
    enum { MANY = 140, AHEAD = (NOTICES_ASKED + 1) * NOTICE_STEPS };
    Network network;
    Device device;
    Model model;
    Batches b;
    Error error = {0};
    NetworkOptions options = network_default_options;
    options.iterations = 1;
    build_small(&options, &network);
    cuda_host_set_polls(10); /* the host is faster */
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    must(model_create(&network, &device, 1, 1, &model, &error), &error);
    must(model_initialise(&model, 3, &error), &error);
    must(load_small(&device, MANY, 0, MANY, network.input, 1, 1, &b, &error), &error);
    Steps steps = {.model = &model, .batches = &b, .training = true};
    StepState step_state = step_state_of(0);
    batches_rewind(&b, &step_state, &(Totals){0});
    unsigned long waits = 0;
    uint32_t told = 0;
    for (uint32_t step = 0; step < MANY; step++) {
        must(steps_make(&steps, step, &error) && notices_step(&b.notices, 1, &error), &error);
        const Notice *last = &b.notices.last;
        assert_true(last->state.step >= told && last->state.step <= step);
        assert_true(step + 1 - last->state.step <= AHEAD);
        assert_int_equal(last->state.updates, last->state.step);
        assert_true((last->totals.loss > 0.0) == (last->state.step > 0));
        told = last->state.step;
        if (step == 1) /* which was recorded */
            waits = cuda_host_waits();
    }
    assert_int_equal(cuda_host_waits(), waits);
    assert_true(told > 0);
    steps_forget(&steps);
    batches_destroy(&b);
    model_destroy(&model);
    device_close(&device);
    assert_nothing_left();
}

static char folder[64];

/* MNIST's files, of noise. */
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
    strcpy(folder, "/tmp/nnmf-streaming-XXXXXX");
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

/* nnmf-train on so many training images, one a step, to its end. */
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
    bool good = run_train(&settings, &signal, error);
    assert_nothing_left();
    return good;
}

/* However many steps an epoch has: there is no wait among them. */
static void no_wait_within_an_epoch(void **state)
{
    (void)state;
    Error error;
    must(run_training("few", 8, "0.01", &error), &error); /* as many as the board shows */
    unsigned long few = cuda_host_waits();
    must(run_training("many", 40, "0.01", &error), &error);
    assert_int_equal(cuda_host_waits(), few);
    assert_true(few > 0);
}

/* And yet a loss that is not finite is noticed in it. */
static void bad_loss_within_an_epoch(void **state)
{
    (void)state;
    enum { MANY = 150 };
    static float bad[FLOATS];
    Network network;
    Device device;
    Model model;
    Batches b;
    Error error = {0};
    memset(bad, 0xff, sizeof bad); /* not a number */
    build_small(&network_default_options, &network);
    open_cuda(NNMF_KERNEL_FUSED, PRECISION_FP32, &device);
    must(model_create(&network, &device, 1, 1, &model, &error), &error);
    must(model_write(&model, model.parameters, bad, &error), &error);
    must(load_small(&device, MANY, 0, MANY, network.input, 1, 1, &b, &error), &error);
    Steps steps = {.model = &model, .batches = &b, .training = true};
    StepState step_state = step_state_of(0);
    batches_rewind(&b, &step_state, &(Totals){0});
    uint32_t step = 0;
    for (; step < MANY && !b.notices.last.totals.first_nonfinite_step; step++)
        must(steps_make(&steps, step, &error) && notices_step(&b.notices, 1, &error), &error);
    assert_true(step < MANY);
    assert_int_equal(b.notices.last.totals.first_nonfinite_step, 1);
    steps_forget(&steps);
    batches_destroy(&b);
    model_destroy(&model);
    device_close(&device);
    assert_nothing_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(same_bits_streamed, reset),
        cmocka_unit_test_setup(only_what_does_not_fit, reset),
        cmocka_unit_test_setup(notices_follow, reset),
        cmocka_unit_test_setup_teardown(no_wait_within_an_epoch, make_data, remove_data),
        cmocka_unit_test_setup(bad_loss_within_an_epoch, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
