#include "run/metrics.h"

#include <inttypes.h>

bool metrics_open(CsvLog *log, const char *path, uint32_t epochs, Error *error)
{
    if (!csv_open(log, path,
                  "epoch,lr_cnn_top,lr_nnmf,lr_batchnorm,train_loss,train_correct,test_correct,"
                  "train_seconds,test_seconds",
                  epochs, error))
        return false;
    if (log->kept != epochs)
        warn("rows missing or repeated: %s: it has %" PRIu64 " rows of earlier epochs, %" PRIu32
             " were expected",
             path, log->kept, epochs);
    return true;
}

bool metrics_append(CsvLog *log, const EpochResult *r, Error *error)
{
    return csv_append(log, error,
                      "%" PRIu32 ",%.17g,%.17g,%.17g,%.9f,%" PRIu64 ",%" PRIu64 ",%.3f,%.3f",
                      r->epoch, r->learning_rates[GROUP_CNN_TOP], r->learning_rates[GROUP_NNMF],
                      r->learning_rates[GROUP_BATCHNORM], r->train_loss, r->train_correct,
                      r->test_correct, r->train_seconds, r->test_seconds);
}

bool step_log_open(CsvLog *log, const char *path, uint64_t updates, Error *error)
{
    return csv_open(log, path, "step,loss,correct", updates, error);
}

bool step_log_append(CsvLog *log, uint64_t update, const Totals *totals, Error *error)
{
    return csv_append(log, error, "%" PRIu64 ",%.9f,%" PRIu64, update, totals->batch_loss,
                      totals->batch_correct);
}
