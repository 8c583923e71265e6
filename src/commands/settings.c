#include "nnmf/settings.h"

#include "nnmf/version.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table ---- */

typedef enum OptionType {
    OPTION_TEXT,    /* char[SETTINGS_PATH] */
    OPTION_INTEGER, /* int64_t, least..most */
    OPTION_SEED,    /* uint64_t */
    OPTION_NUMBER,  /* double, least..most */
    OPTION_CHOICE,  /* int, index into choices */
    OPTION_FLAG,    /* bool */
    OPTION_RANGE,   /* Range */
} OptionType;

/* What --resume does with an option. */
typedef enum OptionKeep {
    KEEP_RUN,   /* belongs to the run: comes from config.json, may not be given */
    KEEP_FREE,  /* comes from config.json unless it is given */
    KEEP_NEVER, /* belongs to one call, is not stored */
} OptionKeep;

typedef struct OptionSpec {
    const char *name;
    OptionType type;
    size_t offset;
    int commands;
    OptionKeep keep;
    const char *initial; /* default, as one would write it */
    double least, most;
    const char *const *choices;
    const char *argument, *help;
} OptionSpec;

static const char *const dataset_choices[] = {"cifar10", "mnist", "fashion-mnist", NULL};
static const char *const split_choices[] = {"train", "test", NULL};
static const char *const augment_choices[] = {"none", "reference", "image", NULL};
static const char *const positive_choices[] = {"abs", "exp", "tanh", "identity", NULL};
static const char *const local_choices[] = {"none", "kl", "mse", NULL};
static const char *const loss_choices[] = {"sbs", "cross-entropy", NULL};
static const char *const device_choices[] = {"auto", "cpu", "cuda", NULL};
static const char *const kernel_choices[] = {"fused", "cublas", NULL};
static const char *const precision_choices[] = {"fp32", "tf32", NULL};

enum {
    TRAIN = COMMAND_TRAIN,
    DATA = COMMAND_TRAIN | COMMAND_EVAL | COMMAND_TRACE,
    USES = COMMAND_EVAL | COMMAND_TRACE,
    VARIANT = DATA | COMMAND_INFO | COMMAND_BENCH,
    ALL = VARIANT,
};

#define AT(member) offsetof(Settings, member)

static const OptionSpec specs[] = {
    {"data", OPTION_TEXT, AT(data), DATA, KEEP_FREE, "", 0, 0, NULL, "DIR",
     "folder with the data set's files (default: $NNMF_DATA, else data/<dataset>)"},
    {"dataset", OPTION_CHOICE, AT(dataset), ALL, KEEP_RUN, "cifar10", 0, 0, dataset_choices, "NAME",
     "cifar10, mnist or fashion-mnist"},
    {"weights", OPTION_TEXT, AT(weights), USES, KEEP_NEVER, "", 0, 0, NULL, "FILE",
     "safetensors with the network's weights"},
    {"split", OPTION_CHOICE, AT(split), USES, KEEP_NEVER, "test", 0, 0, split_choices, "NAME",
     "train or test images"},
    {"offset", OPTION_INTEGER, AT(offset), COMMAND_TRACE, KEEP_NEVER, "0", 0, 1e9, NULL, "K",
     "number of the batch's first image"},
    {"probabilities", OPTION_TEXT, AT(probabilities), COMMAND_EVAL, KEEP_NEVER, "", 0, 0, NULL,
     "FILE", "write the class probabilities (images x 10) as .npy"},
    {"out", OPTION_TEXT, AT(out), COMMAND_TRAIN | COMMAND_TRACE, KEEP_RUN, "", 0, 0, NULL, "PATH",
     "train: folder of the run (default: runs/<dataset>-<date>-<time>); trace: file"},
    {"resume", OPTION_TEXT, AT(resume), TRAIN, KEEP_NEVER, "", 0, 0, NULL, "DIR",
     "go on with the run in this folder; its options are in its config.json"},
    {"init", OPTION_TEXT, AT(init), TRAIN, KEEP_RUN, "", 0, 0, NULL, "FILE",
     "start from these weights"},
    {"epochs", OPTION_INTEGER, AT(epochs), TRAIN, KEEP_FREE, "5000", 1, 1e6, NULL, "N",
     "at most this many, from the start of the run"},
    {"max-steps", OPTION_INTEGER, AT(max_steps), TRAIN, KEEP_NEVER, "0", 0, 1e15, NULL, "N",
     "stop after this many training steps from the start of the run (0: no such limit)"},
    {"steps", OPTION_INTEGER, AT(steps), COMMAND_BENCH, KEEP_NEVER, "10", 1, 1e6, NULL, "N",
     "training steps and test batches to time"},
    {"log-steps", OPTION_TEXT, AT(log_steps), TRAIN, KEEP_NEVER, "", 0, 0, NULL, "FILE",
     "write step,loss,correct of every training step"},
    {"batch-size", OPTION_INTEGER, AT(batch_size), DATA | COMMAND_BENCH, KEEP_RUN, "50", 1, 10000,
     NULL, "N", "images in a batch"},
    {"seed", OPTION_SEED, AT(seed), TRAIN, KEEP_RUN, "21", 0, 0, NULL, "N",
     "of all random numbers"},
    {"lr-nnmf", OPTION_NUMBER, AT(lr_nnmf), TRAIN, KEEP_RUN, "0.01", 0, 1e6, NULL, "X",
     "learning rate of the NNMF weights"},
    {"lr-cnn-top", OPTION_NUMBER, AT(lr_cnn_top), TRAIN, KEEP_RUN, "0.001", 0, 1e6, NULL, "X",
     "learning rate of the 1x1 convolutions"},
    {"lr-batchnorm", OPTION_NUMBER, AT(lr_batchnorm), TRAIN, KEEP_RUN, "0.001", 0, 1e6, NULL, "X",
     "learning rate of the batch norms"},
    {"lr-limit", OPTION_NUMBER, AT(lr_limit), TRAIN, KEEP_RUN, "1e-9", 0, 1e6, NULL, "X",
     "stop when the largest learning rate falls below this"},
    {"augment", OPTION_CHOICE, AT(augment), TRAIN, KEEP_RUN, "reference", 0, 0, augment_choices,
     "KIND", "reference (one draw a batch, as published), image (one an image) or none"},
    {"no-shuffle", OPTION_FLAG, AT(no_shuffle), TRAIN, KEEP_RUN, "false", 0, 0, NULL, NULL,
     "train in file order"},
    {"train-range", OPTION_RANGE, AT(train_range), TRAIN, KEEP_RUN, "0:0", 0, 0, NULL, "BEGIN:END",
     "training images, numbers in file order, half open (0:0: all)"},
    {"test-range", OPTION_RANGE, AT(test_range), TRAIN, KEEP_RUN, "0:0", 0, 0, NULL, "BEGIN:END",
     "test images likewise"},
    {"iterations", OPTION_INTEGER, AT(iterations), VARIANT, KEEP_RUN, "20", 1, 1e6, NULL, "N",
     "of every NNMF layer"},
    {"epsilon", OPTION_NUMBER, AT(epsilon), VARIANT, KEEP_RUN, "0", 0, 1e6, NULL, "X",
     "0: h = h s; else h = h (1 + X s) in every iteration"},
    {"positive-function", OPTION_CHOICE, AT(positive_function), VARIANT, KEEP_RUN, "abs", 0, 0,
     positive_choices, "NAME", "of the NNMF weights: abs, exp, tanh or identity"},
    {"beta", OPTION_NUMBER, AT(beta), VARIANT, KEEP_RUN, "1", -1e6, 1e6, NULL, "X",
     "initial value of the learned beta of exp and tanh"},
    {"local-learning", OPTION_CHOICE, AT(local_learning), VARIANT, KEEP_RUN, "none", 0, 0,
     local_choices, "NAME", "NNMF weights learn from their own reconstruction: none, kl or mse"},
    {"loss", OPTION_CHOICE, AT(loss), VARIANT, KEEP_RUN, "sbs", 0, 0, loss_choices, "NAME",
     "sbs (squared error and Kullback-Leibler) or cross-entropy"},
    {"loss-mse", OPTION_NUMBER, AT(loss_mse), VARIANT, KEEP_RUN, "0.5", -1e6, 1e6, NULL, "X",
     "coefficient of the squared error in sbs"},
    {"loss-kl", OPTION_NUMBER, AT(loss_kl), VARIANT, KEEP_RUN, "1", -1e6, 1e6, NULL, "X",
     "coefficient of the Kullback-Leibler divergence in sbs"},
    {"device", OPTION_CHOICE, AT(device), ALL, KEEP_FREE, "auto", 0, 0, device_choices, "NAME",
     "auto, cpu or cuda"},
    {"nnmf-kernel", OPTION_CHOICE, AT(nnmf_kernel), ALL, KEEP_FREE, "fused", 0, 0, kernel_choices,
     "NAME", "CUDA: fused (all iterations in one kernel) or cublas"},
    {"precision", OPTION_CHOICE, AT(precision), ALL, KEEP_FREE, "fp32", 0, 0, precision_choices,
     "NAME", "CUDA: of the matrix products by cuBLAS, fp32 or tf32"},
    {"threads", OPTION_INTEGER, AT(threads), ALL, KEEP_FREE, "0", 0, 1024, NULL, "N",
     "CPU threads (0: one for each processor)"},
};

enum { SPECS = sizeof specs / sizeof *specs, FIRST_KEY = 0x100 };

_Static_assert(SPECS <= 64, "Settings.given has a bit for each option");

/* ---- values from text ---- */

static bool bad_value(Error *error, const OptionSpec *spec, const char *text, const char *expected)
{
    return fail_usage(error, "bad value: --%s: '%s' is not %s", spec->name, text, expected);
}

/* A whole number without a sign, with nothing after it but `end`. */
static bool parse_unsigned(const char *text, char end, uint64_t *value, const char **rest)
{
    if (*text < '0' || *text > '9')
        return false;
    char *stop;
    errno = 0;
    *value = strtoull(text, &stop, 10);
    *rest = stop + 1;
    return errno == 0 && *stop == end;
}

static bool parse_integer(const OptionSpec *spec, const char *text, int64_t *value, Error *error)
{
    uint64_t number;
    const char *rest;
    char expected[96];
    snprintf(expected, sizeof expected, "a whole number from %.0f to %.0f", spec->least,
             spec->most);
    if (!parse_unsigned(text, '\0', &number, &rest) || number > INT64_MAX ||
        (double)number < spec->least || (double)number > spec->most)
        return bad_value(error, spec, text, expected);
    *value = (int64_t)number;
    return true;
}

static bool parse_number(const OptionSpec *spec, const char *text, double *value, Error *error)
{
    char *stop, expected[96];
    snprintf(expected, sizeof expected, "a number from %g to %g", spec->least, spec->most);
    double number = strtod(text, &stop);
    /* No leading space, no hexadecimal digits, no names of numbers. */
    bool plain = strspn(text, "+-.0123456789eE") == strlen(text);
    if (!plain || stop == text || *stop || !isfinite(number) || number < spec->least ||
        number > spec->most)
        return bad_value(error, spec, text, expected);
    *value = number;
    return true;
}

static bool parse_choice(const OptionSpec *spec, const char *text, int *value, Error *error)
{
    char expected[128] = "one of";
    for (int i = 0; spec->choices[i]; i++) {
        if (strcmp(spec->choices[i], text) == 0) {
            *value = i;
            return true;
        }
        size_t length = strlen(expected);
        snprintf(expected + length, sizeof expected - length, "%s %s", i ? "," : "",
                 spec->choices[i]);
    }
    return bad_value(error, spec, text, expected);
}

static bool parse_range(const OptionSpec *spec, const char *text, Range *range, Error *error)
{
    uint64_t begin, end;
    const char *rest;
    if (!parse_unsigned(text, ':', &begin, &rest) || !parse_unsigned(rest, '\0', &end, &rest) ||
        (begin >= end && (begin || end)))
        return bad_value(error, spec, text, "BEGIN:END with BEGIN < END");
    *range = (Range){.begin = begin, .end = end};
    return true;
}

static bool set_value(Settings *settings, const OptionSpec *spec, const char *text, Error *error)
{
    void *to = (char *)settings + spec->offset;
    const char *rest;
    switch (spec->type) {
    case OPTION_TEXT:
        if (strlen(text) >= SETTINGS_PATH)
            return fail_usage(error, "bad value: --%s: longer than the %d bytes of a path",
                              spec->name, SETTINGS_PATH - 1);
        strcpy(to, text);
        return true;
    case OPTION_INTEGER: return parse_integer(spec, text, to, error);
    case OPTION_SEED:
        return parse_unsigned(text, '\0', to, &rest) ||
               bad_value(error, spec, text, "a whole number below 2^64");
    case OPTION_NUMBER: return parse_number(spec, text, to, error);
    case OPTION_CHOICE: return parse_choice(spec, text, to, error);
    case OPTION_FLAG:
        *(bool *)to = strcmp(text, "true") == 0;
        return *(bool *)to || strcmp(text, "false") == 0 ||
               bad_value(error, spec, text, "true or false");
    case OPTION_RANGE: return parse_range(spec, text, to, error);
    }
    return false;
}

/* ---- the command line ---- */

const char *argp_program_version = "nnmf-train " NNMF_VERSION;

typedef struct Parsing {
    Settings *settings;
    Error *error;
    const char *name; /* of the command, as in the help */
} Parsing;

static const struct argp *argp_for_help;

static void exit_after_text(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        exit(STATUS_OK);
    fputs("nnmf-train: cannot write: standard output: the last lines are missing\n", stderr);
    exit(STATUS_FAILED);
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    Parsing *parsing = state->input;
    if (key == '?') {
        char name[64];
        snprintf(name, sizeof name, "nnmf-train %s", parsing->name);
        argp_help(argp_for_help, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK, name);
        exit_after_text();
    }
    if (key == 'V') {
        puts(argp_program_version);
        exit_after_text();
    }
    if (key == ARGP_KEY_ARG) {
        fail_usage(parsing->error, "unexpected argument: '%s': only options were expected",
                   argument);
        return EINVAL;
    }
    int number = key - FIRST_KEY;
    if (number < 0 || number >= SPECS)
        return ARGP_ERR_UNKNOWN;
    const OptionSpec *spec = &specs[number];
    if (!set_value(parsing->settings, spec, spec->type == OPTION_FLAG ? "true" : argument,
                   parsing->error))
        return EINVAL;
    parsing->settings->given |= UINT64_C(1) << number;
    return 0;
}

static const char *const command_documents[][3] = {
    {"train", "Trains the deep NNMF network and keeps the run in a folder.", NULL},
    {"eval", "Tests a weights file.", NULL},
    {"trace", "One batch forward and backward: writes outputs and gradients; changes no weight.",
     NULL},
    {"info", "Prints the network's layers and parameter counts.", NULL},
    {"bench", "Times the training step and the test batch, operation by operation.", NULL},
};

static int command_number(Command command)
{
    int number = 0;
    while (command >> number != 1)
        number++;
    return number;
}

/* argp's options for one command, with the defaults added to the help. */
static void make_options(Command command, struct argp_option *options, char help[][256])
{
    int count = 0;
    for (int i = 0; i < SPECS; i++) {
        if (!(specs[i].commands & (int)command))
            continue;
        bool tell =
            specs[i].initial[0] && specs[i].type != OPTION_FLAG && specs[i].type != OPTION_RANGE;
        snprintf(help[i], 256, tell ? "%s [%s]" : "%s", specs[i].help, specs[i].initial);
        options[count++] = (struct argp_option){
            .name = specs[i].name, .key = FIRST_KEY + i, .arg = specs[i].argument, .doc = help[i]};
    }
    options[count++] =
        (struct argp_option){.name = "help", .key = '?', .doc = "give this help list", .group = -1};
    options[count++] = (struct argp_option){
        .name = "version", .key = 'V', .doc = "print the version", .group = -1};
    options[count] = (struct argp_option){0};
}

bool settings_parse(Command command, int count, char **arguments, Settings *settings, Error *error)
{
    struct argp_option options[SPECS + 3];
    char help[SPECS][256];
    const char *const *document = command_documents[command_number(command)];
    struct argp argp = {.options = options, .parser = parse_option, .doc = document[1]};
    make_options(command, options, help);
    argp_for_help = &argp;

    memset(settings, 0, sizeof *settings);
    settings->command = command;
    for (int i = 0; i < SPECS; i++)
        if (!set_value(settings, &specs[i], specs[i].initial, error))
            return false;

    /* argp wants the program's name first. */
    char **vector = calloc((size_t)count + 2, sizeof *vector);
    if (!vector)
        return fail(error, "out of memory: the command line: %d arguments", count);
    vector[0] = (char[]){"nnmf-train"};
    memcpy(vector + 1, arguments, (size_t)count * sizeof *vector);
    Parsing parsing = {.settings = settings, .error = error, .name = document[0]};
    int index = 0;
    error_t status =
        argp_parse(&argp, count + 1, vector, ARGP_NO_ERRS | ARGP_NO_HELP, &index, &parsing);
    if (status && error->status == STATUS_OK) {
        int wrong = index > 0 && index <= count ? index : count;
        const char *last = vector[wrong > 1 && vector[wrong][0] != '-' ? wrong - 1 : wrong];
        fail_usage(error, "unknown or incomplete option: %s: see nnmf-train %s --help",
                   last ? last : "", document[0]);
    }
    free(vector);
    return status == 0;
}

/* ---- what is made of it ---- */

NetworkOptions settings_network(const Settings *s)
{
    return (NetworkOptions){.iterations = (int)s->iterations,
                            .epsilon = s->epsilon,
                            .positive_function = (PositiveFunction)s->positive_function,
                            .beta = s->beta,
                            .local_learning = (LocalLearning)s->local_learning,
                            .loss = (LossKind)s->loss,
                            .loss_mse = s->loss_mse,
                            .loss_kl = s->loss_kl};
}

bool settings_open_device(const Settings *s, Device *device, Error *error)
{
    CudaOptions cuda = {.kernel = (NnmfKernel)s->nnmf_kernel, .precision = (Precision)s->precision};
    return device_open(device, (DeviceKind)s->device, (int)s->threads, &cuda, error);
}

const char *settings_data_folder(const Settings *settings, char *buffer, size_t capacity)
{
    if (settings->data[0])
        return settings->data;
    const char *environment = getenv("NNMF_DATA");
    if (environment && environment[0])
        return environment;
    snprintf(buffer, capacity, "data/%s", dataset_name((DatasetKind)settings->dataset));
    return buffer;
}

/* ---- config.json ---- */

static json_t *value_to_json(const Settings *settings, const OptionSpec *spec)
{
    const void *from = (const char *)settings + spec->offset;
    char text[64];
    switch (spec->type) {
    case OPTION_TEXT: return json_string(from);
    case OPTION_INTEGER: return json_integer(*(const int64_t *)from);
    case OPTION_SEED: /* 64 bits do not fit into every reader's number */
        snprintf(text, sizeof text, "%" PRIu64, *(const uint64_t *)from);
        return json_string(text);
    case OPTION_NUMBER: return json_real(*(const double *)from);
    case OPTION_CHOICE: return json_string(spec->choices[*(const int *)from]);
    case OPTION_FLAG: return json_boolean(*(const bool *)from);
    case OPTION_RANGE:
        snprintf(text, sizeof text, "%zu:%zu", ((const Range *)from)->begin,
                 ((const Range *)from)->end);
        return json_string(text);
    }
    return NULL;
}

json_t *settings_to_json(const Settings *settings)
{
    json_t *object = json_object();
    for (int i = 0; object && i < SPECS; i++) {
        if (!(specs[i].commands & COMMAND_TRAIN) || specs[i].keep == KEEP_NEVER)
            continue;
        if (json_object_set_new(object, specs[i].name, value_to_json(settings, &specs[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* As one would write it on the command line. */
static bool json_to_text(const json_t *value, char *text, size_t capacity)
{
    int length = -1;
    if (json_is_string(value))
        length = snprintf(text, capacity, "%s", json_string_value(value));
    else if (json_is_integer(value))
        length = snprintf(text, capacity, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        length = snprintf(text, capacity, "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        length = snprintf(text, capacity, "%s", json_is_true(value) ? "true" : "false");
    return length >= 0 && (size_t)length < capacity;
}

bool settings_from_json(const json_t *json, const char *path, Settings *settings, Error *error)
{
    for (int i = 0; i < SPECS; i++) {
        const OptionSpec *spec = &specs[i];
        bool given = settings->given >> i & 1;
        if (!(spec->commands & COMMAND_TRAIN) || spec->keep == KEEP_NEVER)
            continue;
        if (given && spec->keep == KEEP_RUN)
            return fail_usage(error,
                              "option not possible with --resume: --%s: the run's own is in "
                              "%s",
                              spec->name, path);
        if (given)
            continue;
        char text[SETTINGS_PATH];
        const json_t *value = json_object_get(json, spec->name);
        if (!value || !json_to_text(value, text, sizeof text))
            return fail(error, "bad configuration: %s: no value for '%s'", path, spec->name);
        Error wrong = {0};
        if (!set_value(settings, spec, text, &wrong))
            return fail(error, "bad configuration: %s: %s", path, wrong.text);
    }
    return true;
}
