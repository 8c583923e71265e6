/*
 * Population statistics: each batch norm's mean and variance over all training images, in the
 * place of those of the batch at hand, so that what the network says of an image does not depend
 * on the images beside it.
 *
 * They are measured in one pass over the training images in file order, centre crop, in batches of
 * the batch size, with the weights as they are. In that pass every batch norm works with the
 * statistics of its batch, as in training, and so the input of each is what training shows it.
 * For a batch norm with input x and channel c, over all positions of all images:
 * mean = sum(x) / count, variance = sum(x^2) / count - mean^2. That is the biased variance of all
 * values, not the mean of the batches' variances. Sums are double.
 *
 * In a weights file they are tensors (channels) with the names that a torch.nn.BatchNorm2d gives
 * its buffers: "5.running_mean" and "5.running_var" beside "5.weight". Given statistics mean the
 * same in both programs: (x - mean) / sqrt(variance + 1e-5) * weight + bias.
 */
#ifndef NNMF_POPULATION_H
#define NNMF_POPULATION_H

#include "network/model.h"

enum { MAX_POPULATION_TENSORS = 2 * MAX_LAYERS, POPULATION_NAME = 32 };

/* Every forward pass from here on adds to the sums, which begin at zero. */
bool population_begin(Model *model, Error *error);

/* Ends that. images: how many there were; the statistics now belong to the model's weights. 0: too
 * few were seen, nothing is changed. */
bool population_end(Model *model, size_t images, Error *error);

/* Lets the batch norms use these statistics from now on. Population: an error naming `path`, where
 * the weights are from, if there are none. */
bool population_use(Model *model, BatchnormStatistics statistics, const char *path, Error *error);

/* Is a tensor of this name one of the statistics of the network? */
bool population_has_tensor(const Network *network, const char *name);

/* Statistics from a weights file's tensors. Where it has none the model has none afterwards; some
 * but not all, or a value that cannot be, is an error. `path` is for messages. */
bool population_load(Model *model, const TensorFile *file, const char *path, Error *error);

/* The model's statistics as tensors for a file. `host` (network->population_elements) and `names`
 * are what they point to. *count is 0 if the model has none. */
bool population_tensors(const Model *model, float *host,
                        char names[MAX_POPULATION_TENSORS][POPULATION_NAME], Tensor *tensors,
                        size_t *count, Error *error);

#endif
