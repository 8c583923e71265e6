/* Trains a small network on the emulated CUDA device and on the CPU, and compares the two. */
#ifndef NNMF_TESTS_COMPARED_TRAINING_H
#define NNMF_TESTS_COMPARED_TRAINING_H

#include "small_training.h"

enum { STEPS = 40 }; /* at most, of a plan */

typedef struct Plan {
    NetworkOptions options;
    AugmentKind augment;
    bool shuffle;
    int steps;
} Plan;

/* Without padding, so that two can be compared as bytes. */
typedef struct StepOutcome {
    double loss;
    uint64_t correct;
    uint32_t indices[BATCH];
    Augmentation augmentations[BATCH];
} StepOutcome;

typedef struct Outcome {
    StepOutcome steps[STEPS];
    uint64_t correct; /* in a test afterwards */
    float probabilities[(END - FIRST) * CLASSES];
    float parameters[FLOATS];
} Outcome;

/* Shuffled and augmented, with fewer iterations than by default, for speed. */
Plan usual_plan(int steps);

void open_cpu(Device *device);

/* Trains, then tests; also checks that each size of batch is recorded once and replayed. */
void train(const Device *device, const Plan *plan, Outcome *o);

void train_on_cuda(NnmfKernel kernel, const Plan *plan, Outcome *o);

void train_on_cpu(const Plan *plan, Outcome *o);

/* Both trained on the same images, augmented in the same way. */
void assert_same_images(const Outcome *a, const Outcome *b);

/* Relative, of a step. */
double loss_distance(const Outcome *a, const Outcome *b, int step);

/* Trains with both kernels and compares every step, the weights and the test with the CPU's;
 * `which` names the plan in messages. */
void check_both_kernels(const char *which, const Plan *plan);

#endif
