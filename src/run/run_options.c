#include "run/run_options.h"

#include "base/file.h"
#include "settings/settings_weights.h"

#include <stdlib.h>
#include <string.h>

static bool make_absolute(Settings *s, RunOptions *options, Error *error)
{
    char buffer[SETTINGS_PATH], init[SETTINGS_PATH];
    const char *data = settings_data_folder(s, buffer, sizeof buffer);
    if (!file_absolute(options->data, sizeof options->data, data, error))
        return false;
    if (s->data[0])
        strcpy(s->data, options->data);
    if (!s->init[0] || s->resume[0])
        return true;
    strcpy(init, s->init);
    return file_absolute(s->init, sizeof s->init, init, error);
}

static bool is_utf8(const char *text)
{
    json_t *string = json_string(text);
    bool valid = string != NULL;
    json_decref(string);
    return valid;
}

static bool check_name(const char *what, const char *name, const char *where, Error *error)
{
    return is_utf8(name) || fail_usage(error, "name is not UTF-8: %s: %s: %s cannot represent it",
                                       what, name, where);
}

/* JSON can only represent names in UTF-8. */
static bool check_names(const Settings *s, const RunOptions *options, Error *error)
{
    const char *config = "config.json", *output = "--log-format json";
    return check_name("data folder", options->data, config, error) &&
           check_name("--init", s->init, config, error) &&
           (s->log_format != LOG_JSON || (check_name("--out", s->out, output, error) &&
                                          check_name("--resume", s->resume, output, error)));
}

static char *make_text(const Settings *settings, OptionsOf which, Error *error)
{
    json_t *options = settings_to_json(settings, which);
    char *text = weights_options_text(options, error);
    json_decref(options);
    return text;
}

bool run_options_make(Settings *settings, RunOptions *options, Error *error)
{
    return make_absolute(settings, options, error) && check_names(settings, options, error) &&
           (options->of_last = make_text(settings, OPTIONS_OF_CHECKPOINT, error)) &&
           (options->of_best = make_text(settings, OPTIONS_OF_WEIGHTS, error));
}

void run_options_free(RunOptions *options)
{
    free(options->of_last);
    free(options->of_best);
    *options = (RunOptions){0};
}
