#include "small_training.h"

#include "nnmf/memory.h"
#include "nnmf/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const NnmfKernel kernels[2] = {NNMF_KERNEL_FUSED, NNMF_KERNEL_CUBLAS};

void must(bool good, const Error *error)
{
    if (!good)
        fail_msg("%s", error->text);
}

void open_cuda(NnmfKernel kernel, Precision precision, Device *device)
{
    Error error = {0};
    DeviceOptions options = {.kind = DEVICE_CUDA, .cuda = {kernel, precision}};
    must(device_open(device, &options, &error), &error);
}

void assert_nothing_left(void)
{
    assert_int_equal(cuda_host_memory_used(), 0);
}

int reset(void **state)
{
    (void)state;
    cuda_host_reset();
    return 0;
}

uint32_t noise(uint32_t number)
{
    return draw(8, DRAW_WEIGHTS, 1, 0, number).v[0];
}

void build_small(const NetworkOptions *options, Network *network)
{
    static const Block blocks[] = {{5, 3, 1, true}, {4, 2, 2, false}, {10, 0, 1, true}};
    Error error = {0};
    must(network_build((Extent){8, 8, 3}, blocks, (int)COUNT(blocks), options, network, &error),
         &error);
    assert_true(network->buffer_elements <= FLOATS);
}

bool load_small(const Device *device, size_t count, size_t begin, size_t end, Extent input,
                int batch, int at_once, Batches *batches, Error *error)
{
    int side = input.height + SLACK;
    size_t bytes = count * (size_t)(3 * side * side);
    ImageSet images = {.count = count, .channels = 3, .height = side, .width = side};
    images.pixels = memory_allocate(bytes, 1, "pixels", error);
    images.labels = memory_allocate(count, 1, "labels", error);
    assert_true(images.pixels && images.labels);
    for (size_t i = 0; i < bytes; i++)
        images.pixels[i] = (uint8_t)(noise((uint32_t)i) >> 24);
    for (size_t i = 0; i < count; i++)
        images.labels[i] = (uint8_t)(i * 7 % CLASSES);
    bool created = batches_create(device, &images, begin, end, input, batch, at_once, (Sampling){0},
                                  batches, error);
    image_set_free(&images);
    return created;
}

StepState step_state_of(int steps_made)
{
    return (StepState){.epoch = (uint32_t)(steps_made / STEPS_AN_EPOCH),
                       .updates = (uint64_t)steps_made,
                       .learning_rates = {1e-3, 1e-2, 1e-3}};
}

double relative_distance(const float *a, const float *b, size_t count)
{
    double sum = 0.0, size = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(sum / fmax(size, 1e-30));
}

void assert_within(const char *which, const char *what, int step, double off, double bound)
{
    if (getenv("NNMF_TEST_VERBOSE"))
        printf("%s: %s %d: %.1e of %.1e\n", which, what, step, off, bound);
    if (!(off <= bound))
        fail_msg("%s: %s %d off by %.2g, allowed %.2g", which, what, step, off, bound);
}
