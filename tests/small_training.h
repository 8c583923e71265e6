/* A small network and a few images of noise, for tests of training on the emulated CUDA device. */
#ifndef NNMF_TESTS_SMALL_TRAINING_H
#define NNMF_TESTS_SMALL_TRAINING_H

#include "cuda_host.h"
#include "nnmf/device.h"
#include "training/batches.h"
#include "training/steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum {
    BATCH = 5,
    SLACK = 2,        /* pixels by which images are larger than crops */
    SIDE = 8 + SLACK, /* of the small network's images */
    IMAGES = 30,
    FIRST = 3,
    END = 27, /* four batches of 5 and one of 4 */
    STEPS_AN_EPOCH = 5,
    FLOATS = 8192, /* at least as many as the small network's parameters */
    CLASSES = DATASET_CLASSES,
};

/* Maximum shared memory of a block with opt-in on different GPUs, in bytes. */
enum { MIN_SHARED = 48 << 10, USUAL_SHARED = 99 << 10, MAX_SHARED = 227 << 10 };

extern const NnmfKernel kernels[2];

/* Fails the test with the error's text unless `good`. */
void must(bool good, const Error *error);

/* Opens the emulated device. */
void open_cuda(NnmfKernel kernel, Precision precision, Device *device);

/* Asserts that all device memory is free again. */
void assert_nothing_left(void);

/* Setup of a test: resets the emulation. */
int reset(void **state);

/* Returns a random word, a function of `number`. */
uint32_t noise(uint32_t number);

/* Builds a network of 5, 4 and 10 channels for crops of 8 x 8 x 3. */
void build_small(const NetworkOptions *options, Network *network);

/* Creates batches of images begin..end-1 of `count` noise images, for a network with 3 channels and
 * a square input; at_once: see batches_create. */
bool load_small(const Device *device, size_t count, size_t begin, size_t end, Extent input,
                int batch, int at_once, Batches *batches, Error *error);

/* Returns the step state at the start of the epoch after `steps_made` steps. */
StepState step_state_of(int steps_made);

/* Returns |a - b| / |b|. */
double relative_distance(const float *a, const float *b, size_t count);

/* Asserts that `off` is at most `bound`. With NNMF_TEST_VERBOSE set, prints both. */
void assert_within(const char *which, const char *what, int step, double off, double bound);

#endif
