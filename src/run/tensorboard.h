/*
 * What a training run shows in TensorBoard, as events of its file (event_file.h). Steps are epochs,
 * as metrics.csv counts them; a scalar of an epoch is what its row says, rounded to float32.
 *
 *   loss/train                                      as printed: the mean over the images
 *   accuracy/train, accuracy/test                   correct images of all, 0 to 1
 *   learning_rate/cnn_top, .../nnmf, .../batchnorm  after the epoch's schedule
 *   speed/images_per_second                         training images
 *   seconds/train, seconds/test
 *   samples/train                                   before the first epoch: augmented images
 *   weights/layer_4 (the first that learns them)    after the epochs of tensorboard_shows_weights
 *   options                                         text: what config.json says
 */
#ifndef NNMF_TENSORBOARD_H
#define NNMF_TENSORBOARD_H

#include "formats/event_file.h"
#include "network/model.h"
#include "run/epoch_result.h"
#include "training/steps.h"

#include <jansson.h>

/* What a run is: `config` (run_folder_config) as a table. */
bool tensorboard_add_options(EventFile *file, uint64_t epoch, const json_t *config, Error *error);

/* The first batches of the first epoch as they are augmented. Leaves `train` in the middle of an
 * epoch: steps_reset is due before it trains. */
bool tensorboard_add_samples(EventFile *file, DatasetKind dataset, Steps *train, Error *error);

/* The scalars of an epoch. */
bool tensorboard_add_scalars(EventFile *file, const EpochResult *result, size_t train_images,
                             size_t test_images, Error *error);

/* After epochs 0, 1, 2, 5, 10, 20, 50, 100 and so on: TensorBoard shows ten pictures of a tag
 * unless it is told otherwise. */
bool tensorboard_shows_weights(uint32_t epoch);

/* The weights that the first layer computed with in the last forward pass, if
 * tensorboard_shows_weights(epoch). */
bool tensorboard_add_weights(EventFile *file, const Model *model, uint32_t epoch, Error *error);

#endif
