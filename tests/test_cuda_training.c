/* Training on the CUDA back end, recorded and replayed: compared with the CPU, and bit for bit with
 * repeated runs. Emulated (cuda_host/), which can shuffle the order of threads. */
#include "compared_training.h"

#include "nnmf/philox.h"

#include <string.h>

/* ---- compared with the CPU ---- */

static void forty_steps(void **state)
{
    (void)state;
    Plan plan = usual_plan(STEPS);
    plan.options.iterations = network_default_options.iterations;
    check_both_kernels("augment image", &plan);
    plan = usual_plan(STEPS);
    plan.augment = AUGMENT_REFERENCE;
    check_both_kernels("augment reference", &plan);
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

/* Each batch norm then uses two kernels, forward and backward. */
static void without_cooperative_launches(void **state)
{
    (void)state;
    Plan plan = usual_plan(2 * STEPS_AN_EPOCH);
    cuda_host_set_cooperative(false);
    check_both_kernels("two kernels", &plan);
    assert_int_equal(cuda_host_cooperative_launches(), 0);
}

/* Computes dimages (BATCH, 8, 8, 3) of a batch of noise. */
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
    model_backward(&model, BATCH, step_state, totals, gradient);
    ops->download(device->backend, dimages, gradient, bytes);
    must(ops->finish(device->backend, &error), &error);
    ops->release(device->backend, gradient);
    ops->release(device->backend, step_state);
    ops->release(device->backend, totals);
    model_destroy(&model);
}

/* The gradient that the gradient-sign perturbation uses. */
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

/* TF32 factors have 10 bits: close to the CPU's result but not equal. */
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
        /* First the same order, then other orders of blocks, threads and lanes. */
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            cuda_host_set_seed(seed);
            train_on_cuda(kernels[k], &plan, &again);
            if (memcmp(&first, &again, sizeof first) != 0)
                fail_msg("%s: another result with seed %d", nnmf_kernel_names[k], (int)seed);
        }
    }
}

static void shared_memory_of_training(void **state)
{
    (void)state;
    static const size_t sizes[] = {MIN_SHARED, MAX_SHARED};
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(forty_steps, reset),
        cmocka_unit_test_setup(without_shuffling, reset),
        cmocka_unit_test_setup(every_variant, reset),
        cmocka_unit_test_setup(without_cooperative_launches, reset),
        cmocka_unit_test_setup(gradient_of_images, reset),
        cmocka_unit_test_setup(tf32, reset),
        cmocka_unit_test_setup(same_bits, reset),
        cmocka_unit_test_setup(shared_memory_of_training, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
