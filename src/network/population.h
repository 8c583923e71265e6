/*
 * Population statistics: each batch norm's mean and variance over all training images, used instead
 * of those of the current batch, so that the output for an image does not depend on the other
 * images of its batch.
 *
 * They are measured in one pass over the training images in file order, with centre crops, the
 * training's batch size and unchanged weights. In this pass every batch norm uses the statistics of
 * its batch, so that its input is what it is in training. For a batch norm with input x and channel
 * c, over all positions of all images: mean = sum(x) / count, variance = sum(x^2) / count - mean^2.
 * That is the biased variance of all values, not the mean of the batches' variances, and the sums
 * are double.
 *
 * In a weights file they are tensors (channels) named like the buffers of a torch.nn.BatchNorm2d,
 * "5.running_mean" and "5.running_var" beside "5.weight". PyTorch applies them in the same way:
 * (x - mean) / sqrt(variance + 1e-5) * weight + bias.
 */
#ifndef NNMF_POPULATION_H
#define NNMF_POPULATION_H

#include "network/model.h"

enum { MAX_POPULATION_TENSORS = 2 * MAX_LAYERS, POPULATION_NAME = 32 };

/* Starts measuring: clears the sums, to which every forward pass then adds. */
bool population_begin(Model *model, Error *error);

/* Ends measuring after `images` images; the statistics are now those of the model's weights. With 0
 * the measurement is abandoned and the statistics do not change. */
bool population_end(Model *model, size_t images, Error *error);

/* Selects the statistics that batch norms use. Error: STATISTICS_POPULATION, but the model has
 * none; the message names `path`, the weights file. */
bool population_use(Model *model, BatchnormStatistics statistics, const char *path, Error *error);

/* Returns whether a tensor of this name holds statistics of the network. */
bool population_has_tensor(const Network *network, const char *name);

/* Loads the statistics from a weights file's tensors; if it has none, the model then has none.
 * Errors: some are missing, a wrong shape, a value that is not finite, a negative variance. `path`
 * is for messages. */
bool population_load(Model *model, const TensorFile *file, const char *path, Error *error);

/* Fills `tensors` with the model's statistics, for a file. They point into `host`
 * (network->population_elements) and `names`. *count is 0 if the model has none. */
bool population_tensors(const Model *model, float *host,
                        char names[MAX_POPULATION_TENSORS][POPULATION_NAME], Tensor *tensors,
                        size_t *count, Error *error);

#endif
