/* The folder that keeps a training run: config.json, metrics.csv, last and best weights; event
 * files (event_file.h), which name themselves; and while a process trains there its lock
 * (run_lock.h). */
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

/* A new folder, locked: --out, else runs/<dataset>-<date>-<time>, with -2, -3, ... behind where
 * that is there. Fails if a run is in it already. */
bool run_folder_create(const Settings *settings, RunFolder *run, Error *error);

/* Takes back what a start that failed left: the folder's own files, and the folder if it is empty
 * then. */
void run_folder_remove(RunFolder *run);

/* The folder of --resume, locked; `settings` become those of its config.json
 * (settings_from_config), which itself comes back too. Fails if another process trains there. */
bool run_folder_open(Settings *settings, RunFolder *run, json_t **config, Error *error);

/* To be called before files are written there: fails where the folder has become another run's. */
bool run_folder_keep(RunFolder *run, Error *error);

/* Unlocks it; also fine on a folder that was neither created nor opened. */
void run_folder_close(RunFolder *run);

/* What a run is: every option, version, device, data set; NULL when out of memory. */
json_t *run_folder_config(const RunFolder *run, const Settings *settings, const char *data_folder,
                          const Session *session, Error *error);

/* As config.json. */
bool run_folder_write_config(const RunFolder *run, const json_t *config, Error *error);

#endif
