#include "operations/plain/plain.h"

#include <math.h>

static void adam(Backend *backend, const AdamSegment *segments, int segment_count,
                 const StepState *state, const float *gradients, float *parameters, float *m,
                 float *v)
{
    (void)backend;
    double updates = (double)state->updates + 1.0;
    double correction1 = 1.0 - pow(ADAM_BETA1, updates),
           correction2 = 1.0 - pow(ADAM_BETA2, updates);
    for (int s = 0; s < segment_count; s++) {
        double rate = state->learning_rates[segments[s].group];
        size_t end = segments[s].offset + segments[s].elements;
        for (size_t i = segments[s].offset; i < end; i++) {
            double g = gradients[i];
            m[i] = (float)(ADAM_BETA1 * m[i] + (1.0 - ADAM_BETA1) * g);
            v[i] = (float)(ADAM_BETA2 * v[i] + (1.0 - ADAM_BETA2) * g * g);
            double scale = sqrt(v[i]) / sqrt(correction2) + ADAM_EPSILON;
            parameters[i] -= (float)(rate / correction1 * m[i] / scale);
        }
    }
}

static void advance(Backend *backend, StepState *state)
{
    (void)backend;
    state->step++;
    state->updates++;
}

void plain_adam_table(Operations *table)
{
    table->adam = adam;
    table->advance = advance;
}
