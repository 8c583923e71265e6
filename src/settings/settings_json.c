#include "settings/options.h"

#include <inttypes.h>
#include <stdio.h>

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
    case OPTION_SHOW: break; /* is never stored */
    }
    return NULL;
}

json_t *settings_to_json(const Settings *settings)
{
    json_t *object = json_object();
    for (int i = 0; object && i < option_count; i++) {
        if (!(option_specs[i].commands & COMMAND_TRAIN) || option_specs[i].keep == KEEP_NEVER)
            continue;
        if (json_object_set_new(object, option_specs[i].name,
                                value_to_json(settings, &option_specs[i])) != 0) {
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
    for (int i = 0; i < option_count; i++) {
        const OptionSpec *spec = &option_specs[i];
        bool given = option_given(settings, spec);
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
        if (!value && spec->keep == KEEP_FREE)
            continue; /* the run is from before there was this option */
        if (!value || !json_to_text(value, text, sizeof text))
            return fail(error, "bad configuration: %s: no value for '%s'", path, spec->name);
        Error wrong = {0};
        if (!option_set(settings, spec, text, &wrong))
            return fail(error, "bad configuration: %s: %s", path, wrong.text);
    }
    return settings_check(settings, error);
}
