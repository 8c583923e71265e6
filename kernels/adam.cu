/* Adam for all parameters in one launch; the clock. */
#include "cuda.cuh"

/* The segments travel as an argument, so that a recorded launch needs no host memory. */
struct Segments {
    AdamSegment of[MAX_PARAMETERS];
};

/* What all threads need: blockIdx.y is the segment. */
struct Rates {
    float rate, root2;
};

static __global__ void adam_kernel(Segments segments, const Clock *clock, const float *gradients,
                                   float *parameters, float *first, float *second)
{
    DYNAMIC_SHARED(Rates, rates);
    const AdamSegment segment = segments.of[blockIdx.y];
    if (threadIdx.x == 0) {
        double updates = (double)clock->updates + 1.0;
        rates->rate = (float)(clock->learning_rates[segment.group] / (1.0 - pow(0.9, updates)));
        rates->root2 = (float)sqrt(1.0 - pow(0.999, updates));
    }
    __syncthreads();
    for (size_t e = (size_t)blockIdx.x * blockDim.x + threadIdx.x; e < segment.elements;
         e += (size_t)gridDim.x * blockDim.x) {
        size_t i = segment.offset + e;
        float g = gradients[i];
        float m = 0.9f * first[i] + (float)(1.0 - 0.9) * g;
        float v = 0.999f * second[i] + (float)(1.0 - 0.999) * g * g;
        first[i] = m;
        second[i] = v;
        parameters[i] -= rates->rate * m / (sqrtf(v) / rates->root2 + 1e-8f);
    }
}

void cuda_adam(Backend *backend, const AdamSegment *segments, int segment_count, const Clock *clock,
               const float *gradients, float *parameters, float *first, float *second)
{
    enum { THREADS = 256, BLOCKS = 32 }; /* blocks a segment: the largest has 98304 elements */
    Segments all = {};
    for (int i = 0; i < segment_count; i++)
        all.of[i] = segments[i];
    RUN(backend, "Adam", adam_kernel, dim3(BLOCKS, (unsigned)segment_count), THREADS, sizeof(Rates),
        all, clock, gradients, parameters, first, second);
}

static __global__ void advance_kernel(Clock *clock)
{
    clock->step++;
    clock->updates++;
}

void cuda_advance(Backend *backend, Clock *clock)
{
    RUN(backend, "advance", advance_kernel, 1, 1, 0, clock);
}
