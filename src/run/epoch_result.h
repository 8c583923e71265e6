/* The results of an epoch: printed, written to metrics.csv and to TensorBoard. */
#ifndef NNMF_EPOCH_RESULT_H
#define NNMF_EPOCH_RESULT_H

#include "network/network.h"

#include <stdint.h>

typedef struct EpochResult {
    uint32_t epoch;
    double learning_rates[GROUPS];        /* after the schedule's step at the end of the epoch */
    double train_loss;                    /* mean over the images */
    uint64_t train_correct, test_correct; /* images */
    double train_seconds, test_seconds;
} EpochResult;

#endif
