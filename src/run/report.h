/* The output of a training run on standard output: the published lines; with LOG_JSON one JSON
 * object per line; with `quiet` and LOG_TEXT nothing. */
#ifndef NNMF_REPORT_H
#define NNMF_REPORT_H

#include "network/network.h"
#include "nnmf/error.h"
#include "run/epoch_result.h"
#include "settings/settings.h"
#include "training/checkpoint.h"

/* Constant during a run. What it points to must outlive it. */
typedef struct Report {
    LogFormat format;
    bool quiet;
    const Network *network;
    const char *device, *dataset, *folder;
    size_t train_images, test_images;
    int batch_size;
    uint32_t steps, test_steps; /* batches of an epoch and of a test */
    int64_t epochs;             /* maximum */
    bool resumed;
} Report;

/* All functions flush standard output (output.h); main() reports write errors. Errors: out of
 * memory, with JSON also a name that is not UTF-8. */
bool report_start(const Report *report, const TrainingState *state, Error *error);

/* Prints the expected duration of the run from the seconds of a training step; not as JSON. */
void report_duration(const Report *report, double step_seconds);

bool report_epoch(const Report *report, const EpochResult *result, Error *error);

/* `ended`: the run was stopped within an epoch, by `signal` or, if that is 0, by --max-steps. */
bool report_end(const Report *report, const TrainingState *state, bool ended, int signal,
                Error *error);

/* Prints a JSON object on one line and releases it. NULL: it could not be created. */
bool report_json(json_t *object, Error *error);

#endif
