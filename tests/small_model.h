/* A small network and its model on the plain device. Functions fail the test on an error. */
#ifndef SMALL_MODEL_H
#define SMALL_MODEL_H

#include "network/model.h"
#include "network/population.h"
#include "nnmf/device.h"

enum { BATCH = 5, INPUTS = BATCH * 8 * 8 * 2, CLASSES = 10 };

/* The default options, with the baseline's architecture. */
NetworkOptions baseline_options(void);

/* 8 x 8 pixels of 2 channels, three blocks, batches of BATCH. */
void build_small(const NetworkOptions *options, Network *network);
void open_model(const NetworkOptions *options, Network *network, Device *device, Model *model);
void close_model(Device *device, Model *model);

/* Allocates host memory with the layout of the parameters, by memory_allocate(). */
float *new_buffer(const Network *network);

/* Returns a uniform number in [0, 1), a function of `number`. */
double noise(uint32_t number);

/* Sets parameters that are neither zero nor one. */
void disturb(Model *model);

/* Gives the model population statistics near those of its images, and selects them. */
void give_statistics(Model *model);

/* Fails each allocation of `work` in turn, until it succeeds; returns the number of allocations. */
long fail_in_turn(bool (*work)(void *, Error *), void *context);

/* A model and its weights as a file's tensors. */
typedef struct Weights {
    Network network;
    Device device;
    Model model;
    float *host;
    Tensor tensors[MAX_PARAMETERS + MAX_POPULATION_TENSORS + 1];
    TensorFile file;
} Weights;

void open_weights(Weights *w);
void close_weights(Weights *w);

/* Asserts that loading fails with a text that contains `expected` and does not change the model. */
void assert_refused(Weights *w, const char *expected);

/* Loads the file of `context`, which is a Weights. */
bool load(void *context, Error *error);

/* Return the 2-norms of a - b and of a. */
double distance(const float *a, const float *b, size_t count);
double norm(const float *a, size_t count);

/* Fails the test if off > allowed; prints `off` if NNMF_TEST_VERBOSE is set. */
void assert_close(const char *device, const char *what, double off, double allowed);

#endif
