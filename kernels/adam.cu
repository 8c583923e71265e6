/* Adam for all parameters in one launch, and the step state. */
#include "cuda.cuh"
#include "quotient.cuh"

/* Passed by value, so that a recorded launch needs no host memory. */
struct Segments {
    AdamSegment of[MAX_ADAM_SEGMENTS];
};

/*
 * The rates that all elements share in an update. They need two powers in double, which are slow on
 * a GPU, so `advance` computes them once for the next update. The kernel uses them if they match
 * the step state; after the upload of another state, every block computes its own.
 */
struct AdamRates {
    uint64_t update; /* counted from 1; 0: no rates are ready */
    double learning_rates[LEARNING_RATES];
    float rates[LEARNING_RATES]; /* learning rate / (1 - ADAM_BETA1^update) */
    float root2;                 /* sqrt(1 - ADAM_BETA2^update) */
};

static __device__ __forceinline__ AdamRates rates_of(const StepState &state)
{
    AdamRates made = {};
    made.update = state.updates + 1;
    double correction1 = 1.0 - pow(ADAM_BETA1, (double)made.update);
    for (int group = 0; group < LEARNING_RATES; group++) {
        made.learning_rates[group] = state.learning_rates[group];
        made.rates[group] = (float)(state.learning_rates[group] / correction1);
    }
    made.root2 = (float)sqrt(1.0 - pow(ADAM_BETA2, (double)made.update));
    return made;
}

static __device__ __forceinline__ bool match(const AdamRates &ready, const StepState &state)
{
    bool same = ready.update == state.updates + 1;
    for (int group = 0; group < LEARNING_RATES; group++)
        same = same && ready.learning_rates[group] == state.learning_rates[group];
    return same;
}

/* blockIdx.y is the segment. */
static __global__ void adam_kernel(Segments segments, const StepState *state,
                                   const AdamRates *ready, const float *gradients,
                                   float *parameters, float *m, float *v)
{
    SHARED(AdamRates, shared);
    const AdamSegment segment = segments.of[blockIdx.y];
    if (threadIdx.x == 0)
        shared = match(*ready, *state) ? *ready : rates_of(*state);
    __syncthreads();
    const float rate = shared.rates[segment.group], root2 = shared.root2;
    for (size_t e = (size_t)blockIdx.x * blockDim.x + threadIdx.x; e < segment.elements;
         e += (size_t)gridDim.x * blockDim.x) {
        size_t i = segment.offset + e;
        float g = gradients[i];
        float mean = (float)ADAM_BETA1 * m[i] + (float)(1.0 - ADAM_BETA1) * g;
        float square = (float)ADAM_BETA2 * v[i] + (float)(1.0 - ADAM_BETA2) * g * g;
        m[i] = mean;
        v[i] = square;
        parameters[i] -=
            quotient(rate * mean, quotient(sqrtf(square), root2) + (float)ADAM_EPSILON);
    }
}

static void adam(Backend *backend, const AdamSegment *segments, int segment_count,
                 const StepState *state, const float *gradients, float *parameters, float *m,
                 float *v)
{
    /* Blocks per segment. The largest segment of the published network has 98304 elements. */
    const unsigned threads = 256, max_blocks = 32;
    Segments all = {};
    size_t max_elements = 0;
    for (int i = 0; i < segment_count; i++) {
        all.of[i] = segments[i];
        max_elements = segments[i].elements > max_elements ? segments[i].elements : max_elements;
    }
    unsigned blocks = blocks_for(max_elements, threads);
    RUN(backend, "Adam", adam_kernel,
        dim3(blocks < max_blocks ? blocks : max_blocks, (unsigned)segment_count), threads, 0, all,
        state, backend->adam_rates, gradients, parameters, m, v);
}

static __global__ void advance_kernel(StepState *state, AdamRates *ready)
{
    state->step++;
    state->updates++;
    *ready = rates_of(*state);
}

static void advance(Backend *backend, StepState *state)
{
    RUN(backend, "advance", advance_kernel, 1, 1, 0, state, backend->adam_rates);
}

bool cuda_open_adam(Backend *backend, Error *error)
{
    backend->adam_rates =
        (AdamRates *)cuda_allocate(backend, sizeof *backend->adam_rates, "Adam's rates", error);
    return backend->adam_rates != NULL;
}

void cuda_adam_table(Operations *table)
{
    table->adam = adam;
    table->advance = advance;
}
