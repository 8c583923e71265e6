#include "run/run_folder.h"

#include "base/file.h"
#include "base/version.h"
#include "nnmf/memory.h"
#include "settings/settings_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool set_paths(RunFolder *run, Error *error)
{
    return file_join(run->config, SETTINGS_PATH, run->folder, RUN_CONFIG, error) &&
           file_join(run->metrics, SETTINGS_PATH, run->folder, "metrics.csv", error) &&
           file_join(run->last, SETTINGS_PATH, run->folder, RUN_LAST, error) &&
           file_join(run->best, SETTINGS_PATH, run->folder, RUN_BEST, error);
}

/* ---- a new folder ---- */

static bool default_name(const Settings *settings, char *name, size_t capacity, Error *error)
{
    char when[32];
    time_t now = time(NULL);
    struct tm local;
    if (!localtime_r(&now, &local) || !strftime(when, sizeof when, "%Y%m%d-%H%M%S", &local))
        return fail(error, "no local time: the run's folder: name it with --out");
    snprintf(name, capacity, "%s-%s", dataset_name(settings->dataset), when);
    return true;
}

/* Creates the first of runs/NAME, runs/NAME-2, ... that does not exist. Several runs may start in
 * the same second. */
static bool make_default(const Settings *settings, RunFolder *run, Error *error)
{
    const unsigned max_number = 10000;
    char name[64];
    if (!default_name(settings, name, sizeof name, error) || !file_make_folder("runs", error))
        return false;
    for (unsigned number = 1; number <= max_number; number++) {
        char suffix[16] = "";
        if (number > 1)
            snprintf(suffix, sizeof suffix, "-%u", number);
        snprintf(run->folder, sizeof run->folder, "runs/%s%s", name, suffix);
        if (mkdir(run->folder, 0777) == 0)
            return true;
        if (errno != EEXIST)
            return fail(error, "cannot make folder: %s: %s", run->folder, strerror(errno));
    }
    return fail(error, "cannot make folder: %s: it exists, and so do all lower numbers",
                run->folder);
}

static bool has_run(const RunFolder *run)
{
    return access(run->config, F_OK) == 0 || access(run->metrics, F_OK) == 0 ||
           access(run->last, F_OK) == 0 || access(run->best, F_OK) == 0;
}

/* Checks again with the lock held, because a run may have started and ended in between. */
static bool claim(RunFolder *run, Error *error)
{
    if (!run_lock_create(&run->lock, run->folder, error))
        return false;
    if (!has_run(run))
        return true;
    run_lock_release(&run->lock);
    return run_lock_refuse(run->folder, error);
}

bool run_folder_create(const Settings *settings, RunFolder *run, Error *error)
{
    bool named = settings->out[0] != '\0';
    if (named)
        strcpy(run->folder, settings->out);
    else if (!make_default(settings, run, error))
        return false;
    if (!set_paths(run, error))
        return false;
    if (has_run(run))
        return run_lock_refuse(run->folder, error);
    if (named && !file_make_folder(run->folder, error))
        return false;
    bool claimed = claim(run, error);
    if (!claimed)
        rmdir(run->folder);
    return claimed;
}

void run_folder_remove(RunFolder *run)
{
    unlink(run->config);
    unlink(run->metrics);
    unlink(run->last);
    run_lock_release(&run->lock);
    rmdir(run->folder);
}

/* ---- the folder of --resume ---- */

/* Leaves no lock in a folder without a run. */
static bool lock_to_resume(RunFolder *run, Error *error)
{
    if (access(run->config, F_OK) != 0)
        return fail(error, "cannot read: %s: %s: the folder of a run was expected", run->config,
                    strerror(errno));
    return run_lock_take(&run->lock, run->folder, error);
}

static bool read_config(const RunFolder *run, json_t **config, Error *error)
{
    enum { MAX_BYTES = 1 << 20 };
    uint8_t *bytes;
    size_t size;
    if (!file_read_text(run->config, MAX_BYTES, &bytes, &size, error))
        return false;
    json_error_t json_error;
    *config = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &json_error);
    memory_free(bytes);
    return *config || fail(error, "bad configuration: %s: line %d: %s", run->config,
                           json_error.line, json_error.text);
}

bool run_folder_open(Settings *settings, RunFolder *run, json_t **config, Error *error)
{
    *config = NULL;
    strcpy(run->folder, settings->resume);
    if (!set_paths(run, error) || !lock_to_resume(run, error) || !read_config(run, config, error))
        return false;
    const json_t *options = json_object_get(*config, "options");
    if (!json_is_object(options))
        return fail(error, "bad configuration: %s: no object 'options'", run->config);
    const char *version = json_string_value(json_object_get(*config, "version"));
    if (!settings_from_config(options, version, run->config, settings, error))
        return false;
    /* The run may have taken its data folder from $NNMF_DATA, which may not be set now. */
    const json_t *data = json_object_get(*config, "data");
    const char *folder = json_string_value(json_object_get(data, "folder"));
    const char *environment = getenv("NNMF_DATA");
    if (!settings->data[0] && !(environment && environment[0]) && folder &&
        strlen(folder) < sizeof settings->data)
        strcpy(settings->data, folder);
    return true;
}

bool run_folder_keep(RunFolder *run, Error *error)
{
    return run_lock_keep(&run->lock, run->folder, error);
}

void run_folder_close(RunFolder *run)
{
    run_lock_release(&run->lock);
}

json_t *run_folder_config(const RunFolder *run, const Settings *settings, const char *data_folder,
                          const Session *session, Error *error)
{
    char train[16], test[16];
    snprintf(train, sizeof train, "%08" PRIx32, session->checksum[SPLIT_TRAIN]);
    snprintf(test, sizeof test, "%08" PRIx32, session->checksum[SPLIT_TEST]);
    json_t *json = json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:I, s:I, s:s, s:s}, s:o?}", "version", NNMF_VERSION, "device",
        session->device.description, "data", "name", dataset_name(settings->dataset), "folder",
        data_folder, "train_images", (json_int_t)batches_images(&session->batches[SPLIT_TRAIN]),
        "test_images", (json_int_t)batches_images(&session->batches[SPLIT_TEST]), "train_checksum",
        train, "test_checksum", test, "options", settings_to_json(settings, OPTIONS_OF_CONFIG));
    if (!json)
        fail(error, "out of memory: %s: its JSON text", run->config);
    return json;
}

bool run_folder_write_config(const RunFolder *run, const json_t *config, Error *error)
{
    char *text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (!text)
        return fail(error, "out of memory: %s: its JSON text", run->config);
    FileWriter writer;
    bool written = file_writer_open(&writer, run->config, error);
    if (written) {
        fprintf(writer.stream, "%s\n", text); /* commit reports a failure */
        written = file_writer_commit(&writer, error);
    }
    free(text);
    return written;
}
