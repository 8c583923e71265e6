#include "operations/plain/plain.h"

#include <math.h>

static const double EXP_LIMIT = 80.0; /* exp(80) is finite in float32 */

/* Returns the maximum magnitude of raw, and in *where the first element that has it. */
static double largest(const float *raw, size_t count, size_t *where)
{
    double found = 0.0;
    *where = 0;
    for (size_t i = 0; i < count; i++)
        if (fabs((double)raw[i]) > found) {
            found = fabs((double)raw[i]);
            *where = i;
        }
    return found;
}

/* Returns the factor by which POSITIVE_EXP scales raw, so that no magnitude exceeds EXP_LIMIT. */
static double exp_shrink(const float *raw, size_t count, size_t *where)
{
    double magnitude = largest(raw, count, where);
    return magnitude > EXP_LIMIT ? EXP_LIMIT / magnitude : 1.0;
}

static double positive(PositiveFunction function, double raw, double beta, double shrink)
{
    switch (function) {
    case POSITIVE_ABS: return fabs(raw);
    case POSITIVE_EXP: return exp((tanh(beta) + 1.0) * 0.5 * (shrink * raw));
    case POSITIVE_TANH: return (tanh(beta * raw) + 1.0) * 0.5;
    case POSITIVE_IDENTITY: break;
    }
    return raw;
}

static void forward(const LayerWeights *l)
{
    const WeightShape *s = &l->shape;
    const float *raw = l->raw;
    float *w = l->w;
    size_t channels = (size_t)s->channels, window = (size_t)s->window;
    size_t features = channels * window, unused;
    double shrink = exp_shrink(raw, (size_t)s->outputs * features, &unused);
    double b = l->beta ? *l->beta : 0.0;
    for (int n = 0; n < s->outputs; n++, raw += features, w += features) {
        double sum = 0.0;
        for (size_t i = 0; i < features; i++)
            sum += positive(s->function, raw[i], b, shrink);
        double factor = 1.0 / (sum + EPSILON_SUM);
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < window; p++)
                w[p * channels + c] =
                    (float)(positive(s->function, raw[c * window + p], b, shrink) * factor);
        l->scale[n] = (float)factor;
    }
}

static void weights_forward(Backend *backend, const LayerWeights *layers, int count)
{
    (void)backend;
    for (int i = 0; i < count; i++)
        forward(&layers[i]);
}

static void backward(const LayerWeights *l)
{
    const WeightShape *s = &l->shape;
    const float *raw = l->raw;
    float *d_raw = l->d_raw;
    size_t channels = (size_t)s->channels, window = (size_t)s->window;
    size_t features = channels * window, count = (size_t)s->outputs * features, top;
    double shrink = exp_shrink(raw, count, &top);
    double b = l->beta ? *l->beta : 0.0, db = 0.0, dshrink = 0.0;
    double slope = (tanh(b) + 1.0) * 0.5, slope_db = 0.5 * (1.0 - tanh(b) * tanh(b));
    for (size_t n = 0; n < (size_t)s->outputs; n++) {
        const float *wn = l->w + n * features, *dwn = l->dw + n * features;
        double dot = 0.0;
        for (size_t k = 0; k < features; k++)
            dot += (double)dwn[k] * wn[k];
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < window; p++) {
                size_t i = n * features + c * window + p;
                /* with respect to the positive weight, through the row normalisation */
                double df = (dwn[p * channels + c] - dot) * l->scale[n];
                double value = raw[i], f = positive(s->function, value, b, shrink);
                switch (s->function) {
                case POSITIVE_ABS:
                    d_raw[i] = (float)(value > 0.0 ? df : value < 0.0 ? -df : 0.0);
                    break;
                case POSITIVE_EXP:
                    d_raw[i] = (float)(df * f * slope * shrink);
                    db += df * f * slope_db * shrink * value;
                    dshrink += df * f * slope * value;
                    break;
                case POSITIVE_TANH:
                    d_raw[i] = (float)(df * 2.0 * f * (1.0 - f) * b);
                    db += df * 2.0 * f * (1.0 - f) * value;
                    break;
                case POSITIVE_IDENTITY: d_raw[i] = (float)df; break;
                }
            }
    }
    /* The largest weight also determines the scale: shrink = EXP_LIMIT / |raw[top]|. */
    if (s->function == POSITIVE_EXP && shrink < 1.0)
        d_raw[top] -= (float)(dshrink * shrink / raw[top]);
    if (l->dbeta)
        *l->dbeta = (float)db;
}

static void weights_backward(Backend *backend, const LayerWeights *layers, int count)
{
    (void)backend;
    for (int i = 0; i < count; i++)
        backward(&layers[i]);
}

static void transpose(Backend *backend, int count, int rows, int columns, const float *in,
                      float *out)
{
    (void)backend;
    size_t height = (size_t)rows, width = (size_t)columns;
    for (size_t i = 0; i < (size_t)count; i++, in += height * width)
        for (size_t column = 0; column < width; column++)
            for (size_t row = 0; row < height; row++)
                *out++ = in[row * width + column];
}

void plain_weights_table(Operations *table)
{
    table->weights_forward = weights_forward;
    table->weights_backward = weights_backward;
    table->transpose = transpose;
}
