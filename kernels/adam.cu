/* Adam for all parameters in one launch; the clock. */
#include "cuda.cuh"

/* The segments travel as an argument, so that a recorded launch needs no host memory. */
struct Segments {
    AdamSegment of[MAX_ADAM_SEGMENTS];
};

/* What all threads need: blockIdx.y is the segment. */
struct Rates {
    float rate, root2;
};

static __global__ void adam_kernel(Segments segments, const Clock *clock, const float *gradients,
                                   float *parameters, float *m, float *v)
{
    DYNAMIC_SHARED(Rates, rates);
    const AdamSegment segment = segments.of[blockIdx.y];
    if (threadIdx.x == 0) {
        double updates = (double)clock->updates + 1.0;
        rates->rate =
            (float)(clock->learning_rates[segment.group] / (1.0 - pow(ADAM_BETA1, updates)));
        rates->root2 = (float)sqrt(1.0 - pow(ADAM_BETA2, updates));
    }
    __syncthreads();
    for (size_t e = (size_t)blockIdx.x * blockDim.x + threadIdx.x; e < segment.elements;
         e += (size_t)gridDim.x * blockDim.x) {
        size_t i = segment.offset + e;
        float g = gradients[i];
        float mean = (float)ADAM_BETA1 * m[i] + (float)(1.0 - ADAM_BETA1) * g;
        float square = (float)ADAM_BETA2 * v[i] + (float)(1.0 - ADAM_BETA2) * g * g;
        m[i] = mean;
        v[i] = square;
        parameters[i] -= rates->rate * mean / (sqrtf(square) / rates->root2 + (float)ADAM_EPSILON);
    }
}

static void adam(Backend *backend, const AdamSegment *segments, int segment_count,
                 const Clock *clock, const float *gradients, float *parameters, float *m, float *v)
{
    enum { THREADS = 256, BLOCKS = 32 }; /* blocks a segment: the largest has 98304 elements */
    Segments all = {};
    for (int i = 0; i < segment_count; i++)
        all.of[i] = segments[i];
    RUN(backend, "Adam", adam_kernel, dim3(BLOCKS, (unsigned)segment_count), THREADS, sizeof(Rates),
        all, clock, gradients, parameters, m, v);
}

static __global__ void advance_kernel(Clock *clock)
{
    clock->step++;
    clock->updates++;
}

static void advance(Backend *backend, Clock *clock)
{
    RUN(backend, "advance", advance_kernel, 1, 1, 0, clock);
}

void cuda_adam_table(Operations *table)
{
    table->adam = adam;
    table->advance = advance;
}
