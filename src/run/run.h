/* A training run: what it holds, opening it from the settings, and saving its files. */
#ifndef NNMF_RUN_H
#define NNMF_RUN_H

#include "formats/event_file.h"
#include "run/metrics.h"
#include "run/resume.h"
#include "run/run_folder.h"
#include "run/run_options.h"
#include "run/session.h"
#include "training/checkpoint.h"

typedef struct Run {
    Settings settings;
    RunFolder files;
    Resume resume; /* empty in a new run */
    RunOptions options;
    Session session;
    Steps train, test;
    TrainingState state;
    CsvLog metrics, step_log;
    EventFile board;
    bool no_best; /* best.safetensors is missing, although epochs are done */
} Run;

/* Opens the run that `settings` describe: a new one, or that of --resume. A new run's folder is
 * created last, so that a bad input leaves none behind, and after the signals are caught, so that a
 * folder can be resumed. On failure too run_close is due. */
bool run_open(const Settings *settings, Run *run, Error *error);

/* Writes all files of the run but the best weights. */
bool run_save(Run *run, Error *error);

/* Writes the checkpoint alone. */
bool run_save_last(Run *run, Error *error);

/* Writes the model's weights as the best ones. */
bool run_save_best(Run *run, Error *error);

/* Does nothing for an empty run (all zero). */
void run_close(Run *run);

#endif
