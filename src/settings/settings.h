/*
 * What the user asked for. One table (options.c) defines every option: name, section,
 * type, default, limits, help, and the commands that take it; the parser of the command line, a
 * run's config.json, the help, the manual page and the shells' completions are made from it.
 */
#ifndef NNMF_SETTINGS_H
#define NNMF_SETTINGS_H

#include "data/dataset.h"
#include "network/network.h"
#include "nnmf/augment.h"
#include "nnmf/device.h"
#include "nnmf/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum Command {
    COMMAND_TRAIN = 1,
    COMMAND_EVAL = 2,
    COMMAND_TRACE = 4,
    COMMAND_INFO = 8,
    COMMAND_BENCH = 16,
    COMMAND_SHOW = 32,
    COMMAND_PREDICT = 64,
    COMMAND_STATISTICS = 256,
    COMMAND_ROBUSTNESS = 512,
} Command;

/* Image numbers, half open; end 0: to the last image. */
typedef struct Range {
    size_t begin, end;
} Range;

typedef enum SettingsShow { SHOW_NOTHING, SHOW_HELP, SHOW_VERSION } SettingsShow;

typedef enum LogFormat { LOG_TEXT, LOG_JSON } LogFormat;

/* SETTINGS_OPTIONS and SETTINGS_COMMANDS: at least as many as the table has. */
enum { SETTINGS_PATH = 4096, SETTINGS_OPTIONS = 128, SETTINGS_COMMANDS = 31 };

typedef struct Settings {
    Command command;
    bool named;        /* was the command named? */
    SettingsShow show; /* a text to show in place of the command's work */

    /* What stood beside the options, where the command takes such. */
    int argument_count;
    char **arguments;

    int dataset; /* DatasetKind */
    char data[SETTINGS_PATH];
    Range train_range, test_range;
    int split; /* DatasetSplit */
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
    int augment; /* AugmentKind */
    bool no_shuffle, no_population;

    int arch;          /* Architecture */
    int bn_statistics; /* BatchnormStatistics */
    int64_t iterations;
    double epsilon, beta, loss_mse, loss_kl;
    int positive_function, local_learning, loss;

    int device;      /* DeviceKind */
    int cpu;         /* index into cpu_instruction_set_names */
    int nnmf_kernel; /* NnmfKernel */
    int precision;   /* Precision */

    bool quiet;
    int log_format; /* LogFormat */

    /* By position in the table: given on the command line? */
    bool given[SETTINGS_OPTIONS];
} Settings;

/* Parses the `count` words behind the program's name. For --help and --version only sets `show`,
 * and looks at nothing behind them. Reorders `words`, which have to outlive `settings`. */
bool settings_parse(int count, char **words, Settings *settings, Error *error);

/* Fails if an option was given that means nothing to the architecture or the device, or if a file
 * that is written is one that is read. Parsing has checked it; a run's config.json, or a weights
 * file, may name another architecture or device. */
bool settings_check(const Settings *settings, Error *error);

/* The network's part. */
NetworkOptions settings_network(const Settings *settings);

/* Opens the device that was asked for. */
bool settings_open_device(const Settings *settings, Device *device, Error *error);

/* The data folder: --data, else $NNMF_DATA, else data/<dataset>. */
const char *settings_data_folder(const Settings *settings, char *buffer, size_t capacity);

#endif
