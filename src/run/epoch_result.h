/* The result of an epoch, as it is printed, written to metrics.csv and shown in TensorBoard. */
#ifndef NNMF_EPOCH_RESULT_H
#define NNMF_EPOCH_RESULT_H

#include "network/network.h"

#include <stdint.h>

typedef struct EpochResult {
    uint32_t epoch;
    double learning_rates[GROUPS];        /* after the epoch's schedule */
    double train_loss;                    /* mean over the images, of either --loss */
    uint64_t train_correct, test_correct; /* images */
    double train_seconds, test_seconds;
} EpochResult;

#endif
