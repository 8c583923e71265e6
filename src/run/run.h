/* A training run: opens it from the settings and saves its files. */
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

/* Opens a new run, or the one of --resume. Creates a new run's folder last, so that bad input
 * leaves none behind, and after installing the signal handlers, so that the folder can be resumed.
 * Call run_close even after an error. */
bool run_open(const Settings *settings, Run *run, Error *error);

/* Writes the step log, metrics.csv, the event file and the checkpoint. */
bool run_save(Run *run, Error *error);

/* Writes only the checkpoint. */
bool run_save_last(Run *run, Error *error);

/* Writes the model's weights as the best ones. */
bool run_save_best(Run *run, Error *error);

/* Does nothing for an empty run (all zero). */
void run_close(Run *run);

#endif
