/* The NNMF kernels: different amounts of shared memory, clusters, several batches at once, and the
 * backward pass; emulated (cuda_host/), which can shuffle the order of threads. */
#include "small_training.h"

#include "nnmf/philox.h"

#include <stdlib.h>
#include <string.h>

/* Computes h of NNMF. x and w are noise, x from its row `first_row` on. */
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

/* The same with a fused kernel and `shared` bytes of shared memory. */
static void nnmf(size_t shared, Precision precision, const NnmfParams *shape, float *h)
{
    cuda_host_set_shared_optin(shared);
    nnmf_from(NNMF_KERNEL_FUSED, precision, shape, 0, h);
}

/* With all of w in shared memory or one block of it at a time, the sums have the same order if the
 * number of groups of threads that share the rows is the same. With more shared memory and many
 * outputs there are more groups. If not even a block fits, cuBLAS is used. */
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
        nnmf(MAX_SHARED, PRECISION_FP32, &shapes[i], other);
        if (shapes[i].outputs <= 32 || shapes[i].outputs > 128)
            assert_memory_equal(usual, other, count * sizeof *usual);
        assert_within("227 KB", "h of shape", (int)i, relative_distance(other, usual, count), 1e-6);
        nnmf(MIN_SHARED, PRECISION_FP32, &shapes[i], other);
        assert_within("48 KB", "h of shape", (int)i, relative_distance(other, usual, count), 1e-6);
        /* On tensor cores the warps' shares do not depend on shared memory. */
        nnmf(USUAL_SHARED, PRECISION_3XTF32, &shapes[i], other);
        assert_within("3xTF32", "h of shape", (int)i, relative_distance(other, usual, count), 2e-6);
        nnmf(MAX_SHARED, PRECISION_3XTF32, &shapes[i], usual);
        if (shapes[i].outputs <= 128)
            assert_memory_equal(usual, other, count * sizeof *usual);
    }
}

/* Blocks of a cluster share rows if every block then has a multiprocessor. The sums may have
 * another order than without clusters, but the bits are the same in any order of threads. */
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
            nnmf(MAX_SHARED, (Precision)p, &shapes[i], alone);
            assert_int_equal(cuda_host_cluster_launches(), 0);
            cuda_host_set_capability(9, 0);
            nnmf(MAX_SHARED, (Precision)p, &shapes[i], together);
            cuda_host_set_seed(7);
            nnmf(MAX_SHARED, (Precision)p, &shapes[i], again);
            assert_int_equal(cuda_host_cluster_launches(), 2);
            cuda_host_reset();
            assert_memory_equal(together, again, count * sizeof *again);
            assert_within(precision_names[p], "h of shape", (int)i,
                          relative_distance(together, alone, count), allowed);
        }
}

/* On a part of a GPU with clusters but without room for one, the other variants run, as on a GPU
 * without clusters. */
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
            nnmf(MAX_SHARED, (Precision)p, &shapes[i], usual);
            cuda_host_set_capability(9, 0);
            cuda_host_set_largest_cluster(1);
            nnmf(MAX_SHARED, (Precision)p, &shapes[i], without);
            assert_int_equal(cuda_host_cluster_launches(), 0);
            assert_int_equal(cuda_host_products(), 0);
            assert_memory_equal(usual, without, count * sizeof *usual);
            cuda_host_reset();
        }
}

/* Each of several batches at once has the same bits as alone, whichever kernel would be chosen for
 * the rows of all. There may be more clusters than can run at the same time. */
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
            cuda_host_set_shared_optin(MAX_SHARED);
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

/* Computes dx and dw of NNMF, stored consecutively. x, h, dh and w are noise; x and dx start
 * `shift` floats after the start of their memory. */
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

/* The kernel reads and writes four features at once if they are aligned, else one by one. The bits
 * are the same, in any order of blocks and threads. */
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
        assert_int_equal(cuda_host_launches(), 2); /* one checks that the GPU can be used */
        assert_int_equal(cuda_host_products(), 0);
        for (uint64_t seed = 0; seed < 4; seed++) {
            cuda_host_set_seed(seed);
            nnmf_backward(&shapes[i], seed % 2, gradients);
            assert_memory_equal(gradients, expected, count * sizeof *expected);
        }
        cuda_host_reset();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(shared_memory_of_nnmf, reset),
        cmocka_unit_test_setup(clusters_of_nnmf, reset),
        cmocka_unit_test_setup(clusters_without_room, reset),
        cmocka_unit_test_setup(batches_at_once, reset),
        cmocka_unit_test_setup(backward_of_nnmf, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
