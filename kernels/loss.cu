/* Softmax and loss, one thread per image. A batch is small, so one block sums its loss. */
#include "cuda.cuh"

static __global__ void softmax_kernel(int batch, int classes, const float *logits,
                                      float *probabilities)
{
    int b = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (b >= batch)
        return;
    logits += b * classes;
    probabilities += b * classes;
    float largest = logits[0], sum = 0.0f;
    for (int c = 1; c < classes; c++)
        largest = fmaxf(largest, logits[c]);
    for (int c = 0; c < classes; c++)
        sum += expf(logits[c] - largest);
    for (int c = 0; c < classes; c++)
        probabilities[c] = expf(logits[c] - largest) / sum;
}

static void softmax(Backend *backend, int batch, int classes, const float *logits,
                    float *probabilities)
{
    enum { THREADS = 64 };
    RUN(backend, "softmax", softmax_kernel, blocks_for((size_t)batch, THREADS), THREADS, 0, batch,
        classes, logits, probabilities);
}

enum { LOSS_THREADS = 128 };

/* Returns the derivative of an image's loss with respect to its probability of class c. */
static __device__ double derivative(const LossParams &s, const float *p, int c, int label,
                                    double exp_sum)
{
    if (s.kind == LOSS_CROSS_ENTROPY)
        return (exp((double)p[c]) / exp_sum - (c == label ? 1.0 : 0.0)) / s.batch;
    double norm = (fabs(s.mse) + fabs(s.kl)) * s.classes;
    double d = 2.0 * s.mse * (p[c] - (c == label ? 1.0 : 0.0)) / norm;
    return c == label ? d - s.kl / (p[c] + EPSILON_PROBABILITY) / norm : d;
}

static __device__ double image_loss(const LossParams &s, const float *p, int label, double exp_sum)
{
    if (s.kind == LOSS_CROSS_ENTROPY)
        return (log(exp_sum) - p[label]) / s.batch;
    double squares = 0.0;
    for (int c = 0; c < s.classes; c++) {
        double difference = p[c] - (c == label ? 1.0 : 0.0);
        squares += difference * difference;
    }
    double divergence = log((1.0 + EPSILON_PROBABILITY) / (p[label] + EPSILON_PROBABILITY));
    return (s.mse * squares + s.kl * divergence) / ((fabs(s.mse) + fabs(s.kl)) * s.classes);
}

struct LossSum {
    double loss;
    unsigned long long correct;
};

enum { LOSS_WARPS = LOSS_THREADS / WARP };

/* Returns the sum over the block to its first thread. */
static __device__ __forceinline__ LossSum sum_of_block(LossSum mine)
{
    SHARED(LossSum[LOSS_WARPS], sums);
    mine = {warp_sum(mine.loss), warp_sum(mine.correct)};
    if (threadIdx.x % WARP == 0)
        sums[threadIdx.x / WARP] = mine;
    __syncthreads();
    for (int warp = 1; threadIdx.x == 0 && warp < LOSS_WARPS; warp++) {
        mine.loss += sums[warp].loss;
        mine.correct += sums[warp].correct;
    }
    return mine;
}

static __global__ void loss_kernel(LossParams s, const float *probabilities, const uint8_t *labels,
                                   const StepState *state, Totals *totals, float *dlogits)
{
    LossSum mine = {0.0, 0};
    for (int b = (int)threadIdx.x; b < s.batch; b += LOSS_THREADS) {
        const float *p = probabilities + b * s.classes;
        int label = labels[b], best = 0;
        double exp_sum = 0.0, dot = 0.0;
        for (int c = 1; c < s.classes; c++)
            if (p[c] > p[best])
                best = c;
        if (s.kind == LOSS_CROSS_ENTROPY)
            for (int c = 0; c < s.classes; c++)
                exp_sum += exp((double)p[c]);
        mine.correct += best == label;
        mine.loss += image_loss(s, p, label, exp_sum);
        if (!dlogits)
            continue;
        for (int c = 0; c < s.classes; c++) /* back through the softmax */
            dot += derivative(s, p, c, label, exp_sum) * p[c];
        for (int c = 0; c < s.classes; c++)
            dlogits[b * s.classes + c] =
                (float)(p[c] * (derivative(s, p, c, label, exp_sum) - dot));
    }
    mine = sum_of_block(mine);
    if (threadIdx.x)
        return;
    totals->loss += loss_of_images(&s, mine.loss);
    totals->batch_loss = mine.loss;
    totals->correct += mine.correct;
    totals->batch_correct = mine.correct;
    if (!isfinite(mine.loss) && totals->first_nonfinite_step == 0)
        totals->first_nonfinite_step = (int64_t)state->step + 1;
}

static void loss(Backend *backend, const LossParams *s, const float *probabilities,
                 const uint8_t *labels, const StepState *state, Totals *totals, float *dlogits)
{
    RUN(backend, "loss", loss_kernel, 1, LOSS_THREADS, 0, *s, probabilities, labels, state, totals,
        dlogits);
}

void cuda_loss_table(Operations *table)
{
    table->softmax = softmax;
    table->loss = loss;
}
