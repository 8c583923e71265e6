/* A small network and its model on the plain device, for tests: what a test cannot have fails it.
 */
#ifndef SMALL_MODEL_H
#define SMALL_MODEL_H

#include "network/model.h"
#include "network/population.h"
#include "nnmf/device.h"

enum { BATCH = 5, INPUTS = BATCH * 8 * 8 * 2, CLASSES = 10 };

/* The default options, but for the architecture. */
NetworkOptions baseline_options(void);

/* 8 x 8 pixels of 2 channels, three blocks, batches of BATCH. */
void build_small(const NetworkOptions *options, Network *network);
void open_model(const NetworkOptions *options, Network *network, Device *device, Model *model);
void close_model(Device *device, Model *model);

/* Host memory laid out like the parameters, from memory_allocate. */
float *new_buffer(const Network *network);

/* Uniform in [0, 1), by number. */
double noise(uint32_t number);

/* Parameters that are neither zero nor one. */
void disturb(Model *model);

/* Population statistics near those of the images in the model, which uses them from now on. */
void give_statistics(Model *model);

/* Fails each allocation in turn; `work` must fail until there are enough, which are counted. */
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

/* The file is refused with a text that contains `expected`, and the model is as before. */
void assert_refused(Weights *w, const char *expected);

/* Loads the file of `context`, Weights. */
bool load(void *context, Error *error);

/* 2-norms of a - b and of a. */
double distance(const float *a, const float *b, size_t count);
double norm(const float *a, size_t count);

/* Fails if `off` is more than allowed, and tells it with NNMF_TEST_VERBOSE. */
void assert_close(const char *device, const char *what, double off, double allowed);

#endif
