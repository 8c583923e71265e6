/*
 * What a training run writes to its event file (event_file.h) for TensorBoard. Steps are epochs as
 * in metrics.csv, and scalars are the values of its rows, rounded to float32.
 *
 *   loss/train                                      mean over the images, as printed
 *   accuracy/train, accuracy/test                   share of correct images, 0 to 1
 *   learning_rate/cnn_top, .../nnmf, .../batchnorm  after the epoch's schedule
 *   speed/images_per_second                         training images
 *   seconds/train, seconds/test
 *   samples/train                                   augmented images, before the first epoch
 *   weights/layer_4 (the first layer with weights)  after the epochs of tensorboard_shows_weights
 *   options                                         contents of config.json, as a table
 */
#ifndef NNMF_TENSORBOARD_H
#define NNMF_TENSORBOARD_H

#include "formats/event_file.h"
#include "network/model.h"
#include "run/epoch_result.h"
#include "training/steps.h"

#include <jansson.h>

/* Adds `config` (run_folder_config) as a table. */
bool tensorboard_add_options(EventFile *file, uint64_t epoch, const json_t *config, Error *error);

/* Adds images of the first batches of the first epoch, augmented. Leaves `train` within an epoch,
 * so call steps_reset before training. */
bool tensorboard_add_samples(EventFile *file, DatasetKind dataset, Steps *train, Error *error);

/* Adds the scalars of an epoch. */
bool tensorboard_add_scalars(EventFile *file, const EpochResult *result, size_t train_images,
                             size_t test_images, Error *error);

/* Returns whether the weights are drawn after this epoch: 0, 1, 2, 5, 10, 20, 50, 100 and so on.
 * They are few because TensorBoard by default shows ten pictures of a tag. */
bool tensorboard_shows_weights(uint32_t epoch);

/* If tensorboard_shows_weights(epoch), adds a picture of the weights that the first layer used in
 * the last forward pass. */
bool tensorboard_add_weights(EventFile *file, const Model *model, uint32_t epoch, Error *error);

#endif
