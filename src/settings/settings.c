#include "settings/settings.h"

#include "base/file.h"
#include "settings/nearest.h"
#include "settings/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values from text ---- */

static bool bad_value(Error *error, const OptionSpec *spec, const char *text, const char *expected)
{
    return fail_usage(error, "bad value: --%s: '%s' is not %s", spec->name, text, expected);
}

/* Parses digits followed by `end`; *remaining is the text after it. */
static bool parse_unsigned(const char *text, char end, uint64_t *value, const char **remaining)
{
    if (*text < '0' || *text > '9')
        return false;
    char *stop;
    errno = 0;
    *value = strtoull(text, &stop, 10);
    *remaining = stop + 1;
    return errno == 0 && *stop == end;
}

static bool parse_integer(const OptionSpec *spec, const char *text, int64_t *value, Error *error)
{
    uint64_t number;
    const char *remaining;
    char expected[96];
    snprintf(expected, sizeof expected, "a whole number from %.0f to %.0f", spec->minimum,
             spec->maximum);
    if (!parse_unsigned(text, '\0', &number, &remaining) || number > INT64_MAX ||
        (double)number < spec->minimum || (double)number > spec->maximum)
        return bad_value(error, spec, text, expected);
    *value = (int64_t)number;
    return true;
}

static bool parse_number(const OptionSpec *spec, const char *text, double *value, Error *error)
{
    char *stop, expected[96];
    snprintf(expected, sizeof expected, "a number from %g to %g", spec->minimum, spec->maximum);
    double number = strtod(text, &stop);
    /* strtod also accepts leading space, hexadecimal numbers and "infinity". */
    bool plain = strspn(text, "+-.0123456789eE") == strlen(text);
    if (!plain || stop == text || *stop || !isfinite(number) || number < spec->minimum ||
        number > spec->maximum)
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
    const char *remaining;
    if (!parse_unsigned(text, ':', &begin, &remaining) ||
        !parse_unsigned(remaining, '\0', &end, &remaining) || (begin >= end && (begin || end)))
        return bad_value(error, spec, text, "BEGIN:END with BEGIN < END");
    *range = (Range){.begin = begin, .end = end};
    return true;
}

bool option_set(Settings *settings, const OptionSpec *spec, const char *text, Error *error)
{
    void *to = (char *)settings + spec->offset;
    const char *remaining;
    switch (spec->type) {
    case OPTION_TEXT:
        if (strlen(text) >= SETTINGS_PATH)
            return fail_usage(error, "bad value: --%s: longer than the %d bytes of a path",
                              spec->name, SETTINGS_PATH - 1);
        strcpy(to, text);
        return true;
    case OPTION_INTEGER: return parse_integer(spec, text, to, error);
    case OPTION_SEED:
        return parse_unsigned(text, '\0', to, &remaining) ||
               bad_value(error, spec, text, "a whole number below 2^64");
    case OPTION_NUMBER: return parse_number(spec, text, to, error);
    case OPTION_CHOICE: return parse_choice(spec, text, to, error);
    case OPTION_FLAG:
        *(bool *)to = strcmp(text, "true") == 0;
        return *(bool *)to || strcmp(text, "false") == 0 ||
               bad_value(error, spec, text, "true or false");
    case OPTION_RANGE: return parse_range(spec, text, to, error);
    case OPTION_SHOW: settings->show = spec->show; return true;
    }
    return false;
}

/* ---- the command line ---- */

enum { SHOWN = 200 }; /* maximum bytes of a word in a message */

typedef struct Words {
    int count;
    char **words;
    int next;
} Words;

/* Reports that `word`, "--name" or "--name=value", is no option of `command`. */
static bool unknown_option(const CommandSpec *command, const char *word, Error *error)
{
    const char *name = word + strspn(word, "-");
    size_t length = strcspn(name, "=");
    const OptionSpec *foreign = word[1] == '-' ? option_find(name, length) : NULL;
    if (foreign)
        return fail_usage(error, "option of another command: '--%s': see nnmf-train %s --help",
                          foreign->name, command->name);
    const char *candidates[SETTINGS_OPTIONS + 1] = {NULL};
    int count = 0;
    for (int i = 0; i < option_count; i++)
        if (option_specs[i].commands & (int)command->command)
            candidates[count++] = option_specs[i].name;
    const char *suggestion = nearest_name(name, length, candidates);
    size_t whole = length + (size_t)(name - word);
    int shown = whole < SHOWN ? (int)whole : SHOWN;
    if (suggestion)
        return fail_usage(error, "unknown option: '%.*s': did you mean '--%s'?", shown, word,
                          suggestion);
    return fail_usage(error, "unknown option: '%.*s': see nnmf-train %s --help", shown, word,
                      command->name);
}

/* The value is after "--name=" or in the next word, which may not look like an option. */
static bool take_value(const OptionSpec *spec, const char *word, Words *remaining,
                       const char **value, Error *error)
{
    const char *equals = strchr(word, '=');
    if (!option_takes_value(spec)) {
        *value = "true";
        return !equals || fail_usage(error, "unexpected value: %.*s: --%s takes none", SHOWN, word,
                                     spec->name);
    }
    *value = equals                               ? equals + 1
             : remaining->next < remaining->count ? remaining->words[remaining->next++]
                                                  : NULL;
    /* An empty text usually comes from an unset shell variable. */
    bool empty = spec->type == OPTION_TEXT && *value && !**value;
    if (*value && !empty && (equals || strncmp(*value, "--", 2) != 0))
        return true;
    return fail_usage(error, "missing value: --%s: --%s %s was expected", spec->name, spec->name,
                      spec->argument);
}

static bool parse_option(Settings *settings, const CommandSpec *command, const char *word,
                         Words *remaining, Error *error)
{
    const OptionSpec *spec = word[1] == '-' ? option_find(word + 2, strcspn(word + 2, "=")) : NULL;
    const char *value;
    if (!spec || !(spec->commands & (int)command->command))
        return unknown_option(command, word, error);
    if (!take_value(spec, word, remaining, &value, error) ||
        !option_set(settings, spec, value, error))
        return false;
    settings->given[spec - option_specs] = true;
    return true;
}

static bool take_argument(Settings *settings, const CommandSpec *command, char *word, Error *error)
{
    if (!command->arguments)
        return fail_usage(error, "unexpected argument: '%.*s': only options were expected", SHOWN,
                          word);
    settings->arguments[settings->argument_count++] = word;
    return true;
}

static const CommandSpec *find_command(const char *name, Error *error)
{
    const CommandSpec *command = command_find(name);
    if (command)
        return command;
    const char *names[SETTINGS_COMMANDS + 1] = {NULL};
    for (int i = 0; i < command_count; i++)
        names[i] = command_specs[i].name;
    const char *suggestion = nearest_name(name, strlen(name), names);
    if (suggestion)
        fail_usage(error, "unknown command: '%.*s': did you mean '%s'?", SHOWN, name, suggestion);
    else
        fail_usage(error, "unknown command: '%.*s': see nnmf-train --help", SHOWN, name);
    return NULL;
}

/* Rejects an output file that would replace an input with something else. `statistics` may replace
 * the weights, because its output holds them. */
static bool check_outputs(const Settings *settings, Error *error)
{
    bool statistics = settings->command == COMMAND_STATISTICS;
    const char *written[] = {settings->out, settings->probabilities, settings->log_steps};
    const char *read[] = {statistics ? "" : settings->weights, settings->init};
    char buffer[SETTINGS_PATH];
    const char *data = settings_data_folder(settings, buffer, sizeof buffer);
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        const char *replaced = NULL;
        for (size_t j = 0; written[i][0] && j < sizeof read / sizeof *read; j++)
            if (read[j][0] && file_same(written[i], read[j]))
                replaced = "weights";
        if (written[i][0] && dataset_has_file(settings->dataset, data, written[i]))
            replaced = "data";
        if (replaced)
            return fail_usage(error, "output would replace the %s: %s: another file was expected",
                              replaced, written[i]);
    }
    return true;
}

static bool is_given(const Settings *settings, const char *name)
{
    return option_given(settings, option_find(name, strlen(name)));
}

/* With --device auto the device is not known yet, so options of both kinds are accepted. */
static bool check_device(const Settings *settings, Error *error)
{
    for (int i = 0; i < option_count && settings->device != DEVICE_AUTO; i++) {
        const OptionSpec *spec = &option_specs[i];
        if (spec->device != DEVICE_AUTO && spec->device != settings->device &&
            option_given(settings, spec))
            return fail_usage(error, "option of %s: --%s: --device %s does not take it",
                              spec->device == DEVICE_CPU ? "the CPU" : "CUDA", spec->name,
                              settings->device == DEVICE_CPU ? "cpu" : "cuda");
    }
    return true;
}

/* Rejects options that would be stored in config.json but have no effect. */
static bool check_meaning(const Settings *s, Error *error)
{
    const char *weights = s->weights[0] ? s->weights : s->init;
    bool beta = is_given(s, "beta"), entropy = s->loss == LOSS_CROSS_ENTROPY;
    if (s->resume[0]) /* none of these may be given, which settings_from_config checks */
        return true;
    if (beta && weights[0])
        return fail_usage(error, "option of new weights: --beta: %s has its own", weights);
    if (beta && !positive_function_has_beta(s->positive_function))
        return fail_usage(error,
                          "option of exp and tanh: --beta: other positive functions have "
                          "none");
    if (entropy && (is_given(s, "loss-mse") || is_given(s, "loss-kl")))
        return fail_usage(error, "option of sbs: --loss-%s: --loss cross-entropy has none",
                          is_given(s, "loss-mse") ? "mse" : "kl");
    return true;
}

bool settings_check(const Settings *settings, Error *error)
{
    for (int i = 0; i < option_count; i++)
        if (!option_applies(settings, &option_specs[i]) && option_given(settings, &option_specs[i]))
            return fail_usage(error, "option of NNMF layers: --%s: --arch cnn has none",
                              option_specs[i].name);
    return check_device(settings, error) && check_meaning(settings, error) &&
           check_outputs(settings, error);
}

bool settings_parse(int count, char **words, Settings *settings, Error *error)
{
    memset(settings, 0, sizeof *settings);
    /* Without a command's name the command is train. */
    settings->named = count > 0 && words[0][0] != '-';
    const CommandSpec *command = find_command(settings->named ? words[0] : "train", error);
    if (!command)
        return false;
    settings->command = command->command;
    /* Arguments are moved to the front of `words`, over words that have been read. */
    settings->arguments = words;
    for (int i = 0; i < option_count; i++)
        if (option_specs[i].type != OPTION_SHOW &&
            !option_set(settings, &option_specs[i], option_specs[i].initial, error))
            return false;

    Words remaining = {.count = count, .words = words, .next = settings->named ? 1 : 0};
    bool only_arguments = false;
    while (remaining.next < count && settings->show == SHOW_NOTHING) {
        char *word = words[remaining.next++];
        if (only_arguments || word[0] != '-' || !word[1]) {
            if (!take_argument(settings, command, word, error))
                return false;
        } else if (strcmp(word, "--") == 0) {
            only_arguments = true;
        } else if (!parse_option(settings, command, word, &remaining, error)) {
            return false;
        }
    }
    return settings_check(settings, error);
}

/* ---- values for other rooms ---- */

NetworkOptions settings_network(const Settings *s)
{
    return (NetworkOptions){.architecture = s->arch,
                            .iterations = (int)s->iterations,
                            .epsilon = s->epsilon,
                            .positive_function = s->positive_function,
                            .beta = s->beta,
                            .local_learning = s->local_learning,
                            .loss = s->loss,
                            .loss_mse = s->loss_mse,
                            .loss_kl = s->loss_kl};
}

bool settings_open_device(const Settings *s, Device *device, Error *error)
{
    DeviceOptions options = {
        .kind = s->device,
        .cpu = {.instruction_set = cpu_instruction_set_names[s->cpu], .threads = (int)s->threads},
        .cuda = {.kernel = s->nnmf_kernel, .precision = s->precision}};
    return device_open(device, &options, error);
}

const char *settings_data_folder(const Settings *settings, char *buffer, size_t capacity)
{
    if (settings->data[0])
        return settings->data;
    const char *environment = getenv("NNMF_DATA");
    if (environment && environment[0])
        return environment;
    snprintf(buffer, capacity, "data/%s", dataset_name(settings->dataset));
    return buffer;
}
