/* What the tests of the emulated CUDA device train: a small network on a few images of noise. */
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
    SLACK = 2,        /* by which images are larger than the crops, in pixels */
    SIDE = 8 + SLACK, /* of the small network's */
    IMAGES = 30,
    FIRST = 3,
    END = 27, /* four batches of 5 and one of 4 */
    STEPS_AN_EPOCH = 5,
    FLOATS = 8192, /* at least those of the small network's parameters */
    CLASSES = DATASET_CLASSES,
};

/* Shared memory that a block may opt in to, in bytes, of different GPUs. */
enum { LEAST_SHARED = 48 << 10, USUAL_SHARED = 99 << 10, MOST_SHARED = 227 << 10 };

extern const NnmfKernel kernels[2];

/* Fails the test with the error's text. */
void must(bool good, const Error *error);

/* The emulated device, which must open. */
void open_cuda(NnmfKernel kernel, Precision precision, Device *device);

/* All of the device's memory must have been released. */
void assert_nothing_left(void);

/* A test's setup. */
int reset(void **state);

/* A random word for each number. */
uint32_t noise(uint32_t number);

/* For crops of 8 x 8 x 3, with odd channels and an odd stride. */
void build_small(const NetworkOptions *options, Network *network);

/* Images begin..end-1 of `count`, of noise, for a network with 3 channels and a square input;
 * at_once as of batches_create. */
bool load_small(const Device *device, size_t count, size_t begin, size_t end, Extent input,
                int batch, int at_once, Batches *batches, Error *error);

/* At the start of the epoch that comes after `steps_made` steps. */
StepState step_state_of(int steps_made);

/* |a - b| / |b| */
double relative_distance(const float *a, const float *b, size_t count);

/* `off` must be at most `bound`; with NNMF_TEST_VERBOSE set, prints both. */
void assert_within(const char *which, const char *what, int step, double off, double bound);

#endif
