/* A network's model on a device: its memory, its parameters, weights from a file, and a small
 * network computed on every device. */
#include "nnmf/memory.h"
#include "small_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- models ---- */

static void build(DatasetKind dataset, const NetworkOptions *options, Network *network)
{
    Error error = {0};
    if (!network_for_dataset(dataset, options, network, &error))
        fail_msg("%s", error.text);
}

typedef struct CreateContext {
    Network network;
    Device device;
} CreateContext;

static bool create(void *context, Error *error)
{
    CreateContext *c = context;
    Model model;
    memset(&model, 0xff, sizeof model);
    bool created = model_create(&c->network, &c->device, BATCH, 1, &model, error);
    if (!created) {
        assert_null(model.device);
        assert_null(model.parameters);
        assert_null(model.images);
        assert_null(model.layers[0].out);
    }
    model_destroy(&model);
    return created;
}

static void creation_without_memory(void **state)
{
    (void)state;
    CreateContext c;
    Error error = {0};
    build_small(&network_default_options, &c.network);
    assert_true(device_open_plain(&c.device, &error));
    assert_true(fail_in_turn(create, &c) > 20);
    device_close(&c.device);
    Model empty = {0};
    model_destroy(&empty);
}

static bool initialise(void *context, Error *error)
{
    return model_initialise(context, 1, error);
}

static bool name_tensors(void *context, Error *error)
{
    const Model *model = context;
    Tensor tensors[MAX_PARAMETERS];
    bool named = model_tensors(model, "first.", model->parameters, tensors, error);
    for (int i = 0; i < model->network->parameter_count; i++)
        assert_true((tensors[i].name != NULL) == named);
    model_free_tensors(model, tensors);
    return named;
}

static void parameters_without_memory(void **state)
{
    (void)state;
    Network network;
    Device device;
    Model model;
    open_model(&network_default_options, &network, &device, &model);
    assert_true(fail_in_turn(initialise, &model) > 0);
    assert_int_equal(fail_in_turn(name_tensors, &model), network.parameter_count);
    close_model(&device, &model);
}

/* Returns the parameters that model_initialise sets. */
static float *initial_parameters(const Network *network, uint64_t seed)
{
    Device device;
    Model model;
    Error error = {0};
    assert_true(device_open_plain(&device, &error));
    assert_true(model_create(network, &device, 1, 1, &model, &error));
    assert_true(model_initialise(&model, seed, &error));
    float *host = new_buffer(network);
    assert_true(model_read(&model, model.parameters, host, &error));
    close_model(&device, &model);
    return host;
}

static void assert_initial(const Network *network, const Layer *l, const float *host)
{
    const Parameter *weight = &network->parameters[l->weight];
    const float *values = host + weight->offset;
    bool replaces_nnmf = l->kind == LAYER_CONVOLUTION && l->window > 0;
    /* The range of the uniform numbers and their mean. */
    double width = replaces_nnmf ? 2.0 / sqrt((double)l->in.channels) : 1.0;
    double mean = replaces_nnmf ? 0.0 : 0.5, sum = 0.0;
    for (size_t i = 0; i < weight->elements; i++) {
        sum += (double)values[i];
        if (l->kind == LAYER_NNMF || replaces_nnmf)
            assert_true(fabs((double)values[i] - mean) <= width / 2.0 * (1.0 + 1e-6));
        else if (l->kind == LAYER_BATCHNORM)
            assert_true(values[i] == 1.0f);
        else
            assert_true(values[i] == (i / weight->shape[1] == i % weight->shape[1] ? 1.0f : 0.0f));
    }
    /* Five standard deviations of the mean of uniform numbers. */
    if (l->kind == LAYER_NNMF || replaces_nnmf)
        assert_true(fabs(sum / (double)weight->elements - mean) <
                    5.0 * width / sqrt(12.0 * (double)weight->elements));
    for (size_t i = 0; l->bias >= 0 && i < network->parameters[l->bias].elements; i++)
        assert_true(host[network->parameters[l->bias].offset + i] == 0.0f);
    if (l->beta >= 0)
        assert_true(host[network->parameters[l->beta].offset] == (float)network->options.beta);
}

static void initial_values(void **state)
{
    (void)state;
    NetworkOptions options = network_default_options;
    options.positive_function = POSITIVE_TANH;
    options.beta = 0.75;
    Network network;
    build(DATASET_CIFAR10, &options, &network);
    float *host = initial_parameters(&network, 21), *again = initial_parameters(&network, 21);
    float *other = initial_parameters(&network, 22);
    float *high = initial_parameters(&network, UINT64_C(21) | UINT64_C(1) << 40);
    size_t bytes = network.buffer_elements * sizeof *host;
    assert_memory_equal(host, again, bytes);
    for (int i = 0; i < network.layer_count; i++) {
        const Layer *l = &network.layers[i];
        if (l->weight < 0)
            continue;
        assert_initial(&network, l, host);
        const Parameter *p = &network.parameters[l->weight];
        if (l->kind == LAYER_NNMF) {
            assert_memory_not_equal(host + p->offset, other + p->offset, p->elements * 4);
            assert_memory_not_equal(host + p->offset, high + p->offset, p->elements * 4);
        }
    }
    /* Layers have different random numbers. */
    assert_memory_not_equal(host + network.parameters[network.layers[1].weight].offset,
                            host + network.parameters[network.layers[6].weight].offset, 256);
    memory_free(host);
    memory_free(again);
    memory_free(other);
    memory_free(high);
}

static void initial_values_of_the_baseline(void **state)
{
    (void)state;
    NetworkOptions options = baseline_options();
    Network network;
    build(DATASET_CIFAR10, &options, &network);
    float *host = initial_parameters(&network, 21), *other = initial_parameters(&network, 22);
    for (int i = 0; i < network.layer_count; i++) {
        const Layer *l = &network.layers[i];
        if (l->weight < 0)
            continue;
        assert_initial(&network, l, host);
        const Parameter *p = &network.parameters[l->weight];
        float min = 0.0f, max = 0.0f;
        for (size_t e = 0; e < p->elements; e++) {
            min = fminf(min, host[p->offset + e]);
            max = fmaxf(max, host[p->offset + e]);
        }
        if (l->kind != LAYER_CONVOLUTION || l->window == 0)
            continue;
        /* Both bounds are nearly reached. */
        float bound = 1.0f / sqrtf((float)l->in.channels);
        assert_true(max > 0.98f * bound && min < -0.98f * bound);
        assert_memory_not_equal(host + p->offset, other + p->offset, p->elements * sizeof *host);
    }
    memory_free(host);
    memory_free(other);
}

/* ---- weights from a file's tensors ---- */

static void weights_are_loaded(void **state)
{
    (void)state;
    Weights w;
    Error error = {0};
    open_weights(&w);
    for (int i = 0; i < w.network.parameter_count; i++)
        for (size_t e = 0; e < w.tensors[i].elements; e++)
            ((float *)w.tensors[i].data)[e] = (float)(i + 1) + (float)e / 1024.0f;
    /* In any order, with an optimiser's moment among them. */
    Tensor first = w.tensors[0];
    size_t last = w.file.tensor_count;
    char optimiser[] = "optimiser.first.4.weight";
    w.tensors[0] = w.tensors[last - 1];
    w.tensors[last - 1] = first;
    w.tensors[last] = first;
    w.tensors[last].name = optimiser;
    w.file.tensor_count++;
    assert_true(load(&w, &error));
    float *have = new_buffer(&w.network);
    assert_true(model_read(&w.model, w.model.parameters, have, &error));
    assert_memory_equal(have, w.host, w.network.buffer_elements * sizeof *have);
    memory_free(have);
    w.file.tensor_count--;
    assert_true(fail_in_turn(load, &w) > 0);
    close_weights(&w);
}

static void bad_weights_are_refused(void **state)
{
    (void)state;
    Weights w;
    open_weights(&w);
    size_t count = w.file.tensor_count;

    w.file.tensor_count = count - 1;
    assert_refused(&w, "missing weights");
    w.file.tensor_count = 0;
    assert_refused(&w, "4.weight");
    w.file.tensor_count = count + 1;
    w.tensors[count] = w.tensors[0];
    char extra[] = "99.weight";
    w.tensors[count].name = extra;
    assert_refused(&w, "'99.weight' is not of this network");
    w.file.tensor_count = count;

    Tensor *t = &w.tensors[0];
    const Tensor right = *t;
    t->shape[0]++;
    assert_refused(&w, "misshapen weights");
    *t = right;
    t->shape[0] = right.shape[1];
    t->shape[1] = right.shape[0]; /* the same number of elements */
    assert_refused(&w, "tensor '4.weight' is 18 x 5, expected 5 x 18");
    *t = right;
    t->rank = 1;
    t->shape[0] = right.elements;
    assert_refused(&w, "misshapen weights");
    *t = right;
    t->rank = TENSOR_MAX_RANK;
    for (int i = 2; i < TENSOR_MAX_RANK; i++)
        t->shape[i] = 1;
    assert_refused(&w, "misshapen weights");
    for (int i = 0; i < TENSOR_MAX_RANK; i++)
        t->shape[i] = SIZE_MAX; /* the longest text */
    assert_refused(&w, "misshapen weights");
    *t = right;
    t->rank = 0;
    assert_refused(&w, "misshapen weights");
    *t = right;
    t->type = TENSOR_F64;
    assert_refused(&w, "must be F32");
    *t = right;

    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < COUNT(bad); i++)
        for (size_t p = 0; p < count; p += count - 1) {
            float *value = (float *)w.tensors[p].data + w.tensors[p].elements - 1;
            float was = *value;
            *value = bad[i];
            assert_refused(&w, "is not finite");
            *value = was;
        }
    Error error = {0};
    assert_true(load(&w, &error));
    close_weights(&w);
}

static void weights_of_the_other_architecture(void **state)
{
    (void)state;
    Weights w;
    open_weights(&w);
    const Network own = w.network;
    NetworkOptions options = baseline_options();
    build_small(&options, &w.network);
    Error error = {0};
    Model other;
    assert_true(model_create(&w.network, &w.device, BATCH, 1, &other, &error));
    assert_false(model_load_weights(&other, &w.file, "some/file", &error));
    assert_string_equal(error.text,
                        "weights of the other architecture: some/file: it is of "
                        "--arch nnmf, not cnn");
    float *host = new_buffer(&w.network);
    Tensor tensors[MAX_PARAMETERS];
    assert_true(model_tensors(&other, "", host, tensors, &error));
    TensorFile file = {.tensor_count = (size_t)w.network.parameter_count, .tensors = tensors};
    Network of_other = w.network;
    w.network = own;
    error = (Error){0};
    assert_false(model_load_weights(&w.model, &file, "some/file", &error));
    assert_string_equal(error.text,
                        "weights of the other architecture: some/file: it is of "
                        "--arch cnn, not nnmf");
    w.network = of_other;
    assert_true(model_load_weights(&other, &file, "some/file", &error));
    model_free_tensors(&other, tensors);
    model_destroy(&other);
    memory_free(host);
    w.network = own;
    close_weights(&w);
}

/* ---- computing ---- */

enum { UPDATES = 3 };

/* Results of a forward and a backward pass and a few updates. */
typedef struct Results {
    float probabilities[BATCH * CLASSES];
    Totals totals, totals_without_gradient;
    StepState step_state;
    float *gradients, *parameters;
} Results;

static void free_results(Results *r)
{
    memory_free(r->gradients);
    memory_free(r->parameters);
}

static void compute(const Network *network, const Device *device, int batch, Results *r)
{
    const Operations *ops = device->operations;
    Backend *backend = device->backend;
    Error error = {0};
    Model model;
    memset(r, 0, sizeof *r);
    assert_true(model_create(network, device, BATCH, 1, &model, &error));
    disturb(&model);
    float images[INPUTS];
    for (uint32_t i = 0; i < INPUTS; i++)
        images[i] = (float)noise(100000 + i);
    const uint8_t labels[BATCH] = {3, 0, 9, 3, 5};
    ops->upload(backend, model.images, images, sizeof images);
    ops->upload(backend, model.labels, labels, sizeof labels);
    const StepState start = {.learning_rates = {1e-3, 1e-2, 1e-3}};
    StepState *step_state = ops->allocate(backend, sizeof *step_state, "step_state", &error);
    Totals *totals = ops->allocate(backend, sizeof *totals, "totals", &error);
    assert_non_null(step_state);
    assert_non_null(totals);
    ops->upload(backend, step_state, &start, sizeof start);

    size_t probability_bytes = (size_t)batch * CLASSES * sizeof(float);
    model_forward(&model, batch);
    ops->download(backend, r->probabilities, model_probabilities(&model), probability_bytes);
    model_loss(&model, batch, 0, step_state, totals);
    ops->download(backend, &r->totals_without_gradient, totals, sizeof r->totals);
    const Totals none = {0};
    ops->upload(backend, totals, &none, sizeof none);
    model_backward(&model, batch, step_state, totals, NULL);
    ops->download(backend, &r->totals, totals, sizeof r->totals);
    r->gradients = new_buffer(network);
    r->parameters = new_buffer(network);
    assert_true(model_read(&model, model.gradients, r->gradients, &error));
    for (int i = 0; i < UPDATES; i++) {
        model_update(&model, step_state);
        model_forward(&model, batch);
        model_backward(&model, batch, step_state, totals, NULL);
    }
    assert_true(model_read(&model, model.parameters, r->parameters, &error));
    ops->download(backend, &r->step_state, step_state, sizeof r->step_state);
    assert_true(ops->finish(backend, &error));
    ops->release(backend, step_state);
    ops->release(backend, totals);
    model_destroy(&model);
}

/* Compares by relative 2-norms. The gradient of a bias before a batch norm is zero except for
 * rounding, so it is compared with the norm of all gradients. */
static void assert_same_results(const Network *network, const char *device, const Results *have,
                                const Results *expected)
{
    assert_close(device, "probabilities",
                 distance(have->probabilities, expected->probabilities, BATCH * CLASSES) /
                     norm(expected->probabilities, BATCH * CLASSES),
                 1e-6);
    assert_close(device, "loss", fabs(have->totals.loss / expected->totals.loss - 1.0), 1e-6);
    assert_int_equal(have->totals.correct, expected->totals.correct);
    double all = norm(expected->gradients, network->buffer_elements);
    for (int i = 0; i < network->parameter_count; i++) {
        const Parameter *p = &network->parameters[i];
        const float *a = have->gradients + p->offset, *b = expected->gradients + p->offset;
        double size = fmax(norm(b, p->elements), 1e-3 * all);
        for (size_t e = 0; e < p->elements; e++)
            assert_true(isfinite(a[e]));
        assert_close(device, p->name, distance(a, b, p->elements) / size, 5e-5);
    }
}

static void assert_identical(const Network *network, const Results *a, const Results *b)
{
    size_t bytes = network->buffer_elements * sizeof(float);
    assert_memory_equal(a->probabilities, b->probabilities, sizeof a->probabilities);
    assert_memory_equal(&a->totals, &b->totals, sizeof a->totals);
    assert_memory_equal(a->gradients, b->gradients, bytes);
    assert_memory_equal(a->parameters, b->parameters, bytes);
}

static void check_network(const NetworkOptions *options, int batch)
{
    static const int threads[] = {1, 2, 5};
    Network network;
    Device device;
    Error error = {0};
    Results plain;
    build_small(options, &network);
    assert_true(device_open_plain(&device, &error));
    compute(&network, &device, batch, &plain);
    device_close(&device);
    assert_memory_equal(&plain.totals, &plain.totals_without_gradient, sizeof plain.totals);
    assert_int_equal(plain.step_state.updates, UPDATES);
    assert_int_equal(plain.step_state.step, UPDATES);
    for (int i = 0; i < network.parameter_count; i++) {
        const Parameter *p = &network.parameters[i];
        assert_true(norm(plain.gradients + p->offset, p->elements) > 0.0);
    }
    const char *set;
    for (int number = 0; (set = cpu_instruction_set(number)); number++) {
        Results first = {0};
        for (size_t t = 0; t < COUNT(threads); t++) {
            Results r;
            assert_true(device_open_cpu(&device, &(CpuOptions){set, threads[t]}, &error));
            compute(&network, &device, batch, &r);
            device_close(&device);
            if (t == 0) {
                assert_same_results(&network, set, &r, &plain);
                first = r;
                continue;
            }
            assert_identical(&network, &first, &r);
            free_results(&r);
        }
        free_results(&first);
    }
    free_results(&plain);
}

static void every_device_computes_the_same_network(void **state)
{
    (void)state;
    check_network(&network_default_options, BATCH);
    check_network(&network_default_options, BATCH - 2); /* fewer than the buffers hold */
    NetworkOptions options = network_default_options;
    options.iterations = 3;
    options.epsilon = 0.5;
    check_network(&options, BATCH);
    for (int function = POSITIVE_EXP; function <= POSITIVE_IDENTITY; function++) {
        options = network_default_options;
        options.positive_function = (PositiveFunction)function;
        check_network(&options, BATCH);
    }
    for (int learning = LOCAL_KL; learning <= LOCAL_MSE; learning++) {
        options = network_default_options;
        options.local_learning = (LocalLearning)learning;
        check_network(&options, BATCH);
    }
    options = network_default_options;
    options.loss = LOSS_CROSS_ENTROPY;
    check_network(&options, BATCH);
    options = baseline_options();
    check_network(&options, BATCH);
    check_network(&options, BATCH - 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creation_without_memory),
        cmocka_unit_test(parameters_without_memory),
        cmocka_unit_test(initial_values),
        cmocka_unit_test(initial_values_of_the_baseline),
        cmocka_unit_test(weights_are_loaded),
        cmocka_unit_test(weights_of_the_other_architecture),
        cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(every_device_computes_the_same_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
