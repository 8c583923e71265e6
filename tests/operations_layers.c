/* How the operations around NNMF are checked: unfold, ReLU, batch norm, convolution. */
#include "operations_checker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* The quick run has fewer random shapes; the fixed ones are in both. */
static int random_trials(const Checker *checker, int trials)
{
    return checker->quick ? (trials + 7) / 8 : trials;
}

/* ---- unfold ---- */

static const UnfoldShape unfold_real[] = {
    {.batch = 2, .height = 28, .width = 28, .channels = 3, .kernel = 5, .stride = 1},
    {.batch = 2, .height = 24, .width = 24, .channels = 32, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 12, .width = 12, .channels = 32, .kernel = 5, .stride = 1},
    {.batch = 2, .height = 8, .width = 8, .channels = 64, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 4, .width = 4, .channels = 64, .kernel = 4, .stride = 1},
    {.batch = 2, .height = 1, .width = 1, .channels = 96, .kernel = 1, .stride = 1},
};

static const UnfoldShape unfold_special[] = {
    {.batch = 1, .height = 1, .width = 1, .channels = 1, .kernel = 1, .stride = 1},
    {.batch = 3, .height = 1, .width = 1, .channels = 5, .kernel = 1, .stride = 1},
    {.batch = 1, .height = 7, .width = 7, .channels = 1, .kernel = 7, .stride = 1},
    {.batch = 2, .height = 3, .width = 9, .channels = 2, .kernel = 3, .stride = 2},
    {.batch = 2, .height = 6, .width = 5, .channels = 3, .kernel = 2, .stride = 3}, /* gaps */
    {.batch = 1, .height = 9, .width = 4, .channels = 17, .kernel = 4, .stride = 3},
    /* every pixel in one window: rows of so many features as threads may hold, and of more */
    {.batch = 3, .height = 6, .width = 9, .channels = 1, .kernel = 3, .stride = 3},
    {.batch = 2, .height = 3, .width = 3, .channels = 7, .kernel = 3, .stride = 5},
    {.batch = 3, .height = 2, .width = 3, .channels = 256, .kernel = 1, .stride = 1},
    {.batch = 3, .height = 2, .width = 3, .channels = 257, .kernel = 1, .stride = 1},
    {.batch = 2, .height = 6, .width = 12, .channels = 28, .kernel = 6, .stride = 6}, /* 1008 */
    {.batch = 3, .height = 1, .width = 1, .channels = 1025, .kernel = 1, .stride = 1},
    {.batch = 2, .height = 11, .width = 11, .channels = 17, .kernel = 11, .stride = 1}, /* 2057 */
    /* some in none: right, below, both, though as many windows as kernels would fit */
    {.batch = 2, .height = 4, .width = 7, .channels = 3, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 7, .width = 4, .channels = 3, .kernel = 2, .stride = 2},
    {.batch = 2, .height = 6, .width = 6, .channels = 5, .kernel = 3, .stride = 2},
};

static UnfoldShape random_unfold(Checker *checker)
{
    UnfoldShape s = {.batch = between(checker, 1, 3),
                     .height = between(checker, 1, 11),
                     .width = between(checker, 1, 11),
                     .channels = between(checker, 1, 40)};
    s.kernel = between(checker, 1, s.height < s.width ? s.height : s.width);
    s.stride = between(checker, 1, s.kernel + 1);
    return s;
}

/* Special shapes, real ones and random ones, and the special ones once more with a NaN in the
 * image; `number` counts them. */
static bool next_unfold(Checker *checker, int number, UnfoldShape *shape, Trial *trial)
{
    int random = random_trials(checker, 40);
    trial->has_nan = false;
    if (number < COUNT(unfold_special))
        *shape = unfold_special[number];
    else if ((number -= COUNT(unfold_special)) < COUNT(unfold_real))
        *shape = unfold_real[number];
    else if ((number -= COUNT(unfold_real)) < random)
        *shape = random_unfold(checker);
    else if ((number -= random) < COUNT(unfold_special)) {
        *shape = unfold_special[number];
        trial->has_nan = true;
    } else
        return false;
    shape->out_height = (shape->height - shape->kernel) / shape->stride + 1;
    shape->out_width = (shape->width - shape->kernel) / shape->stride + 1;
    snprintf(trial->shape, sizeof trial->shape, "batch %d, %d x %d x %d, kernel %d, stride %d%s",
             shape->batch, shape->height, shape->width, shape->channels, shape->kernel,
             shape->stride, trial->has_nan ? ", a NaN" : "");
    return true;
}

static size_t unfold_inputs(const UnfoldShape *s)
{
    return (size_t)s->batch * (size_t)s->height * (size_t)s->width * (size_t)s->channels;
}

/* Positive and negative numbers and exact zeros; sometimes a run with nothing positive, so that
 * whole windows are empty; a NaN where the trial wants one. */
static float *unfold_image(Checker *checker, Trial *trial, const UnfoldShape *s)
{
    size_t count = unfold_inputs(s);
    float *in = trial_random(checker, trial, "in", count, -0.5, 1.0);
    for (size_t i = 0; i < count; i++)
        if (between(checker, 0, 15) == 0)
            in[i] = 0.0f;
    if (between(checker, 0, 2) == 0)
        for (size_t i = count / 3; i < count; i++)
            in[i] = -fabsf(in[i]);
    if (trial->has_nan)
        in[between(checker, 0, (int)count - 1)] = NAN;
    return in;
}

static void call_unfold_forward(const Operations *ops, Backend *backend, const void *arguments,
                                void *const *b)
{
    ops->unfold_forward(backend, arguments, b[0], b[1], b[2]);
}

void check_unfold_forward(Checker *checker)
{
    UnfoldShape s;
    Trial trial = {.arguments = &s, .call = call_unfold_forward};
    for (int i = 0; next_unfold(checker, i, &s, &trial); i++) {
        unfold_image(checker, &trial, &s);
        trial_result(&trial, "x", unfold_rows(&s) * unfold_features(&s), 0.0);
        trial_result(&trial, "scale", unfold_rows(&s), 0.0);
        check_trial(checker, &trial);
    }
}

static void call_unfold_backward(const Operations *ops, Backend *backend, const void *arguments,
                                 void *const *b)
{
    ops->unfold_backward(backend, arguments, b[0], b[1], b[2], b[3], b[4]);
}

void check_unfold_backward(Checker *checker)
{
    UnfoldShape s;
    Trial trial = {.arguments = &s, .call = call_unfold_backward};
    for (int i = 0; next_unfold(checker, i, &s, &trial); i++) {
        size_t rows = unfold_rows(&s), features = unfold_features(&s);
        const float *in = unfold_image(checker, &trial, &s);
        float *x = trial_floats(&trial, "x", INPUT, rows * features);
        float *scale = trial_floats(&trial, "scale", INPUT, rows);
        checker->plain.operations->unfold_forward(checker->plain.backend, &s, in, x, scale);
        trial_random(checker, &trial, "dx", rows * features, -1.0, 1.0);
        /* A derivative is a difference of terms dx * scale; empty windows have none. */
        double squares = 0.0;
        for (size_t row = 0; row < rows; row++)
            squares += scale[row] < 1e10f ? (double)scale[row] * scale[row] : 0.0;
        trial_result(&trial, "din", unfold_inputs(&s), sqrt(squares / (double)rows / 3.0));
        check_trial(checker, &trial);
    }
}

/* ---- ReLU ---- */

static bool next_count(Checker *checker, int number, size_t *count, char *text)
{
    static const size_t counts[] = {1, 2, 255, 256, 257, 36864};
    *count = number < COUNT(counts) ? counts[number] : (size_t)between(checker, 1, 3000);
    snprintf(text, sizeof((Trial *)NULL)->shape, "%zu elements", *count);
    return number < COUNT(counts) + random_trials(checker, 16);
}

static void relu_input(Checker *checker, Trial *trial, size_t count)
{
    float *in = trial_random(checker, trial, "in", count, -1.0, 1.0);
    for (size_t i = 0; i < count; i++)
        if (between(checker, 0, 15) == 0)
            in[i] = 0.0f;
}

static void call_relu_forward(const Operations *ops, Backend *backend, const void *arguments,
                              void *const *b)
{
    ops->relu_forward(backend, *(const size_t *)arguments, b[0], b[1]);
}

void check_relu_forward(Checker *checker)
{
    size_t count;
    Trial trial = {.arguments = &count, .call = call_relu_forward};
    for (int i = 0; next_count(checker, i, &count, trial.shape); i++) {
        relu_input(checker, &trial, count);
        trial_result(&trial, "out", count, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_relu_backward(const Operations *ops, Backend *backend, const void *arguments,
                               void *const *b)
{
    ops->relu_backward(backend, *(const size_t *)arguments, b[0], b[1], b[2]);
}

/* din in the place of dout. */
static void call_relu_backward_in_place(const Operations *ops, Backend *backend,
                                        const void *arguments, void *const *b)
{
    ops->relu_backward(backend, *(const size_t *)arguments, b[0], b[1], b[1]);
}

void check_relu_backward(Checker *checker)
{
    size_t count;
    Trial trial = {.arguments = &count};
    for (int i = 0; next_count(checker, i, &count, trial.shape); i++) {
        bool in_place = i % 2 == 1;
        trial.call = in_place ? call_relu_backward_in_place : call_relu_backward;
        relu_input(checker, &trial, count);
        float *dout = trial_floats(&trial, "dout", in_place ? CHANGED : INPUT, count);
        for (size_t e = 0; e < count; e++)
            dout[e] = (float)uniform(checker, -1.0, 1.0);
        if (!in_place)
            trial_result(&trial, "din", count, 0.0);
        check_trial(checker, &trial);
    }
}

/* ---- the order of weights ---- */

typedef struct TransposeShape {
    int count, rows, columns;
} TransposeShape;

static void call_transpose(const Operations *ops, Backend *backend, const void *arguments,
                           void *const *b)
{
    const TransposeShape *s = arguments;
    ops->transpose(backend, s->count, s->rows, s->columns, b[0], b[1]);
}

void check_transpose(Checker *checker)
{
    static const TransposeShape shapes[] = {
        {1, 1, 1}, {1, 5, 1}, {3, 1, 7}, {32, 3, 25}, {32, 25, 3}, {64, 32, 25}, {96, 64, 16},
    };
    TransposeShape s;
    Trial trial = {.arguments = &s, .call = call_transpose};
    for (int i = 0; i < COUNT(shapes) + random_trials(checker, 16); i++) {
        s = (TransposeShape){between(checker, 1, 9), between(checker, 1, 40),
                             between(checker, 1, 40)};
        if (i < COUNT(shapes))
            s = shapes[i];
        size_t elements = (size_t)s.count * (size_t)s.rows * (size_t)s.columns;
        snprintf(trial.shape, sizeof trial.shape, "%d of %d x %d", s.count, s.rows, s.columns);
        trial_random(checker, &trial, "in", elements, -1.0, 1.0);
        trial_result(&trial, "out", elements, 0.0);
        check_trial(checker, &trial);
    }
}

/* ---- batch norm ---- */

typedef struct RowShape {
    size_t rows;
    int channels;
} RowShape;

/* At last one chunk of rows with columns for several blocks, more columns than are added at once,
 * and so many rows that a thread of a kernel does not keep its elements. */
static const RowShape row_shapes[] = {
    {1, 1},    {1, 5},    {2, 1},   {3, 17},   {1152, 32},
    {288, 32}, {128, 64}, {32, 64}, {40, 300}, {70000, 3},
};

static bool next_rows(Checker *checker, int number, RowShape *shape, char *text)
{
    int known = COUNT(row_shapes);
    *shape = (RowShape){(size_t)between(checker, 1, 300), between(checker, 1, 100)};
    if (number < known)
        *shape = row_shapes[number];
    else if (number - known >= random_trials(checker, 32))
        return false;
    snprintf(text, sizeof((Trial *)NULL)->shape, "rows %zu, channels %d", shape->rows,
             shape->channels);
    return true;
}

/* Every channel with a mean and a deviation of its own. */
static const float *channels_input(Checker *checker, Trial *trial, const RowShape *s)
{
    size_t width = (size_t)s->channels;
    float *in = trial_random(checker, trial, "in", s->rows * width, -1.0, 1.0);
    for (size_t c = 0; c < width; c++) {
        double mean = uniform(checker, -1.0, 1.0), size = uniform(checker, 0.2, 2.0);
        for (size_t row = 0; row < s->rows; row++)
            in[row * width + c] = (float)(mean + size * in[row * width + c]);
    }
    return in;
}

static void call_batchnorm_forward(const Operations *ops, Backend *backend, const void *arguments,
                                   void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_forward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4], b[5]);
}

void check_batchnorm_forward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s, .call = call_batchnorm_forward};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels;
        const float *in = channels_input(checker, &trial, &s);
        trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        trial_random(checker, &trial, "bias", width, -1.0, 1.0);
        trial_result(&trial, "out", s.rows * width, 1.0);
        trial_result(&trial, "mean", width, rms(in, s.rows * width) / sqrt((double)s.rows));
        trial_result(&trial, "rstd", width, 0.0);
        check_trial(checker, &trial);
    }
}

static void call_batchnorm_backward(const Operations *ops, Backend *backend, const void *arguments,
                                    void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4], b[5], b[6],
                            b[7]);
}

/* din in the place of dout. */
static void call_batchnorm_backward_in_place(const Operations *ops, Backend *backend,
                                             const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4], b[4], b[5],
                            b[6]);
}

void check_batchnorm_backward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels, count = s.rows * width;
        bool in_place = i % 2 == 1;
        trial.call = in_place ? call_batchnorm_backward_in_place : call_batchnorm_backward;
        const float *in = channels_input(checker, &trial, &s);
        const float *weight = trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        float *mean = trial_floats(&trial, "mean", INPUT, width);
        float *rstd = trial_floats(&trial, "rstd", INPUT, width);
        float *out = must_allocate(count * sizeof *out);
        checker->plain.operations->batchnorm_forward(checker->plain.backend, s.rows, s.channels, in,
                                                     weight, weight, out, mean, rstd);
        free(out);
        float *dout = trial_floats(&trial, "dout", in_place ? CHANGED : INPUT, count);
        for (size_t e = 0; e < count; e++)
            dout[e] = (float)uniform(checker, -1.0, 1.0);
        double terms = rms(dout, count) * rms(weight, width) * rms(rstd, width);
        if (in_place)
            trial.buffers[trial.count - 1].typical = terms;
        else
            trial_result(&trial, "din", count, terms);
        trial_result(&trial, "dweight", width, rms(dout, count) * sqrt((double)s.rows));
        trial_result(&trial, "dbias", width, rms(dout, count) * sqrt((double)s.rows));
        check_trial(checker, &trial);
    }
}

static void call_batchnorm_accumulate(const Operations *ops, Backend *backend,
                                      const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_accumulate(backend, s->rows, s->channels, b[0], b[1]);
}

void check_batchnorm_accumulate(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s, .call = call_batchnorm_accumulate};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels;
        if (s.rows > 2000)
            continue; /* of so many, the plain sums too are off by more than is allowed */
        channels_input(checker, &trial, &s);
        double *sums = trial_bytes(&trial, "sums", CHANGED, DOUBLES, 2 * width * sizeof *sums);
        for (size_t c = 0; c < 2 * width; c++)
            sums[c] = uniform(checker, 0.0, 1e3);
        trial.buffers[trial.count - 1].typical = (double)s.rows;
        check_trial(checker, &trial);
    }
}

/* Means and variances that are not those of the rows. */
static void frozen_statistics(Checker *checker, Trial *trial, size_t width)
{
    trial_random(checker, trial, "mean", width, -1.0, 1.0);
    float *variance = trial_random(checker, trial, "variance", width, 0.01, 2.0);
    if (between(checker, 0, 3) == 0)
        variance[width / 2] = 0.0f;
}

static void call_batchnorm_frozen_forward(const Operations *ops, Backend *backend,
                                          const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_frozen_forward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4],
                                  b[5]);
}

void check_batchnorm_frozen_forward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s, .call = call_batchnorm_frozen_forward};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels;
        channels_input(checker, &trial, &s);
        trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        trial_random(checker, &trial, "bias", width, -1.0, 1.0);
        frozen_statistics(checker, &trial, width);
        trial_result(&trial, "out", s.rows * width, 1.0);
        check_trial(checker, &trial);
    }
}

static void call_batchnorm_frozen_backward(const Operations *ops, Backend *backend,
                                           const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_frozen_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4],
                                   b[5], b[6], b[7]);
}

static void call_batchnorm_frozen_backward_in_place(const Operations *ops, Backend *backend,
                                                    const void *arguments, void *const *b)
{
    const RowShape *s = arguments;
    ops->batchnorm_frozen_backward(backend, s->rows, s->channels, b[0], b[1], b[2], b[3], b[4],
                                   b[4], b[5], b[6]);
}

void check_batchnorm_frozen_backward(Checker *checker)
{
    RowShape s;
    Trial trial = {.arguments = &s};
    for (int i = 0; next_rows(checker, i, &s, trial.shape); i++) {
        size_t width = (size_t)s.channels, count = s.rows * width;
        bool in_place = i % 2 == 1;
        trial.call =
            in_place ? call_batchnorm_frozen_backward_in_place : call_batchnorm_frozen_backward;
        const float *in = channels_input(checker, &trial, &s);
        trial_random(checker, &trial, "weight", width, 0.5, 1.5);
        frozen_statistics(checker, &trial, width);
        const float *variance = trial.buffers[trial.count - 1].before;
        float *dout = trial_floats(&trial, "dout", in_place ? CHANGED : INPUT, count);
        for (size_t e = 0; e < count; e++)
            dout[e] = (float)uniform(checker, -1.0, 1.0);
        double least = variance[0];
        for (size_t c = 1; c < width; c++)
            least = fmin(least, variance[c]);
        if (!in_place)
            trial_result(&trial, "din", count, 0.0);
        /* The terms are dout times the normalised input. */
        double root_rows = sqrt((double)s.rows);
        trial_result(&trial, "dweight", width,
                     root_rows * (1.0 + rms(in, count)) / sqrt(least + 1e-5));
        trial_result(&trial, "dbias", width, root_rows);
        check_trial(checker, &trial);
    }
}

/* ---- convolution ---- */

static const ConvolutionShape convolution_shapes[] = {
    {1, 1, 1},      {1, 3, 100},    {7, 100, 1},   {47, 16, 17},
    {1152, 32, 32}, {128, 64, 64},  {2, 96, 96},   {2, 10, 10},
    {1152, 75, 32}, {128, 800, 64}, {2, 1024, 96}, {2, 96, 10}, /* in the place of NNMF */
};

static bool next_convolution(Checker *checker, int number, ConvolutionShape *shape, char *text)
{
    int known = COUNT(convolution_shapes);
    *shape = (ConvolutionShape){(size_t)between(checker, 1, 250), between(checker, 1, 100),
                                between(checker, 1, 100)};
    if (number < known)
        *shape = convolution_shapes[number];
    else if (number - known >= random_trials(checker, 40))
        return false;
    snprintf(text, sizeof((Trial *)NULL)->shape, "rows %zu, in %d, out %d", shape->rows, shape->in,
             shape->out);
    return true;
}

static void call_convolution_forward(const Operations *ops, Backend *backend, const void *arguments,
                                     void *const *b)
{
    ops->convolution_forward(backend, arguments, b[0], b[1], b[2], b[3]); /* b[2]: may be NULL */
}

void check_convolution_forward(Checker *checker)
{
    ConvolutionShape s;
    Trial trial = {.arguments = &s, .call = call_convolution_forward};
    for (int i = 0; next_convolution(checker, i, &s, trial.shape); i++) {
        size_t in = (size_t)s.in, out = (size_t)s.out;
        trial_random(checker, &trial, "in", s.rows * in, -1.0, 1.0);
        trial_random(checker, &trial, "weight", out * in, -1.0, 1.0);
        if (i % 3 == 1)
            trial_absent(&trial, "bias");
        else
            trial_random(checker, &trial, "bias", out, -1.0, 1.0);
        trial_result(&trial, "out", s.rows * out, sqrt((double)in) / 3.0);
        check_trial(checker, &trial);
    }
}

static void call_convolution_backward(const Operations *ops, Backend *backend,
                                      const void *arguments, void *const *b)
{
    ops->convolution_backward(backend, arguments, b[0], b[1], b[2], b[3], b[4], b[5]);
}

void check_convolution_backward(Checker *checker)
{
    ConvolutionShape s;
    Trial trial = {.arguments = &s, .call = call_convolution_backward};
    for (int i = 0; next_convolution(checker, i, &s, trial.shape); i++) {
        size_t in = (size_t)s.in, out = (size_t)s.out;
        double root_rows = sqrt((double)s.rows);
        trial_random(checker, &trial, "in", s.rows * in, -1.0, 1.0);
        trial_random(checker, &trial, "weight", out * in, -1.0, 1.0);
        trial_random(checker, &trial, "dout", s.rows * out, -1.0, 1.0);
        if (i % 4 == 2)
            trial_absent(&trial, "din");
        else
            trial_result(&trial, "din", s.rows * in, sqrt((double)out) / 3.0);
        trial_result(&trial, "dweight", out * in, root_rows / 3.0);
        if (i % 3 == 1)
            trial_absent(&trial, "dbias");
        else
            trial_result(&trial, "dbias", out, root_rows / sqrt(3.0));
        check_trial(checker, &trial);
    }
}
