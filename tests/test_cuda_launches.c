/* The kernels that the CUDA back end launches for a step, and the state that recorded launches
 * depend on; emulated (cuda_host/). */
#include "small_training.h"

#include <math.h>

/* Records a step of a full batch and one of the smaller last batch. Two layers use one kernel with
 * different amounts of shared memory: no launch may lower the limit that another was recorded with,
 * or the emulation aborts. */
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
    Steps steps;
    must(steps_create(&model, &batches, STEP_TRAIN, &steps, &error), &error);
    for (int epoch = 0; epoch < 2; epoch++) {
        StepState step_state = step_state_of(epoch * STEPS_AN_EPOCH);
        Totals totals;
        steps_reset(&steps, &step_state, &(Totals){0});
        for (uint32_t i = 0; i < STEPS_AN_EPOCH; i++)
            must(step_run(&steps, &error), &error);
        must(steps_read(&steps, NULL, &totals, &error), &error);
        assert_true(isfinite(totals.loss) && totals.first_nonfinite_step == 0);
    }
    steps_destroy(&steps);
    batches_destroy(&batches);
    model_destroy(&model);
    device_close(&device);
    assert_nothing_left();
}

/* Counts the kernels of a step of the published network, including cuBLAS's, because each launch
 * costs one or two microseconds and a step takes only a few hundred. After a change that saves
 * kernels, write the new number here. */
static void kernels_of_a_step(void **state)
{
    (void)state;
    enum {
        FORWARD = 1 + 6 + 6 + 6 + 4 + 1, /* weights, unfold, NNMF, batch norm, bias, softmax */
        PACKED = 2, /* w of layers 18 and 32 for tensor cores, if it is not kept on chip */
        LOSS = 1,
        /* Bias, batch norm, NNMF, unfold (two if windows overlap, in layer 14), weights. */
        BACKWARD = 4 + 6 + 6 + (4 + 2) + 1,
        NORMS = 6,            /* per direction; two kernels each without cooperative launches */
        PRODUCTS_FORWARD = 4, /* convolutions */
        PRODUCTS_BACKWARD = 2 * 4,
        BATCH_AND_UPDATE = 2 + 2, /* sample, augment; Adam, advance */
        ALL = BATCH_AND_UPDATE + FORWARD + LOSS + BACKWARD + PRODUCTS_FORWARD + PRODUCTS_BACKWARD,
    };
    assert_int_equal(ALL, 64); /* as in bench/README.md */
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
        Batches batches;
        Steps steps, tests;
        cuda_host_set_capability(clusters ? 9 : 8, clusters ? 0 : 9);
        cuda_host_set_shared_optin(clusters ? MAX_SHARED : USUAL_SHARED);
        cuda_host_set_cooperative(cooperative);
        open_cuda(NNMF_KERNEL_FUSED, (Precision)p, &device);
        must(model_create(&network, &device, 1, 1, &model, &error), &error);
        must(load_small(&device, 1, 0, 1, network.input, 1, 1, &batches, &error), &error);
        must(steps_create(&model, &batches, STEP_TRAIN, &steps, &error), &error);
        must(steps_create(&model, &batches, STEP_TEST, &tests, &error), &error);
        for (int training = 0; training <= 1; training++) {
            unsigned long launches = cuda_host_launches(), products = cuda_host_products();
            unsigned long together = cuda_host_cooperative_launches();
            int norms = training ? 2 * NORMS : NORMS;
            must(steps_warm_up(training ? &steps : &tests, &error), &error);
            assert_int_equal(cuda_host_launches() - launches,
                             FORWARD + LOSS + (packs ? PACKED : 0) + (training ? BACKWARD : 0) +
                                 (cooperative ? 0 : norms));
            assert_int_equal(cuda_host_cooperative_launches() - together, cooperative ? norms : 0);
            assert_int_equal(cuda_host_products() - products,
                             PRODUCTS_FORWARD + (training ? PRODUCTS_BACKWARD : 0));
        }
        /* A whole training step. */
        StepState step_state = step_state_of(0);
        steps_reset(&steps, &step_state, &(Totals){0});
        unsigned long before = cuda_host_launches() + cuda_host_products();
        must(step_run(&steps, &error), &error);
        must(steps_read(&steps, NULL, NULL, &error), &error);
        assert_int_equal(cuda_host_launches() + cuda_host_products() - before,
                         ALL + (packs ? PACKED : 0) + (cooperative ? 0 : 2 * NORMS));
        steps_destroy(&steps);
        steps_destroy(&tests);
        batches_destroy(&batches);
        model_destroy(&model);
        device_close(&device);
        assert_nothing_left();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(shared_memory_of_recordings, reset),
        cmocka_unit_test_setup(kernels_of_a_step, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
