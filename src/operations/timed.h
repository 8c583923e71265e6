/* A table of operations that times those of another table: every call waits until it is done. */
#ifndef NNMF_TIMED_H
#define NNMF_TIMED_H

#include "nnmf/device.h"

typedef enum ProfiledOperation {
    PROFILE_SAMPLE,
    PROFILE_AUGMENT,
    PROFILE_UNFOLD_FORWARD,
    PROFILE_UNFOLD_BACKWARD,
    PROFILE_RELU_FORWARD,
    PROFILE_RELU_BACKWARD,
    PROFILE_TRANSPOSE,
    PROFILE_WEIGHTS_FORWARD,
    PROFILE_WEIGHTS_BACKWARD,
    PROFILE_NNMF_FORWARD,
    PROFILE_NNMF_BACKWARD,
    PROFILE_BATCHNORM_FORWARD,
    PROFILE_BATCHNORM_BACKWARD,
    PROFILE_CONVOLUTION_FORWARD,
    PROFILE_CONVOLUTION_BACKWARD,
    PROFILE_SOFTMAX,
    PROFILE_LOSS,
    PROFILE_ADAM,
    PROFILED_OPERATIONS
} ProfiledOperation;

extern const char *const profiled_names[PROFILED_OPERATIONS];

/* What was spent since profile_reset. flops: multiplications and additions of matrix products. */
typedef struct Profile {
    double seconds[PROFILED_OPERATIONS], flops[PROFILED_OPERATIONS];
} Profile;

/* `timed` works as `device` does, on its backend, and adds to the profile. One at a time. */
void profile_device(const Device *device, Device *timed);

/* While paused, `timed` neither waits nor times: recorded steps cannot be waited for within. */
void profile_pause(bool pause);
void profile_reset(void);
Profile profile_read(void);

#endif
