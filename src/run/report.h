/* What a training run prints to standard output: the published lines, or with LOG_JSON one JSON
 * object a line, or with `quiet` and LOG_TEXT nothing. */
#ifndef NNMF_REPORT_H
#define NNMF_REPORT_H

#include "network/network.h"
#include "nnmf/error.h"
#include "run/epoch_result.h"
#include "settings/settings.h"
#include "training/checkpoint.h"

/* What does not change in a run; what is pointed to has to outlive it. */
typedef struct Report {
    LogFormat format;
    bool quiet;
    const Network *network;
    const char *device, *dataset, *folder;
    size_t train_images, test_images;
    int batch_size;
    uint32_t steps, test_steps; /* in an epoch, in a test */
    int64_t epochs;             /* at most */
    bool resumed;
} Report;

/* Each flushes standard output (output.h); that it could not be written is seen at the program's
 * end. The only error is a lack of memory. */
bool report_start(const Report *report, const TrainingState *state, Error *error);

/* How long all of it will take, by the seconds of a training step; nothing as JSON. */
void report_duration(const Report *report, double step_seconds);

bool report_epoch(const Report *report, const EpochResult *result, Error *error);

/* `ended`: in the middle of an epoch, by `signal` or where that is 0 by --max-steps. */
bool report_end(const Report *report, const TrainingState *state, bool ended, int signal,
                Error *error);

/* Writes one JSON object as a line and releases it; NULL: it could not be made. */
bool report_json(json_t *object, Error *error);

#endif
