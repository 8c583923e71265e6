/* Trains a small network on the emulated CUDA device and on the CPU, and compares the two. */
#ifndef NNMF_TESTS_COMPARED_TRAINING_H
#define NNMF_TESTS_COMPARED_TRAINING_H

#include "small_training.h"

enum { STEPS = 40 }; /* maximum of a plan */

typedef struct Plan {
    NetworkOptions options;
    AugmentKind augment;
    bool shuffle;
    int steps;
} Plan;

/* Has no padding, so that memcmp can compare two. */
typedef struct StepOutcome {
    double loss;
    uint64_t correct;
    uint32_t indices[BATCH];
    Augmentation augmentations[BATCH];
} StepOutcome;

typedef struct Outcome {
    StepOutcome steps[STEPS];
    uint64_t correct; /* in a test after training */
    float probabilities[(END - FIRST) * CLASSES];
    float parameters[FLOATS];
} Outcome;

/* Returns a plan with shuffling, augmentation and, for speed, few iterations. */
Plan usual_plan(int steps);

void open_cpu(Device *device);

/* Trains, then tests; also asserts that each size of batch is recorded once and replayed. */
void train(const Device *device, const Plan *plan, Outcome *o);

void train_on_cuda(NnmfKernel kernel, const Plan *plan, Outcome *o);

void train_on_cpu(const Plan *plan, Outcome *o);

/* Asserts that both trained on the same images with the same augmentation. */
void assert_same_images(const Outcome *a, const Outcome *b);

/* Returns the relative distance of a step's losses. */
double loss_distance(const Outcome *a, const Outcome *b, int step);

/* Trains with both kernels and compares every step, the weights and the test with the CPU's;
 * `which` names the plan in messages. */
void check_both_kernels(const char *which, const Plan *plan);

#endif
