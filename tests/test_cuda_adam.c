/* Adam's kernel, and the rates that `advance` prepares for it in the step state; emulated
 * (cuda_host/). */
#include "small_training.h"

#include "nnmf/philox.h"

#include <math.h>

enum { RATED = 300 }; /* parameters */

/* Runs two steps of Adam from m = v = 0: one with the step state `first`, and one with `second` if
 * `uploaded`, else with the state that `advance` makes of `first`. result: RATED parameters. */
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

/* `advance` prepares the rates that Adam would compute from the step state, and Adam does not use
 * them for another step state. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rates_of_adam, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
