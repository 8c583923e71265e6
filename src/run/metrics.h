/* The CSV tables of a training run: metrics.csv with one row per epoch, and the file of --log-steps
 * with one row per step. */
#ifndef NNMF_METRICS_H
#define NNMF_METRICS_H

#include "formats/csv.h"
#include "nnmf/operations.h"
#include "run/epoch_result.h"

/* Opens metrics.csv and keeps the rows of the `epochs` epochs that are complete; warns if any are
 * missing. Errors, here and below: those of csv.h. */
bool metrics_open(CsvLog *log, const char *path, uint32_t epochs, Error *error);

bool metrics_append(CsvLog *log, const EpochResult *result, Error *error);

/* Opens the file of --log-steps and keeps the rows of the first `updates` steps. */
bool step_log_open(CsvLog *log, const char *path, uint64_t updates, Error *error);

/* Appends step `update`: the loss as published and the correct images of its batch. */
bool step_log_append(CsvLog *log, uint64_t update, const Totals *totals, Error *error);

#endif
