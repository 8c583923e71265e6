#include "settings/options.h"

#include "network/model.h"
#include "robustness/perturbation.h"

#include <string.h>

/* ---- commands ---- */

const CommandSpec command_specs[] = {
    {COMMAND_TRAIN, "train", NULL, "Trains the deep NNMF network and keeps the run in a folder."},
    {COMMAND_EVAL, "eval", NULL, "Tests a weights file."},
    {COMMAND_TRACE, "trace", NULL,
     "One batch forward and backward: writes outputs and gradients; changes no weight."},
    {COMMAND_INFO, "info", NULL,
     "Prints the network's layers and parameter counts, and which kernel each NNMF layer takes on "
     "the device."},
    {COMMAND_BENCH, "bench", NULL,
     "Times the training step and the test batch, operation by operation."},
    {COMMAND_STATISTICS, "statistics", NULL,
     "Measures the mean and variance of each batch norm's input over all training images, and "
     "writes them with the weights."},
    {COMMAND_SHOW, "show", NULL,
     "Draws a PNG: augmented samples, reconstructions, a confusion matrix, or else the weights."},
    {COMMAND_ROBUSTNESS, "robustness", NULL,
     "Tests a weights file on images with noise, blur and other perturbations, level by level."},
    {COMMAND_PREDICT, "predict", "IMAGE.png...",
     "Tells the class of pictures, and the five best probabilities."},
};

const int command_count = sizeof command_specs / sizeof *command_specs;

_Static_assert(sizeof command_specs / sizeof *command_specs <= SETTINGS_COMMANDS,
               "each command has a bit in Command");

enum {
    TRAIN = COMMAND_TRAIN,
    AUGMENTS = COMMAND_TRAIN | COMMAND_SHOW,
    USES = COMMAND_EVAL | COMMAND_TRACE | COMMAND_SHOW | COMMAND_ROBUSTNESS,
    DATA = COMMAND_TRAIN | USES | COMMAND_STATISTICS,
    VARIANT = DATA | COMMAND_INFO | COMMAND_BENCH | COMMAND_PREDICT,
    TESTS = COMMAND_TRAIN | COMMAND_EVAL | COMMAND_SHOW | COMMAND_ROBUSTNESS | COMMAND_STATISTICS |
            COMMAND_PREDICT,
    REPORTS = COMMAND_TRAIN | COMMAND_EVAL,
    ALL = VARIANT,
    EVERY = ~0,
};

/* ---- options ---- */

const char *const section_names[SECTIONS] = {
    [SECTION_DATA] = "Data",   [SECTION_NETWORK] = "Network", [SECTION_TRAINING] = "Training",
    [SECTION_FILES] = "Files", [SECTION_DEVICE] = "Device",   [SECTION_OUTPUT] = "Output",
};

static const char *const dataset_choices[] = {"cifar10", "mnist", "fashion-mnist", NULL};
static const char *const split_choices[] = {"train", "test", NULL};
static const char *const augment_choices[] = {"none", "reference", "image", NULL};
static const char *const arch_choices[] = {"nnmf", "cnn", NULL};
static const char *const bn_statistics_choices[] = {"batch", "population", NULL};
static const char *const positive_choices[] = {"abs", "exp", "tanh", "identity", NULL};
static const char *const local_choices[] = {"none", "kl", "mse", NULL};
static const char *const loss_choices[] = {"sbs", "cross-entropy", NULL};
static const char *const device_choices[] = {"auto", "cpu", "cuda", NULL};
static const char *const log_format_choices[] = {"text", "json", NULL};

#define AT(member) offsetof(Settings, member)

/* By section; the help keeps this order. */
const OptionSpec option_specs[] = {
    {"dataset", SECTION_DATA, OPTION_CHOICE, AT(dataset), ALL, KEEP_NETWORK, "cifar10", 0, 0,
     dataset_choices, "NAME", "cifar10, mnist or fashion-mnist"},
    {"data", SECTION_DATA, OPTION_TEXT, AT(data), DATA, KEEP_FREE, "", 0, 0, NULL, "DIR",
     "folder with the data set's files (default: $NNMF_DATA, else data/<dataset>)"},
    {"split", SECTION_DATA, OPTION_CHOICE, AT(split), USES, KEEP_NEVER, "test", 0, 0, split_choices,
     "NAME", "train or test images"},
    {"offset", SECTION_DATA, OPTION_INTEGER, AT(offset), COMMAND_TRACE | COMMAND_SHOW, KEEP_NEVER,
     "0", 0, 1e9, NULL, "K", "number of the first image: of the batch, or of --reconstruct"},
    {"batch-size", SECTION_DATA, OPTION_INTEGER, AT(batch_size),
     DATA | COMMAND_INFO | COMMAND_BENCH, KEEP_TEST, "50", 1, 10000, NULL, "N",
     "images in a batch"},
    {"augment", SECTION_DATA, OPTION_CHOICE, AT(augment), AUGMENTS, KEEP_RUN, "reference", 0, 0,
     augment_choices, "KIND",
     "reference (one draw a batch, as published), image (one an image) or none"},
    {"no-shuffle", SECTION_DATA, OPTION_FLAG, AT(no_shuffle), AUGMENTS, KEEP_RUN, "false", 0, 0,
     NULL, NULL, "train in file order"},
    {"train-range", SECTION_DATA, OPTION_RANGE, AT(train_range), AUGMENTS | COMMAND_STATISTICS,
     KEEP_RUN, "0:0", 0, 0, NULL, "BEGIN:END",
     "training images, numbers in file order, half open (0:0: all)"},
    {"test-range", SECTION_DATA, OPTION_RANGE, AT(test_range), TRAIN, KEEP_RUN, "0:0", 0, 0, NULL,
     "BEGIN:END", "test images likewise"},
    {"images", SECTION_DATA, OPTION_INTEGER, AT(images), COMMAND_ROBUSTNESS, KEEP_NEVER, "0", 0,
     1e9, NULL, "N", "the first so many images of the split (0: all)"},
    {"kind", SECTION_DATA, OPTION_CHOICE, AT(kind), COMMAND_ROBUSTNESS, KEEP_NEVER, "all", 0, 0,
     perturbation_choices, "NAME",
     "of perturbation: all, gaussian-noise, uniform-noise, salt-and-pepper, gaussian-blur, "
     "contrast, brightness, pixelation or gradient-sign"},
    {"levels", SECTION_DATA, OPTION_TEXT, AT(levels), COMMAND_ROBUSTNESS, KEEP_NEVER, "", 0, 0,
     NULL, "X,X,...", "levels of the --kind in the place of the usual six"},
    {"repetitions", SECTION_DATA, OPTION_INTEGER, AT(repetitions), COMMAND_ROBUSTNESS, KEEP_NEVER,
     "3", 1, 1000, NULL, "N", "of kinds that draw random numbers"},
    {"arch", SECTION_NETWORK, OPTION_CHOICE, AT(arch), VARIANT, KEEP_NETWORK, "nnmf", 0, 0,
     arch_choices, "NAME", "nnmf, or cnn: the CNN baseline with convolutions instead of NNMF"},
    {"bn-statistics", SECTION_NETWORK, OPTION_CHOICE, AT(bn_statistics), USES, KEEP_NEVER, "batch",
     0, 0, bn_statistics_choices, "NAME",
     "batch norms work with the statistics of the batch at hand, as published, or with those of "
     "the population of training images, which the weights file has to have"},
    {"iterations", SECTION_NETWORK, OPTION_INTEGER, AT(iterations), VARIANT, KEEP_NETWORK, "20", 1,
     1e6, NULL, "N", "of every NNMF layer"},
    {"epsilon", SECTION_NETWORK, OPTION_NUMBER, AT(epsilon), VARIANT, KEEP_NETWORK, "0", 0, 1e6,
     NULL, "X", "0: h = h s; else h = h (1 + X s) in every iteration"},
    {"positive-function", SECTION_NETWORK, OPTION_CHOICE, AT(positive_function), VARIANT,
     KEEP_NETWORK, "abs", 0, 0, positive_choices, "NAME",
     "of the NNMF weights: abs, exp, tanh or identity"},
    {"beta", SECTION_NETWORK, OPTION_NUMBER, AT(beta), VARIANT, KEEP_RUN, "1", -1e6, 1e6, NULL, "X",
     "initial value of the learned beta of exp and tanh"},
    {"local-learning", SECTION_NETWORK, OPTION_CHOICE, AT(local_learning), VARIANT, KEEP_NETWORK,
     "none", 0, 0, local_choices, "NAME",
     "NNMF weights learn from their own reconstruction: none, kl or mse"},
    {"loss", SECTION_NETWORK, OPTION_CHOICE, AT(loss), VARIANT, KEEP_NETWORK, "sbs", 0, 0,
     loss_choices, "NAME",
     "sbs (squared error and Kullback-Leibler) or cross-entropy; of either an epoch's is told as "
     "the mean over its images"},
    {"loss-mse", SECTION_NETWORK, OPTION_NUMBER, AT(loss_mse), VARIANT, KEEP_NETWORK, "0.5", -1e6,
     1e6, NULL, "X", "coefficient of the squared error in sbs"},
    {"loss-kl", SECTION_NETWORK, OPTION_NUMBER, AT(loss_kl), VARIANT, KEEP_NETWORK, "1", -1e6, 1e6,
     NULL, "X", "coefficient of the Kullback-Leibler divergence in sbs"},
    {"epochs", SECTION_TRAINING, OPTION_INTEGER, AT(epochs), TRAIN, KEEP_FREE, "5000", 1, 1e6, NULL,
     "N", "at most this many, from the start of the run"},
    {"max-steps", SECTION_TRAINING, OPTION_INTEGER, AT(max_steps), TRAIN, KEEP_NEVER, "0", 0, 1e15,
     NULL, "N", "stop after this many training steps from the start of the run (0: no such limit)"},
    {"steps", SECTION_TRAINING, OPTION_INTEGER, AT(steps), COMMAND_BENCH, KEEP_NEVER, "10", 1, 1e6,
     NULL, "N", "training steps and test batches to time"},
    {"seed", SECTION_TRAINING, OPTION_SEED, AT(seed), AUGMENTS | COMMAND_ROBUSTNESS, KEEP_RUN, "21",
     0, 0, NULL, "N", "of all random numbers"},
    {"lr-nnmf", SECTION_TRAINING, OPTION_NUMBER, AT(lr_nnmf), TRAIN, KEEP_RATE, "0.01", 0, 1e6,
     NULL, "X", "learning rate of the NNMF weights, with --arch cnn of those in their place"},
    {"lr-cnn-top", SECTION_TRAINING, OPTION_NUMBER, AT(lr_cnn_top), TRAIN, KEEP_RATE, "0.001", 0,
     1e6, NULL, "X", "learning rate of the 1x1 convolutions behind them"},
    {"lr-batchnorm", SECTION_TRAINING, OPTION_NUMBER, AT(lr_batchnorm), TRAIN, KEEP_RATE, "0.001",
     0, 1e6, NULL, "X", "learning rate of the batch norms"},
    {"lr-limit", SECTION_TRAINING, OPTION_NUMBER, AT(lr_limit), TRAIN, KEEP_RUN, "1e-9", 0, 1e6,
     NULL, "X", "stop when the largest learning rate falls below this"},
    {"no-population", SECTION_TRAINING, OPTION_FLAG, AT(no_population), TRAIN, KEEP_FREE, "false",
     0, 0, NULL, NULL, "do not measure population statistics at the end of the run"},
    {"weights", SECTION_FILES, OPTION_TEXT, AT(weights),
     USES | COMMAND_PREDICT | COMMAND_STATISTICS, KEEP_NEVER, "", 0, 0, NULL, "FILE",
     "safetensors with the network's weights; show without another sheet draws them"},
    {"override", SECTION_FILES, OPTION_FLAG, AT(override),
     COMMAND_TRAIN | USES | COMMAND_PREDICT | COMMAND_STATISTICS, KEEP_NEVER, "false", 0, 0, NULL,
     NULL, "network options that are given replace those in the file of --weights or --init"},
    {"out", SECTION_FILES, OPTION_TEXT, AT(out),
     COMMAND_TRAIN | COMMAND_TRACE | COMMAND_SHOW | COMMAND_STATISTICS | COMMAND_ROBUSTNESS,
     KEEP_NEVER, "", 0, 0, NULL, "PATH",
     "train: folder of the run (default: runs/<dataset>-<date>-<time>); elsewhere: file"},
    {"resume", SECTION_FILES, OPTION_TEXT, AT(resume), TRAIN, KEEP_NEVER, "", 0, 0, NULL, "DIR",
     "go on with the run in this folder; its options are in its config.json"},
    {"init", SECTION_FILES, OPTION_TEXT, AT(init), TRAIN, KEEP_RUN, "", 0, 0, NULL, "FILE",
     "start from these weights"},
    {"probabilities", SECTION_FILES, OPTION_TEXT, AT(probabilities), COMMAND_EVAL, KEEP_NEVER, "",
     0, 0, NULL, "FILE", "write the class probabilities (images x 10) as .npy"},
    {"samples", SECTION_FILES, OPTION_INTEGER, AT(samples), COMMAND_SHOW, KEEP_NEVER, "0", 0, 1000,
     NULL, "N", "draw so many augmented training images, ten of each step, with their labels"},
    {"layer", SECTION_FILES, OPTION_INTEGER, AT(layer), COMMAND_SHOW, KEEP_NEVER, "0", 0, 1000,
     NULL, "K", "draw the weights of this NNMF layer only (0: of all)"},
    {"reconstruct", SECTION_FILES, OPTION_INTEGER, AT(reconstruct), COMMAND_SHOW, KEEP_NEVER, "0",
     0, 1000, NULL, "N", "draw so many images beside what the first NNMF layer keeps of them"},
    {"confusion", SECTION_FILES, OPTION_FLAG, AT(confusion), COMMAND_SHOW, KEEP_NEVER, "false", 0,
     0, NULL, NULL, "draw the confusion matrix, and print its numbers"},
    {"log-steps", SECTION_FILES, OPTION_TEXT, AT(log_steps), TRAIN, KEEP_NEVER, "", 0, 0, NULL,
     "FILE",
     "write step,loss,correct of every training step; the loss of its batch as published: sbs the "
     "sum "
     "over the images, cross-entropy the mean"},
    {"device", SECTION_DEVICE, OPTION_CHOICE, AT(device), ALL, KEEP_FREE, "auto", 0, 0,
     device_choices, "NAME", "auto, cpu or cuda"},
    {"nnmf-kernel", SECTION_DEVICE, OPTION_CHOICE, AT(nnmf_kernel), ALL, KEEP_FREE, "fused", 0, 0,
     nnmf_kernel_names, "NAME", "CUDA: fused (NNMF in one kernel each way) or cublas"},
    {"precision", SECTION_DEVICE, OPTION_CHOICE, AT(precision), ALL, KEEP_FREE, "fp32", 0, 0,
     precision_names, "NAME", "CUDA: of the matrix products: fp32, 3xtf32 or tf32 (tensor cores)"},
    {"cpu", SECTION_DEVICE, OPTION_CHOICE, AT(cpu), ALL, KEEP_FREE, "auto", 0, 0,
     cpu_instruction_set_names, "NAME",
     "instruction set of the CPU: avx512, avx2, portable (the compiler's least), or auto: the best "
     "that the processor has"},
    {"threads", SECTION_DEVICE, OPTION_INTEGER, AT(threads), ALL, KEEP_FREE, "0", 0, 1024, NULL,
     "N", "CPU threads (0: one for each processor)"},
    {"batches-at-once", SECTION_DEVICE, OPTION_INTEGER, AT(batches_at_once), TESTS, KEEP_FREE, "1",
     1, MAX_BATCHES_AT_ONCE, NULL, "N",
     "of a test pass, to keep a GPU busy: takes more memory, gives the same bits; show: with "
     "--confusion; the gradients of --kind gradient-sign are made one by one"},
    {"quiet", SECTION_OUTPUT, OPTION_FLAG, AT(quiet), REPORTS, KEEP_NEVER, "false", 0, 0, NULL,
     NULL, "say nothing but warnings and errors, and the result that was asked for"},
    {"log-format", SECTION_OUTPUT, OPTION_CHOICE, AT(log_format), REPORTS, KEEP_NEVER, "text", 0, 0,
     log_format_choices, "NAME",
     "text, or json: one object a line for the start, every epoch and the end, for programs"},
    {"help", SECTION_OUTPUT, OPTION_SHOW, SHOW_HELP, EVERY, KEEP_NEVER, "", 0, 0, NULL, NULL,
     "show this help"},
    {"version", SECTION_OUTPUT, OPTION_SHOW, SHOW_VERSION, EVERY, KEEP_NEVER, "", 0, 0, NULL, NULL,
     "show version, commit, compiler and CUDA"},
};

const int option_count = sizeof option_specs / sizeof *option_specs;

_Static_assert(sizeof option_specs / sizeof *option_specs <= SETTINGS_OPTIONS,
               "Settings.given has a place for each option");

/* ---- looking up ---- */

const OptionSpec *option_find(const char *name, size_t length)
{
    for (int i = 0; i < option_count; i++)
        if (strlen(option_specs[i].name) == length &&
            strncmp(option_specs[i].name, name, length) == 0)
            return &option_specs[i];
    return NULL;
}

const CommandSpec *command_find(const char *name)
{
    for (int i = 0; i < command_count; i++)
        if (strcmp(command_specs[i].name, name) == 0)
            return &command_specs[i];
    return NULL;
}

const CommandSpec *command_spec(Command command)
{
    for (int i = 0; i < command_count; i++)
        if (command_specs[i].command == command)
            return &command_specs[i];
    return NULL;
}

bool option_takes_value(const OptionSpec *spec)
{
    return spec->type != OPTION_FLAG && spec->type != OPTION_SHOW;
}

const char *option_default(const OptionSpec *spec)
{
    bool tell = option_takes_value(spec) && spec->type != OPTION_RANGE;
    return tell ? spec->initial : "";
}

bool option_given(const Settings *settings, const OptionSpec *spec)
{
    return settings->given[spec - option_specs];
}

/* The baseline has no NNMF layer that these could mean something to. */
bool option_applies(const Settings *settings, const OptionSpec *spec)
{
    static const char *const of_nnmf[] = {"iterations", "epsilon",        "positive-function",
                                          "beta",       "local-learning", "nnmf-kernel"};
    for (size_t i = 0; i < sizeof of_nnmf / sizeof *of_nnmf; i++)
        if (settings->arch == ARCHITECTURE_CNN && strcmp(spec->name, of_nnmf[i]) == 0)
            return false;
    return true;
}

bool option_belongs_to_run(const OptionSpec *spec)
{
    return spec->keep == KEEP_NETWORK || spec->keep == KEEP_TEST || spec->keep == KEEP_RUN;
}
