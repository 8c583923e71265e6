/*
 * What the user asked for. One table (src/commands/settings.c) defines every option: name, type,
 * default, limits, help, and the commands that take it; the parser of the command line, the help
 * text and a run's config.json are made from it.
 */
#ifndef NNMF_SETTINGS_H
#define NNMF_SETTINGS_H

#include "nnmf/augment.h"
#include "nnmf/dataset.h"
#include "nnmf/device.h"
#include "nnmf/error.h"
#include "nnmf/network.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum Command {
    COMMAND_TRAIN = 1,
    COMMAND_EVAL = 2,
    COMMAND_TRACE = 4,
    COMMAND_INFO = 8,
    COMMAND_BENCH = 16,
} Command;

/* Image numbers, half open; end 0: to the last image. */
typedef struct Range {
    size_t begin, end;
} Range;

enum { SETTINGS_PATH = 4096 };

typedef struct Settings {
    Command command;

    int dataset; /* DatasetKind */
    char data[SETTINGS_PATH];
    Range train_range, test_range;
    int split; /* DatasetSplit */
    int64_t offset;

    char out[SETTINGS_PATH], resume[SETTINGS_PATH];
    char init[SETTINGS_PATH], weights[SETTINGS_PATH];
    char log_steps[SETTINGS_PATH], probabilities[SETTINGS_PATH];

    int64_t epochs, max_steps, batch_size, steps, threads;
    uint64_t seed;
    double lr_nnmf, lr_cnn_top, lr_batchnorm, lr_limit;
    int augment; /* AugmentKind */
    bool no_shuffle;

    int64_t iterations;
    double epsilon, beta, loss_mse, loss_kl;
    int positive_function, local_learning, loss;

    int device;      /* DeviceKind */
    int nnmf_kernel; /* NnmfKernel */
    int precision;   /* Precision */

    /* By position in the table: given on the command line? */
    uint64_t given;
} Settings;

/* Parses `arguments` (without the program's and the command's name) for `command`. Prints the help
 * and exits for --help, the version for --version. */
bool settings_parse(Command command, int count, char **arguments, Settings *settings, Error *error);

/* The network's part. */
NetworkOptions settings_network(const Settings *settings);

/* Opens the device that was asked for. */
bool settings_open_device(const Settings *settings, Device *device, Error *error);

/* The data folder: --data, else $NNMF_DATA, else data/<dataset>. */
const char *settings_data_folder(const Settings *settings, char *buffer, size_t capacity);

/* Every option that makes up a training run, by name; NULL when out of memory. */
json_t *settings_to_json(const Settings *settings);

/* For --resume: replaces the options that belong to a run by those of its config.json; those that
 * may differ stay when they were given. An option that was given and may not differ is an error. */
bool settings_from_json(const json_t *json, const char *path, Settings *settings, Error *error);

#endif
