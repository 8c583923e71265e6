/* The tables of a training run: metrics.csv with a row for each epoch, and the file of --log-steps
 * with one for each step. */
#ifndef NNMF_METRICS_H
#define NNMF_METRICS_H

#include "formats/csv.h"
#include "nnmf/operations.h"
#include "run/epoch_result.h"

/* Opens metrics.csv of a run that has done `epochs` epochs, whose rows it keeps; warns of missing
 * ones. Errors: as of csv_open, as below. */
bool metrics_open(CsvLog *log, const char *path, uint32_t epochs, Error *error);

bool metrics_append(CsvLog *log, const EpochResult *result, Error *error);

/* Opens the file of --log-steps of a run that has made `updates` steps. */
bool step_log_open(CsvLog *log, const char *path, uint64_t updates, Error *error);

/* Appends step number `update`: the loss as published, and the correct images of its batch. */
bool step_log_append(CsvLog *log, uint64_t update, const Totals *totals, Error *error);

#endif
