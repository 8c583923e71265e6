#include "operations/cpu/cpu.h"

#include <math.h>

static void adam(Backend *backend, const AdamSegment *segments, int segment_count,
                 const StepState *state, const float *gradients, float *parameters, float *m,
                 float *v)
{
    double updates = (double)state->updates + 1.0;
    double correction1 = 1.0 - pow(ADAM_BETA1, updates);
    float root2 = (float)sqrt(1.0 - pow(ADAM_BETA2, updates));
    float keep1 = (float)ADAM_BETA1, keep2 = (float)ADAM_BETA2;
    float new1 = (float)(1.0 - ADAM_BETA1), new2 = (float)(1.0 - ADAM_BETA2);
#pragma omp parallel for schedule(dynamic) num_threads(backend->threads)
    for (int s = 0; s < segment_count; s++) {
        float rate = (float)(state->learning_rates[segments[s].group] / correction1);
        size_t end = segments[s].offset + segments[s].elements;
        for (size_t i = segments[s].offset; i < end; i++) {
            float g = gradients[i];
            float mean = m[i] = keep1 * m[i] + new1 * g;
            float square = v[i] = keep2 * v[i] + new2 * g * g;
            parameters[i] -= rate * mean / (sqrtf(square) / root2 + (float)ADAM_EPSILON);
        }
    }
}

void CPU_NAME(cpu_adam_table)(Operations *table)
{
    table->adam = adam;
}
