#include "run/run_folder.h"

#include "base/file.h"
#include "base/version.h"
#include "nnmf/memory.h"
#include "settings/settings_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool set_paths(RunFolder *run, Error *error)
{
    return file_join(run->config, SETTINGS_PATH, run->folder, "config.json", error) &&
           file_join(run->metrics, SETTINGS_PATH, run->folder, "metrics.csv", error) &&
           file_join(run->last, SETTINGS_PATH, run->folder, "last.safetensors", error) &&
           file_join(run->best, SETTINGS_PATH, run->folder, "best.safetensors", error);
}

bool run_folder_create(const Settings *settings, RunFolder *run, Error *error)
{
    if (settings->out[0]) {
        strcpy(run->folder, settings->out);
    } else {
        char when[32];
        time_t now = time(NULL);
        struct tm local;
        if (!localtime_r(&now, &local) || !strftime(when, sizeof when, "%Y%m%d-%H%M%S", &local))
            return fail(error, "no time of day: the run's folder: give one with --out");
        snprintf(run->folder, sizeof run->folder, "runs/%s-%s",
                 dataset_name((DatasetKind)settings->dataset), when);
    }
    if (!set_paths(run, error))
        return false;
    if (access(run->config, F_OK) == 0 || access(run->metrics, F_OK) == 0 ||
        access(run->last, F_OK) == 0 || access(run->best, F_OK) == 0)
        return fail(error, "a run is there already: %s: go on with --resume, or give another --out",
                    run->folder);
    return file_make_folder(run->folder, error);
}

void run_folder_remove(const RunFolder *run)
{
    unlink(run->config);
    unlink(run->metrics);
    unlink(run->last);
    rmdir(run->folder);
}

static bool read_config(const RunFolder *run, json_t **config, Error *error)
{
    enum { LARGEST = 1 << 20 };
    uint8_t *bytes;
    size_t size;
    if (!file_read_text(run->config, LARGEST, &bytes, &size, error))
        return false;
    json_error_t wrong;
    *config = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &wrong);
    memory_free(bytes);
    return *config ||
           fail(error, "bad configuration: %s: line %d: %s", run->config, wrong.line, wrong.text);
}

bool run_folder_open(Settings *settings, RunFolder *run, json_t **config, Error *error)
{
    *config = NULL;
    strcpy(run->folder, settings->resume);
    if (!set_paths(run, error) || !read_config(run, config, error))
        return false;
    const json_t *options = json_object_get(*config, "options");
    if (!json_is_object(options))
        return fail(error, "bad configuration: %s: no object 'options'", run->config);
    const char *version = json_string_value(json_object_get(*config, "version"));
    if (!settings_from_config(options, version, run->config, settings, error))
        return false;
    /* The folder that the environment named when the run began. */
    const json_t *data = json_object_get(*config, "data");
    const char *folder = json_string_value(json_object_get(data, "folder"));
    const char *environment = getenv("NNMF_DATA");
    if (!settings->data[0] && !(environment && environment[0]) && folder &&
        strlen(folder) < sizeof settings->data)
        strcpy(settings->data, folder);
    return true;
}

json_t *run_folder_config(const RunFolder *run, const Settings *settings, const char *device,
                          const RunData *data, Error *error)
{
    char train[16], test[16];
    snprintf(train, sizeof train, "%08" PRIx32, data->checksum[SPLIT_TRAIN]);
    snprintf(test, sizeof test, "%08" PRIx32, data->checksum[SPLIT_TEST]);
    json_t *json =
        json_pack("{s:s, s:s, s:{s:s, s:s, s:I, s:I, s:s, s:s}, s:o?}", "version", NNMF_VERSION,
                  "device", device, "data", "name", dataset_name((DatasetKind)settings->dataset),
                  "folder", data->folder, "train_images", (json_int_t)data->images[SPLIT_TRAIN],
                  "test_images", (json_int_t)data->images[SPLIT_TEST], "train_checksum", train,
                  "test_checksum", test, "options", settings_to_json(settings, OPTIONS_OF_CONFIG));
    if (!json)
        fail(error, "out of memory: %s: its text could not be made", run->config);
    return json;
}

bool run_folder_write_config(const RunFolder *run, const json_t *config, Error *error)
{
    char *text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (!text)
        return fail(error, "out of memory: %s: its text could not be made", run->config);
    FileWriter writer;
    bool written = file_writer_open(&writer, run->config, error);
    if (written) {
        fprintf(writer.stream, "%s\n", text); /* commit sees a failure */
        written = file_writer_commit(&writer, error);
    }
    free(text);
    return written;
}
