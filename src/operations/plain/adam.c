#include "plain.h"

#include <math.h>

static const double BETA1 = 0.9, BETA2 = 0.999, TINY = 1e-8;

static void adam(Backend *backend, const AdamSegment *segments, int segment_count,
                 const Clock *clock, const float *gradients, float *parameters, float *first,
                 float *second)
{
    (void)backend;
    double updates = (double)clock->updates + 1.0;
    double correction1 = 1.0 - pow(BETA1, updates), correction2 = 1.0 - pow(BETA2, updates);
    for (int s = 0; s < segment_count; s++) {
        double rate = clock->learning_rates[segments[s].group];
        size_t end = segments[s].offset + segments[s].elements;
        for (size_t i = segments[s].offset; i < end; i++) {
            double g = gradients[i];
            first[i] = (float)(BETA1 * first[i] + (1.0 - BETA1) * g);
            second[i] = (float)(BETA2 * second[i] + (1.0 - BETA2) * g * g);
            double scale = sqrt(second[i]) / sqrt(correction2) + TINY;
            parameters[i] -= (float)(rate / correction1 * first[i] / scale);
        }
    }
}

static void advance(Backend *backend, Clock *clock)
{
    (void)backend;
    clock->step++;
    clock->updates++;
}

void plain_adam_table(Operations *table)
{
    table->adam = adam;
    table->advance = advance;
}
