#include "cpu.h"

#include <math.h>

static const double BETA1 = 0.9, BETA2 = 0.999;
static const float TINY = 1e-8f;

static void adam(Backend *backend, const AdamSegment *segments, int segment_count,
                 const Clock *clock, const float *gradients, float *parameters, float *first,
                 float *second)
{
    double updates = (double)clock->updates + 1.0;
    double correction1 = 1.0 - pow(BETA1, updates);
    float root2 = (float)sqrt(1.0 - pow(BETA2, updates));
    float keep1 = (float)BETA1, keep2 = (float)BETA2;
    float new1 = (float)(1.0 - BETA1), new2 = (float)(1.0 - BETA2);
#pragma omp parallel for schedule(dynamic) num_threads(backend->threads)
    for (int s = 0; s < segment_count; s++) {
        float rate = (float)(clock->learning_rates[segments[s].group] / correction1);
        size_t end = segments[s].offset + segments[s].elements;
        for (size_t i = segments[s].offset; i < end; i++) {
            float g = gradients[i];
            float m = first[i] = keep1 * first[i] + new1 * g;
            float v = second[i] = keep2 * second[i] + new2 * g * g;
            parameters[i] -= rate * m / (sqrtf(v) / root2 + TINY);
        }
    }
}

void CPU_NAME(cpu_adam_table)(Operations *table)
{
    table->adam = adam;
}
