/* The folder of a training run: config.json, metrics.csv, last and best weights, event files
 * (event_file.h) and, while a process trains there, a lock (run_lock.h). */
#ifndef NNMF_RUN_FOLDER_H
#define NNMF_RUN_FOLDER_H

#include "run/run_lock.h"
#include "run/session.h"
#include "settings/settings.h"

#include <jansson.h>

#define RUN_CONFIG "config.json"
#define RUN_LAST "last.safetensors"
#define RUN_BEST "best.safetensors"

typedef struct RunFolder {
    char folder[SETTINGS_PATH];
    char config[SETTINGS_PATH], metrics[SETTINGS_PATH];
    char last[SETTINGS_PATH], best[SETTINGS_PATH];
    RunLock lock;
} RunFolder;

/* Creates and locks a new folder: --out, else runs/<dataset>-<date>-<time>, with -2, -3, ...
 * appended if that exists. Fails if the folder already has a run. */
bool run_folder_create(const Settings *settings, RunFolder *run, Error *error);

/* Removes what a failed start created: the run's files, and the folder if it is then empty. */
void run_folder_remove(RunFolder *run);

/* Opens and locks the folder of --resume, and sets `settings` to those of its config.json
 * (settings_from_config). Returns the parsed file in *config, which the caller releases, even after
 * an error. Fails if another process trains there. */
bool run_folder_open(Settings *settings, RunFolder *run, json_t **config, Error *error);

/* Call before writing files there. Fails if another run has taken over the folder. */
bool run_folder_keep(RunFolder *run, Error *error);

/* Unlocks the folder. Does nothing if it was neither created nor opened. */
void run_folder_close(RunFolder *run);

/* Returns the contents of config.json: version, device, data and options; NULL if out of memory.
 * The caller releases it. */
json_t *run_folder_config(const RunFolder *run, const Settings *settings, const char *data_folder,
                          const Session *session, Error *error);

/* Writes config.json. */
bool run_folder_write_config(const RunFolder *run, const json_t *config, Error *error);

#endif
