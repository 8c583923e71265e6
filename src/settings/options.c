#include "settings/options.h"

#include "robustness/perturbation.h"

#include <string.h>

/* ---- commands ---- */

const CommandSpec command_specs[] = {
    {.command = COMMAND_TRAIN,
     .name = "train",
     .help = "Trains the deep NNMF network and writes the run to a folder."},
    {.command = COMMAND_EVAL, .name = "eval", .help = "Tests a weights file."},
    {.command = COMMAND_TRACE,
     .name = "trace",
     .help = "Runs one batch forward and backward, without updating the weights, and writes the "
             "outputs and gradients."},
    {.command = COMMAND_INFO,
     .name = "info",
     .help = "Prints the network's layers and parameter counts, and the kernel that each NNMF "
             "layer uses on the device."},
    {.command = COMMAND_BENCH,
     .name = "bench",
     .help = "Times the training step and the test batch, operation by operation."},
    {.command = COMMAND_STATISTICS,
     .name = "statistics",
     .help = "Measures the mean and variance of each batch norm's input over all training images, "
             "and writes them with the weights."},
    {.command = COMMAND_SHOW,
     .name = "show",
     .help = "Draws a PNG: the weights or, on request, augmented samples, reconstructions or a "
             "confusion matrix."},
    {.command = COMMAND_ROBUSTNESS,
     .name = "robustness",
     .help = "Tests a weights file on images with noise, blur and other perturbations, at several "
             "levels of each."},
    {.command = COMMAND_PREDICT,
     .name = "predict",
     .arguments = "IMAGE.png...",
     .help = "Prints the class of each picture and its five highest probabilities."},
};

const int command_count = sizeof command_specs / sizeof *command_specs;

_Static_assert(sizeof command_specs / sizeof *command_specs <= SETTINGS_COMMANDS,
               "each command has a bit in Command");

/* Commands that share options. */
enum {
    TRAIN = COMMAND_TRAIN,
    DRAWS_BATCHES = COMMAND_TRAIN | COMMAND_SHOW, /* shuffled and augmented */
    READS_SPLIT = COMMAND_EVAL | COMMAND_TRACE | COMMAND_SHOW | COMMAND_ROBUSTNESS,
    READS_DATA = COMMAND_TRAIN | READS_SPLIT | COMMAND_STATISTICS,
    READS_WEIGHTS = READS_SPLIT | COMMAND_STATISTICS | COMMAND_PREDICT,
    TESTS = COMMAND_TRAIN | COMMAND_EVAL | COMMAND_SHOW | COMMAND_ROBUSTNESS | COMMAND_STATISTICS |
            COMMAND_PREDICT,
    REPORTS = COMMAND_TRAIN | COMMAND_EVAL,
    ALL = ~0,
};

/* ---- options ---- */

const char *const section_names[SECTIONS] = {
    [SECTION_DATA] = "Data",   [SECTION_NETWORK] = "Network", [SECTION_TRAINING] = "Training",
    [SECTION_FILES] = "Files", [SECTION_DEVICE] = "Device",   [SECTION_OUTPUT] = "Output",
};

/* Names that only the options use. Other names are declared with their enumeration. */
static const char *const augment_names[] = {
    [AUGMENT_NONE] = "none", [AUGMENT_REFERENCE] = "reference", [AUGMENT_IMAGE] = "image", NULL};
static const char *const statistics_names[] = {
    [STATISTICS_BATCH] = "batch", [STATISTICS_POPULATION] = "population", NULL};
static const char *const positive_function_names[] = {[POSITIVE_ABS] = "abs",
                                                      [POSITIVE_EXP] = "exp",
                                                      [POSITIVE_TANH] = "tanh",
                                                      [POSITIVE_IDENTITY] = "identity",
                                                      NULL};
static const char *const local_learning_names[] = {
    [LOCAL_NONE] = "none", [LOCAL_KL] = "kl", [LOCAL_MSE] = "mse", NULL};
static const char *const loss_names[] = {
    [LOSS_SBS] = "sbs", [LOSS_CROSS_ENTROPY] = "cross-entropy", NULL};
static const char *const device_names[] = {
    [DEVICE_AUTO] = "auto", [DEVICE_CPU] = "cpu", [DEVICE_CUDA] = "cuda", NULL};
static const char *const log_format_names[] = {[LOG_TEXT] = "text", [LOG_JSON] = "json", NULL};

/* Each macro makes a row from an option's name, its member of Settings, and any fields of
 * OptionSpec. It compiles only if the member has the option's type. A choice is read and written
 * as an int, so its enumeration has to be represented as int or unsigned. */
#define OFFSET(member, type) _Generic(&((Settings *)0)->member, type : offsetof(Settings, member))
#define OFFSET_OF_CHOICE(member)                                                                   \
    _Generic(&((Settings *)0)->member, int *: offsetof(Settings, member),                          \
             unsigned *: offsetof(Settings, member))
#define ROW(option, ...)                                                                           \
    {                                                                                              \
        .name = (option), __VA_ARGS__                                                              \
    }
#define TEXT(option, member, ...)                                                                  \
    ROW(option, .type = OPTION_TEXT, .offset = OFFSET(member, char(*)[SETTINGS_PATH]),             \
        .initial = "", __VA_ARGS__)
#define INTEGER(option, member, ...)                                                               \
    ROW(option, .type = OPTION_INTEGER, .offset = OFFSET(member, int64_t *), __VA_ARGS__)
#define SEED(option, member, ...)                                                                  \
    ROW(option, .type = OPTION_SEED, .offset = OFFSET(member, uint64_t *), __VA_ARGS__)
#define NUMBER(option, member, ...)                                                                \
    ROW(option, .type = OPTION_NUMBER, .offset = OFFSET(member, double *), __VA_ARGS__)
#define CHOICE(option, member, ...)                                                                \
    ROW(option, .type = OPTION_CHOICE, .offset = OFFSET_OF_CHOICE(member), __VA_ARGS__)
#define FLAG(option, member, ...)                                                                  \
    ROW(option, .type = OPTION_FLAG, .offset = OFFSET(member, bool *), .initial = "false",         \
        __VA_ARGS__)
#define RANGE(option, member, ...)                                                                 \
    ROW(option, .type = OPTION_RANGE, .offset = OFFSET(member, Range *), .initial = "0:0",         \
        .argument = "BEGIN:END", __VA_ARGS__)
#define SHOW(option, text, ...)                                                                    \
    ROW(option, .type = OPTION_SHOW, .show = (text), .initial = "", __VA_ARGS__)

/* By section; the help keeps this order. */
const OptionSpec option_specs[] = {
    CHOICE("dataset", dataset, .section = SECTION_DATA, .commands = ALL, .keep = KEEP_NETWORK,
           .choices = dataset_names, .initial = "cifar10", .argument = "NAME",
           .help = "cifar10, mnist or fashion-mnist"),
    TEXT("data", data, .section = SECTION_DATA, .commands = READS_DATA, .keep = KEEP_FREE,
         .argument = "DIR",
         .help = "folder with the data set's files (default: $NNMF_DATA, else data/<dataset>)"),
    CHOICE("split", split, .section = SECTION_DATA, .commands = READS_SPLIT, .keep = KEEP_NEVER,
           .choices = dataset_split_names, .initial = "test", .argument = "NAME",
           .help = "images to use: train or test"),
    INTEGER("offset", offset, .section = SECTION_DATA, .commands = COMMAND_TRACE | COMMAND_SHOW,
            .keep = KEEP_NEVER, .minimum = 0, .maximum = 1e9, .initial = "0", .argument = "K",
            .help = "number of the first image, of the batch or of --reconstruct"),
    INTEGER("batch-size", batch_size, .section = SECTION_DATA,
            .commands = READS_DATA | COMMAND_INFO | COMMAND_BENCH, .keep = KEEP_TEST, .minimum = 1,
            .maximum = 10000, .initial = "50", .argument = "N", .help = "images in a batch"),
    CHOICE("augment", augment, .section = SECTION_DATA, .commands = DRAWS_BATCHES, .keep = KEEP_RUN,
           .choices = augment_names, .initial = "reference", .argument = "KIND",
           .help = "reference (one random draw per batch, as published), image (one per image) or "
                   "none"),
    FLAG("no-shuffle", no_shuffle, .section = SECTION_DATA, .commands = DRAWS_BATCHES,
         .keep = KEEP_RUN, .help = "train on the images in file order"),
    RANGE("train-range", train_range, .section = SECTION_DATA,
          .commands = DRAWS_BATCHES | COMMAND_STATISTICS, .keep = KEEP_RUN,
          .help = "use training images BEGIN to END - 1 only, numbered in file order (0:0: all)"),
    RANGE("test-range", test_range, .section = SECTION_DATA, .commands = TRAIN, .keep = KEEP_RUN,
          .help = "use test images BEGIN to END - 1 only, numbered in file order (0:0: all)"),
    INTEGER("images", images, .section = SECTION_DATA, .commands = COMMAND_ROBUSTNESS,
            .keep = KEEP_NEVER, .minimum = 0, .maximum = 1e9, .initial = "0", .argument = "N",
            .help = "use only the first N images of the split (0: all)"),
    CHOICE("kind", kind, .section = SECTION_DATA, .commands = COMMAND_ROBUSTNESS,
           .keep = KEEP_NEVER, .choices = perturbation_choices, .initial = "all",
           .argument = "NAME",
           .help = "perturbation: all, gaussian-noise, uniform-noise, salt-and-pepper, "
                   "gaussian-blur, contrast, brightness, pixelation or gradient-sign"),
    TEXT("levels", levels, .section = SECTION_DATA, .commands = COMMAND_ROBUSTNESS,
         .keep = KEEP_NEVER, .argument = "X,X,...",
         .help = "levels of --kind to test instead of its six default levels"),
    INTEGER("repetitions", repetitions, .section = SECTION_DATA, .commands = COMMAND_ROBUSTNESS,
            .keep = KEEP_NEVER, .minimum = 1, .maximum = 1000, .initial = "3", .argument = "N",
            .help = "number of tests at each level of a random perturbation"),
    CHOICE("arch", arch, .section = SECTION_NETWORK, .commands = ALL, .keep = KEEP_NETWORK,
           .choices = architecture_names, .initial = "nnmf", .argument = "NAME",
           .help = "nnmf, or cnn (the CNN baseline, with convolutions instead of NNMF)"),
    CHOICE("bn-statistics", bn_statistics, .section = SECTION_NETWORK, .commands = READS_SPLIT,
           .keep = KEEP_NEVER, .choices = statistics_names, .initial = "batch", .argument = "NAME",
           .help = "statistics that batch norms use: batch (those of the current batch, as "
                   "published) or population (those of all training images, which the weights file "
                   "must contain)"),
    INTEGER("iterations", iterations, .section = SECTION_NETWORK, .commands = ALL,
            .keep = KEEP_NETWORK, .nnmf_only = true, .minimum = 1, .maximum = 1e6, .initial = "20",
            .argument = "N", .help = "iterations in every NNMF layer"),
    NUMBER("epsilon", epsilon, .section = SECTION_NETWORK, .commands = ALL, .keep = KEEP_NETWORK,
           .nnmf_only = true, .minimum = 0, .maximum = 1e6, .initial = "0", .argument = "X",
           .help = "update in every iteration: h = h s if X is 0, else h = h (1 + X s)"),
    CHOICE("positive-function", positive_function, .section = SECTION_NETWORK, .commands = ALL,
           .keep = KEEP_NETWORK, .nnmf_only = true, .choices = positive_function_names,
           .initial = "abs", .argument = "NAME",
           .help = "function applied to the NNMF weights: abs, exp, tanh or identity"),
    NUMBER("beta", beta, .section = SECTION_NETWORK, .commands = ALL, .keep = KEEP_RUN,
           .nnmf_only = true, .minimum = -1e6, .maximum = 1e6, .initial = "1", .argument = "X",
           .help = "initial value of beta, the learned parameter of exp and tanh"),
    CHOICE("local-learning", local_learning, .section = SECTION_NETWORK, .commands = ALL,
           .keep = KEEP_NETWORK, .nnmf_only = true, .choices = local_learning_names,
           .initial = "none", .argument = "NAME",
           .help = "train NNMF weights on the reconstruction error of their own layer: kl, mse, or "
                   "none (train them on the loss)"),
    CHOICE("loss", loss, .section = SECTION_NETWORK, .commands = ALL, .keep = KEEP_NETWORK,
           .choices = loss_names, .initial = "sbs", .argument = "NAME",
           .help = "sbs (squared error and Kullback-Leibler divergence) or cross-entropy; either "
                   "is reported as the mean over the epoch's images"),
    NUMBER("loss-mse", loss_mse, .section = SECTION_NETWORK, .commands = ALL, .keep = KEEP_NETWORK,
           .minimum = -1e6, .maximum = 1e6, .initial = "0.5", .argument = "X",
           .help = "coefficient of the squared error in sbs"),
    NUMBER("loss-kl", loss_kl, .section = SECTION_NETWORK, .commands = ALL, .keep = KEEP_NETWORK,
           .minimum = -1e6, .maximum = 1e6, .initial = "1", .argument = "X",
           .help = "coefficient of the Kullback-Leibler divergence in sbs"),
    INTEGER("epochs", epochs, .section = SECTION_TRAINING, .commands = TRAIN, .keep = KEEP_FREE,
            .minimum = 1, .maximum = 1e6, .initial = "5000", .argument = "N",
            .help = "stop after N epochs, counted from the start of the run"),
    INTEGER("max-steps", max_steps, .section = SECTION_TRAINING, .commands = TRAIN,
            .keep = KEEP_NEVER, .minimum = 0, .maximum = 1e15, .initial = "0", .argument = "N",
            .help = "stop after N training steps, counted from the start of the run (0: no limit)"),
    INTEGER("steps", steps, .section = SECTION_TRAINING, .commands = COMMAND_BENCH,
            .keep = KEEP_NEVER, .minimum = 1, .maximum = 1e6, .initial = "10", .argument = "N",
            .help = "training steps and test batches to time"),
    SEED("seed", seed, .section = SECTION_TRAINING, .commands = DRAWS_BATCHES | COMMAND_ROBUSTNESS,
         .keep = KEEP_RUN, .initial = "21", .argument = "N", .help = "seed of all random numbers"),
    NUMBER("lr-nnmf", lr_nnmf, .section = SECTION_TRAINING, .commands = TRAIN, .keep = KEEP_RATE,
           .minimum = 0, .maximum = 1e6, .initial = "0.01", .argument = "X",
           .help = "learning rate of the NNMF weights, or with --arch cnn of the convolutions that "
                   "replace NNMF"),
    NUMBER("lr-cnn-top", lr_cnn_top, .section = SECTION_TRAINING, .commands = TRAIN,
           .keep = KEEP_RATE, .minimum = 0, .maximum = 1e6, .initial = "0.001", .argument = "X",
           .help = "learning rate of the 1x1 convolutions after the NNMF layers"),
    NUMBER("lr-batchnorm", lr_batchnorm, .section = SECTION_TRAINING, .commands = TRAIN,
           .keep = KEEP_RATE, .minimum = 0, .maximum = 1e6, .initial = "0.001", .argument = "X",
           .help = "learning rate of the batch norms"),
    NUMBER("lr-limit", lr_limit, .section = SECTION_TRAINING, .commands = TRAIN, .keep = KEEP_RUN,
           .minimum = 0, .maximum = 1e6, .initial = "1e-9", .argument = "X",
           .help = "stop when the largest learning rate falls below X"),
    FLAG("no-population", no_population, .section = SECTION_TRAINING, .commands = TRAIN,
         .keep = KEEP_FREE, .help = "do not measure population statistics at the end of the run"),
    TEXT("weights", weights, .section = SECTION_FILES, .commands = READS_WEIGHTS,
         .keep = KEEP_NEVER, .argument = "FILE",
         .help = "safetensors file with the network's weights; show draws them if no other picture "
                 "is requested"),
    FLAG("override", override, .section = SECTION_FILES, .commands = TRAIN | READS_WEIGHTS,
         .keep = KEEP_NEVER,
         .help = "let network options on the command line replace those in the file of --weights "
                 "or --init"),
    TEXT("out", out, .section = SECTION_FILES,
         .commands = TRAIN | COMMAND_TRACE | COMMAND_SHOW | COMMAND_STATISTICS | COMMAND_ROBUSTNESS,
         .keep = KEEP_NEVER, .argument = "PATH",
         .help = "train: folder of the run (default: runs/<dataset>-<date>-<time>); other "
                 "commands: output file"),
    TEXT("resume", resume, .section = SECTION_FILES, .commands = TRAIN, .keep = KEEP_NEVER,
         .argument = "DIR",
         .help = "continue the run in this folder with the options in its config.json"),
    TEXT("init", init, .section = SECTION_FILES, .commands = TRAIN, .keep = KEEP_RUN,
         .argument = "FILE", .help = "start from the weights in this file"),
    TEXT("probabilities", probabilities, .section = SECTION_FILES, .commands = COMMAND_EVAL,
         .keep = KEEP_NEVER, .argument = "FILE",
         .help = "write the class probabilities (images x 10) as .npy"),
    INTEGER("samples", samples, .section = SECTION_FILES, .commands = COMMAND_SHOW,
            .keep = KEEP_NEVER, .minimum = 0, .maximum = 1000, .initial = "0", .argument = "N",
            .help = "draw N augmented training images, ten from each step, with their labels"),
    INTEGER("layer", layer, .section = SECTION_FILES, .commands = COMMAND_SHOW, .keep = KEEP_NEVER,
            .minimum = 0, .maximum = 1000, .initial = "0", .argument = "K",
            .help = "draw only the weights of NNMF layer K (0: all layers)"),
    INTEGER("reconstruct", reconstruct, .section = SECTION_FILES, .commands = COMMAND_SHOW,
            .keep = KEEP_NEVER, .minimum = 0, .maximum = 1000, .initial = "0", .argument = "N",
            .help = "draw N images beside their reconstructions from the first NNMF layer"),
    FLAG("confusion", confusion, .section = SECTION_FILES, .commands = COMMAND_SHOW,
         .keep = KEEP_NEVER, .help = "draw the confusion matrix and print its numbers"),
    TEXT("log-steps", log_steps, .section = SECTION_FILES, .commands = TRAIN, .keep = KEEP_NEVER,
         .argument = "FILE",
         .help = "write step,loss,correct of every training step; the loss is that of the batch as "
                 "published: the sum over its images for sbs, the mean for cross-entropy"),
    CHOICE("device", device, .section = SECTION_DEVICE, .commands = ALL, .keep = KEEP_FREE,
           .choices = device_names, .initial = "auto", .argument = "NAME",
           .help = "auto (CUDA if a GPU is usable, else the CPU), cpu or cuda"),
    CHOICE("nnmf-kernel", nnmf_kernel, .section = SECTION_DEVICE, .commands = ALL,
           .keep = KEEP_FREE, .nnmf_only = true, .device = DEVICE_CUDA,
           .choices = nnmf_kernel_names, .initial = "fused", .argument = "NAME",
           .help = "CUDA: fused (NNMF in one kernel per direction) or cublas"),
    CHOICE("precision", precision, .section = SECTION_DEVICE, .commands = ALL, .keep = KEEP_FREE,
           .device = DEVICE_CUDA, .choices = precision_names, .initial = "fp32", .argument = "NAME",
           .help = "CUDA: precision of the matrix products: fp32, or 3xtf32 or tf32 on tensor "
                   "cores"),
    CHOICE("cpu", cpu, .section = SECTION_DEVICE, .commands = ALL, .keep = KEEP_FREE,
           .device = DEVICE_CPU, .choices = cpu_instruction_set_names, .initial = "auto",
           .argument = "NAME",
           .help = "CPU: instruction set: avx512, avx2, portable (the compiler's baseline) or auto "
                   "(the best that the processor supports)"),
    INTEGER("threads", threads, .section = SECTION_DEVICE, .commands = ALL, .keep = KEEP_FREE,
            .device = DEVICE_CPU, .minimum = 0, .maximum = 1024, .initial = "0", .argument = "N",
            .help = "CPU: number of threads (0: one per processor)"),
    INTEGER("batches-at-once", batches_at_once, .section = SECTION_DEVICE, .commands = TESTS,
            .keep = KEEP_FREE, .minimum = 1, .maximum = MAX_BATCHES_AT_ONCE, .initial = "1",
            .argument = "N",
            .help = "test N batches at once to keep a GPU busy; needs more memory, gives "
                    "bit-identical results; show: with --confusion only; robustness: the gradients "
                    "of gradient-sign are still computed one batch at a time"),
    FLAG("quiet", quiet, .section = SECTION_OUTPUT, .commands = REPORTS, .keep = KEEP_NEVER,
         .help = "print only warnings, errors and the requested result"),
    CHOICE("log-format", log_format, .section = SECTION_OUTPUT, .commands = REPORTS,
           .keep = KEEP_NEVER, .choices = log_format_names, .initial = "text", .argument = "NAME",
           .help = "text, or json: one object per line for the start, every epoch and the end, for "
                   "programs"),
    SHOW("help", SHOW_HELP, .section = SECTION_OUTPUT, .commands = ALL, .keep = KEEP_NEVER,
         .help = "show this help"),
    SHOW("version", SHOW_VERSION, .section = SECTION_OUTPUT, .commands = ALL, .keep = KEEP_NEVER,
         .help = "show version, commit, compiler and CUDA"),
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
    bool shown = option_takes_value(spec) && spec->type != OPTION_RANGE;
    return shown ? spec->initial : "";
}

bool option_given(const Settings *settings, const OptionSpec *spec)
{
    return settings->given[spec - option_specs];
}

bool option_applies(const Settings *settings, const OptionSpec *spec)
{
    return !spec->nnmf_only || settings->arch == ARCHITECTURE_NNMF;
}

bool option_belongs_to_run(const OptionSpec *spec)
{
    return spec->keep == KEEP_NETWORK || spec->keep == KEEP_TEST || spec->keep == KEEP_RUN;
}
