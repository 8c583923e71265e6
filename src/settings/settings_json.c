#include "settings/settings_json.h"

#include "base/version.h"
#include "settings/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

json_t *option_to_json(const Settings *settings, const OptionSpec *spec)
{
    const void *from = (const char *)settings + spec->offset;
    char text[64];
    switch (spec->type) {
    case OPTION_TEXT: return json_string(from);
    case OPTION_INTEGER: return json_integer(*(const int64_t *)from);
    case OPTION_SEED: /* as text, because JSON readers may round integers above 2^53 */
        snprintf(text, sizeof text, "%" PRIu64, *(const uint64_t *)from);
        return json_string(text);
    case OPTION_NUMBER: return json_real(*(const double *)from);
    case OPTION_CHOICE: return json_string(spec->choices[*(const int *)from]);
    case OPTION_FLAG: return json_boolean(*(const bool *)from);
    case OPTION_RANGE:
        snprintf(text, sizeof text, "%zu:%zu", ((const Range *)from)->begin,
                 ((const Range *)from)->end);
        return json_string(text);
    case OPTION_SHOW: break; /* never stored */
    }
    return NULL;
}

/* Writes 15 digits, or 17 if 15 do not give back the same number. */
static int number_to_text(double number, char *text, size_t capacity)
{
    int length = snprintf(text, capacity, "%.15g", number);
    return strtod(text, NULL) == number ? length : snprintf(text, capacity, "%.17g", number);
}

/* Writes a value in the form of the command line. */
static bool json_to_text(const json_t *value, char *text, size_t capacity)
{
    int length = -1;
    if (json_is_string(value))
        length = snprintf(text, capacity, "%s", json_string_value(value));
    else if (json_is_integer(value))
        length = snprintf(text, capacity, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        length = number_to_text(json_real_value(value), text, capacity);
    else if (json_is_boolean(value))
        length = snprintf(text, capacity, "%s", json_is_true(value) ? "true" : "false");
    return length >= 0 && (size_t)length < capacity;
}

bool option_from_json(Settings *settings, const OptionSpec *spec, const json_t *value, Error *error)
{
    char text[SETTINGS_PATH];
    if (json_is_string(value)) /* may be longer than `text` */
        return option_set(settings, spec, json_string_value(value), error);
    return json_to_text(value, text, sizeof text)
               ? option_set(settings, spec, text, error)
               : fail(error, "no value: '%s': text, a number, true or false was expected",
                      spec->name);
}

const char *option_text(const Settings *settings, const OptionSpec *spec, char text[SETTINGS_PATH])
{
    json_t *value = option_to_json(settings, spec);
    if (!json_to_text(value, text, SETTINGS_PATH))
        text[0] = '\0';
    json_decref(value);
    return text;
}

/* ---- all options ---- */

static bool belongs(const OptionSpec *spec, OptionsOf which)
{
    switch (which) {
    case OPTIONS_OF_CONFIG: return spec->commands & COMMAND_TRAIN && spec->keep != KEEP_NEVER;
    case OPTIONS_OF_CHECKPOINT: return option_belongs_to_run(spec) || spec->keep == KEEP_RATE;
    case OPTIONS_OF_WEIGHTS: break;
    }
    return spec->keep == KEEP_NETWORK || spec->keep == KEEP_TEST;
}

json_t *settings_to_json(const Settings *settings, OptionsOf which)
{
    json_t *object = json_object();
    for (int i = 0; object && i < option_count; i++) {
        if (!belongs(&option_specs[i], which) ||
            (which != OPTIONS_OF_CONFIG && !option_applies(settings, &option_specs[i])))
            continue;
        if (json_object_set_new(object, option_specs[i].name,
                                option_to_json(settings, &option_specs[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* ---- config.json ---- */

/* "name value, name value", for a warning. */
typedef struct OptionList {
    char text[600];
} OptionList;

static void add(OptionList *list, const char *name, const char *value)
{
    size_t length = strlen(list->text);
    snprintf(list->text + length, sizeof list->text - length, "%s%s%s%s", length ? ", " : "", name,
             *value ? " " : "", value);
}

static void warn_unknown(const json_t *options, const char *path)
{
    OptionList unknown = {""};
    const char *name;
    const json_t *value;
    json_object_foreach((json_t *)options, name, value)
    {
        const OptionSpec *spec = option_find(name, strlen(name));
        bool obsolete = strcmp(name, "out") == 0; /* version 0.1.0 stored it */
        if (!obsolete && (!spec || !belongs(spec, OPTIONS_OF_CONFIG)))
            add(&unknown, name, "");
    }
    if (unknown.text[0])
        warn("unknown options: %s: %s: ignored by version %s", path, unknown.text, NNMF_VERSION);
}

bool settings_from_config(const json_t *options, const char *version, const char *path,
                          Settings *settings, Error *error)
{
    bool other_version = version && strcmp(version, NNMF_VERSION) != 0;
    OptionList missing = {""};
    for (int i = 0; i < option_count; i++) {
        const OptionSpec *spec = &option_specs[i];
        bool given = option_given(settings, spec);
        if (!belongs(spec, OPTIONS_OF_CONFIG))
            continue;
        if (given && option_belongs_to_run(spec))
            return fail_usage(error,
                              "option not allowed with --resume: --%s: the run's value is in "
                              "%s",
                              spec->name, path);
        if (given)
            continue;
        const json_t *value = json_object_get(options, spec->name);
        if (!value && (other_version || spec->keep == KEEP_FREE)) {
            add(&missing, spec->name, spec->initial);
            continue;
        }
        Error wrong = {0};
        if (!value)
            return fail(error, "bad configuration: %s: no value for '%s'", path, spec->name);
        if (!option_from_json(settings, spec, value, &wrong))
            return fail(error, "bad configuration: %s: %s", path, wrong.text);
    }
    if (missing.text[0])
        warn("options missing: %s: version %s did not write them: using %s", path,
             version ? version : "unknown", missing.text);
    warn_unknown(options, path);
    return settings_check(settings, error);
}
