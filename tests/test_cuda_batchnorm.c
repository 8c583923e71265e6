/* Batch norm as one cooperative kernel or as two kernels; emulated (cuda_host/), which can shuffle
 * the order of threads. */
#include "compared_training.h"

#include "nnmf/philox.h"

#include <math.h>

enum { NORM_ROWS = 1000, NORM_CHANNELS = 21, NORM_FLOATS = NORM_ROWS * NORM_CHANNELS };

typedef struct Norm {
    float out[NORM_FLOATS], din[NORM_FLOATS];
    float mean[NORM_CHANNELS], rstd[NORM_CHANNELS];
    float dweight[NORM_CHANNELS], dbias[NORM_CHANNELS];
} Norm;

/* Element i of the input. */
static float norm_element(size_t i, float offset)
{
    return offset + philox_uniform(noise((uint32_t)i));
}

/* Runs a batch norm of noise forward and backward, twice, so that the barrier is reused. */
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

/* One kernel with several chunks of rows and blocks of columns gives the same bits in any order of
 * blocks and threads. Two kernels differ only in the order of the sums. */
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

/* The GPU reports that all blocks fit but refuses the launch: two kernels are used from then on. */
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

/* With a mean of over a thousand standard deviations, float sums would lose the variance. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(batch_norm_in_one, reset),
        cmocka_unit_test_setup(refused_cooperative_launches, reset),
        cmocka_unit_test_setup(batch_norm_of_large_means, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
