/*
 * The command and its options. One table (options.c) defines every option: name, section, type,
 * default, limits, help, and the commands that take it.
 */
#ifndef NNMF_SETTINGS_H
#define NNMF_SETTINGS_H

#include "data/dataset.h"
#include "network/model.h"
#include "nnmf/augment.h"
#include "nnmf/device.h"
#include "nnmf/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum Command {
    COMMAND_TRAIN = 1 << 0,
    COMMAND_EVAL = 1 << 1,
    COMMAND_TRACE = 1 << 2,
    COMMAND_INFO = 1 << 3,
    COMMAND_BENCH = 1 << 4,
    COMMAND_SHOW = 1 << 5,
    COMMAND_PREDICT = 1 << 6,
    COMMAND_STATISTICS = 1 << 7,
    COMMAND_ROBUSTNESS = 1 << 8,
} Command;

/* Image numbers, half open; end 0: up to the last image. */
typedef struct Range {
    size_t begin, end;
} Range;

typedef enum SettingsShow { SHOW_NOTHING, SHOW_HELP, SHOW_VERSION } SettingsShow;

typedef enum LogFormat { LOG_TEXT, LOG_JSON } LogFormat;

/* Capacities: bytes of a text, rows of the tables of options and commands. */
enum { SETTINGS_PATH = 4096, SETTINGS_OPTIONS = 128, SETTINGS_COMMANDS = 31 };

typedef struct Settings {
    Command command;
    bool named;        /* whether the command was named; by default it is train */
    SettingsShow show; /* a text to show instead of running the command */

    /* The arguments besides options. */
    int argument_count;
    char **arguments;

    DatasetKind dataset;
    char data[SETTINGS_PATH];
    Range train_range, test_range;
    DatasetSplit split;
    int64_t offset;

    char out[SETTINGS_PATH], resume[SETTINGS_PATH];
    char init[SETTINGS_PATH], weights[SETTINGS_PATH];
    bool override;
    char log_steps[SETTINGS_PATH], probabilities[SETTINGS_PATH];

    int64_t samples, reconstruct, layer; /* show */
    bool confusion;

    int kind; /* robustness: 0 all, else 1 + PerturbationKind */
    char levels[SETTINGS_PATH];
    int64_t repetitions, images;

    int64_t epochs, max_steps, batch_size, batches_at_once, steps, threads;
    uint64_t seed;
    double lr_nnmf, lr_cnn_top, lr_batchnorm, lr_limit;
    AugmentKind augment;
    bool no_shuffle, no_population;

    Architecture arch;
    BatchnormStatistics bn_statistics;
    int64_t iterations;
    double epsilon, beta, loss_mse, loss_kl;
    PositiveFunction positive_function;
    LocalLearning local_learning;
    LossKind loss;

    DeviceKind device;
    int cpu; /* index into cpu_instruction_set_names */
    NnmfKernel nnmf_kernel;
    Precision precision;

    bool quiet;
    LogFormat log_format;

    /* By position in the table: whether the option was given on the command line. */
    bool given[SETTINGS_OPTIONS];
} Settings;

/* Parses the `count` words after the program's name. --help and --version set `show` and end the
 * parsing. Reorders `words`, which must outlive `settings`. */
bool settings_parse(int count, char **words, Settings *settings, Error *error);

/* Fails if a given option does not apply to the architecture, the device or the other options, or
 * if an output file would replace an input. settings_parse has checked this already; it has to be
 * checked again when a config.json or a weights file changed the settings. */
bool settings_check(const Settings *settings, Error *error);

/* The options that describe the network. */
NetworkOptions settings_network(const Settings *settings);

/* Opens the requested device. */
bool settings_open_device(const Settings *settings, Device *device, Error *error);

/* Returns the data folder: --data, else $NNMF_DATA, else data/<dataset>, written to `buffer`. */
const char *settings_data_folder(const Settings *settings, char *buffer, size_t capacity);

#endif
