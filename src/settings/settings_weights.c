#include "settings/settings_weights.h"

#include "base/version.h"
#include "settings/options.h"

#include <string.h>

char *weights_options_text(const json_t *options, Error *error)
{
    char *text = options ? json_dumps(options, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (!text)
        fail(error, "out of memory: options: their JSON text for the weights");
    return text;
}

bool weights_options_read(const TensorFile *file, const char *path, json_t **options, Error *error)
{
    const char *text = tensor_file_metadata(file, CHECKPOINT_OPTIONS);
    *options = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!text || json_is_object(*options))
        return true;
    json_decref(*options);
    *options = NULL;
    return fail(error, "bad weights: %s: '%s' in its metadata: a JSON object was expected", path,
                CHECKPOINT_OPTIONS);
}

/* Converts a stored value to the form of the command line. */
static bool stored_text(const json_t *value, const OptionSpec *spec, const char *path,
                        char text[SETTINGS_PATH], Error *error)
{
    Settings stored = {0};
    Error wrong = {0};
    if (!option_from_json(&stored, spec, value, &wrong))
        return fail(error, "bad weights: %s: %s", path, wrong.text);
    option_text(&stored, spec, text);
    return true;
}

/* ---- using weights ---- */

static bool take(Settings *settings, const OptionSpec *spec, const json_t *value, const char *path,
                 Error *error)
{
    char current[SETTINGS_PATH], stored[SETTINGS_PATH];
    if (!stored_text(value, spec, path, stored, error))
        return false;
    if (!option_given(settings, spec))
        return option_set(settings, spec, stored, error);
    option_text(settings, spec, current);
    if (spec->keep == KEEP_TEST || settings->override || strcmp(current, stored) == 0)
        return true;
    return fail_usage(error,
                      "option contradicts the weights: --%s %s: %s was trained with %s: --override "
                      "allows it",
                      spec->name, current, path, stored);
}

static bool take_all(Settings *settings, const json_t *options, const char *path, Error *error)
{
    bool trains = settings->command == COMMAND_TRAIN;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)options, name, value)
    {
        const OptionSpec *spec = option_find(name, strlen(name));
        if (!spec)
            warn("unknown option: %s: '%s' in its metadata: ignored by version %s", path, name,
                 NNMF_VERSION);
        else if ((spec->keep == KEEP_NETWORK || (spec->keep == KEEP_TEST && !trains)) &&
                 !take(settings, spec, value, path, error))
            return false;
    }
    return true;
}

bool settings_use_weights(Settings *settings, Error *error)
{
    const char *path = settings->weights[0] ? settings->weights : settings->init;
    if (!path[0])
        return !settings->override ||
               fail_usage(error, "option of a weights file: --override: none is given");
    TensorFile file;
    Error unused; /* the command reads the file again and reports the error */
    if (!safetensors_read(path, &file, &unused))
        return true;
    json_t *options;
    bool good = weights_options_read(&file, path, &options, error) &&
                (!options || take_all(settings, options, path, error));
    json_decref(options);
    tensor_file_free(&file);
    return good && settings_check(settings, error);
}

json_t *weights_options_now(const Settings *settings, const json_t *options, Error *error)
{
    json_t *now = settings_to_json(settings, OPTIONS_OF_WEIGHTS);
    json_t *stored = options ? json_deep_copy(options) : json_object();
    bool good = now && stored;
    for (int i = 0; good && i < option_count; i++) {
        const OptionSpec *spec = &option_specs[i];
        json_t *value = json_object_get(now, spec->name);
        bool keeps = spec->keep == KEEP_TEST && json_object_get(stored, spec->name);
        good = !value || keeps || json_object_set(stored, spec->name, value) == 0;
    }
    json_decref(now);
    if (good)
        return stored;
    json_decref(stored);
    fail(error, "out of memory: options: their JSON text for the weights");
    return NULL;
}

/* ---- resuming a run ---- */

bool weights_option_differs(const Settings *settings, const json_t *options, const char *name)
{
    const OptionSpec *spec = option_find(name, strlen(name));
    char current[SETTINGS_PATH], stored[SETTINGS_PATH];
    Error wrong;
    const json_t *value = json_object_get(options, name);
    return !value || !stored_text(value, spec, "", stored, &wrong) ||
           strcmp(option_text(settings, spec, current), stored) != 0;
}

bool settings_check_edits(const Settings *settings, const json_t *options, const char *config,
                          const char *checkpoint, Error *error)
{
    for (int i = 0; i < option_count; i++) {
        const OptionSpec *spec = &option_specs[i];
        const json_t *value = json_object_get(options, spec->name);
        char current[SETTINGS_PATH], stored[SETTINGS_PATH];
        if (!option_belongs_to_run(spec) || !value)
            continue;
        if (!stored_text(value, spec, checkpoint, stored, error))
            return false;
        if (strcmp(option_text(settings, spec, current), stored) != 0)
            return fail(error,
                        "option of the run was edited: %s: %s is '%s': %s was trained with '%s'",
                        config, spec->name, current, checkpoint, stored);
    }
    return true;
}
