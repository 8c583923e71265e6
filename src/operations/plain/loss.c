#include "operations/plain/plain.h"

#include <math.h>

static void softmax(Backend *backend, int batch, int classes, const float *logits,
                    float *probabilities)
{
    (void)backend;
    for (int b = 0; b < batch; b++, logits += classes, probabilities += classes) {
        double largest = logits[0], sum = 0.0;
        for (int c = 1; c < classes; c++)
            largest = fmax(largest, logits[c]);
        for (int c = 0; c < classes; c++)
            sum += exp(logits[c] - largest);
        for (int c = 0; c < classes; c++)
            probabilities[c] = (float)(exp(logits[c] - largest) / sum);
    }
}

/* Returns one image's part of the batch's loss, and in dp its derivative with respect to p
 * (classes).
 */
static double sbs(const LossParams *s, const float *p, int label, double *dp)
{
    double norm = (fabs(s->mse) + fabs(s->kl)) * s->classes, loss = 0.0;
    for (int c = 0; c < s->classes; c++) {
        double t = c == label ? 1.0 : 0.0, difference = p[c] - t;
        loss += s->mse * difference * difference;
        dp[c] = 2.0 * s->mse * difference / norm;
        if (c == label) {
            loss += s->kl * log((t + EPSILON_PROBABILITY) / (p[c] + EPSILON_PROBABILITY));
            dp[c] -= s->kl / (p[c] + EPSILON_PROBABILITY) / norm;
        }
    }
    return loss / norm;
}

static double cross_entropy(const LossParams *s, const float *p, int label, double *dp)
{
    double sum = 0.0; /* p is within [0, 1]: no overflow */
    for (int c = 0; c < s->classes; c++)
        sum += exp(p[c]);
    for (int c = 0; c < s->classes; c++)
        dp[c] = (exp(p[c]) / sum - (c == label ? 1.0 : 0.0)) / s->batch;
    return (log(sum) - p[label]) / s->batch;
}

static void loss(Backend *backend, const LossParams *s, const float *probabilities,
                 const uint8_t *labels, const StepState *state, Totals *totals, float *dlogits)
{
    (void)backend;
    double batch_loss = 0.0, dp[s->classes];
    uint64_t correct = 0;
    for (int b = 0; b < s->batch; b++) {
        const float *p = probabilities + b * s->classes;
        int best = 0;
        for (int c = 1; c < s->classes; c++)
            if (p[c] > p[best])
                best = c;
        correct += best == labels[b];
        batch_loss +=
            s->kind == LOSS_SBS ? sbs(s, p, labels[b], dp) : cross_entropy(s, p, labels[b], dp);
        if (!dlogits)
            continue;
        double dot = 0.0; /* back through the softmax */
        for (int c = 0; c < s->classes; c++)
            dot += dp[c] * p[c];
        for (int c = 0; c < s->classes; c++)
            dlogits[b * s->classes + c] = (float)(p[c] * (dp[c] - dot));
    }
    totals->loss += loss_of_images(s, batch_loss);
    totals->batch_loss = batch_loss;
    totals->correct += correct;
    totals->batch_correct = correct;
    if (!isfinite(batch_loss) && totals->first_nonfinite_step == 0)
        totals->first_nonfinite_step = (int64_t)state->step + 1;
}

void plain_loss_table(Operations *table)
{
    table->softmax = softmax;
    table->loss = loss;
}
