/* Population statistics: loading, saving, measuring and use. */
#include "small_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Gives the model statistics, all different, and adds them to the file's tensors. */
static void add_statistics(Weights *w, float *host, char names[][POPULATION_NAME])
{
    Error error = {0};
    size_t elements = w->network.population_elements, count;
    for (size_t i = 0; i < elements; i++)
        host[i] = 0.5f + (float)i / 64.0f;
    const Operations *ops = w->device.operations;
    ops->upload(w->device.backend, w->model.population, host, elements * sizeof *host);
    assert_true(population_tensors(&w->model, host, names, w->tensors + w->file.tensor_count,
                                   &count, &error));
    assert_int_equal(count, 0); /* the model has none yet */
    w->model.has_population = true;
    assert_true(population_tensors(&w->model, host, names, w->tensors + w->file.tensor_count,
                                   &count, &error));
    assert_int_equal(count, 6);
    w->file.tensor_count += count;
}

static void statistics_are_loaded(void **state)
{
    (void)state;
    Weights w;
    Error error = {0};
    open_weights(&w);
    float host[128], before[128], after[128];
    char names[MAX_POPULATION_TENSORS][POPULATION_NAME];
    size_t elements = w.network.population_elements, parameters = w.file.tensor_count;
    assert_int_equal(elements, 2 * (5 + 5 + 4)); /* 5, 7 and 13 are batch norms */

    assert_false(w.model.has_population);
    assert_false(population_use(&w.model, STATISTICS_POPULATION, "some/file", &error));
    assert_non_null(strstr(error.text, "no population statistics: some/file: "));
    error = (Error){0};
    add_statistics(&w, host, names);
    assert_string_equal(names[0], "5.running_mean");
    assert_string_equal(names[1], "5.running_var");
    assert_string_equal(names[5], "13.running_var");
    assert_int_equal(w.tensors[parameters + 5].shape[0], 4);
    memcpy(before, host, sizeof before);

    w.model.has_population = false;
    const float zero[128] = {0};
    const Operations *ops = w.device.operations;
    ops->upload(w.device.backend, w.model.population, zero, elements * sizeof *zero);
    assert_true(load(&w, &error));
    assert_true(w.model.has_population);
    ops->download(w.device.backend, after, w.model.population, elements * sizeof *after);
    assert_memory_equal(before, after, elements * sizeof *after);
    assert_true(population_use(&w.model, STATISTICS_POPULATION, "some/file", &error));
    assert_true(fail_in_turn(load, &w) > 1);

    /* Weights without statistics, or new weights, invalidate the old statistics. */
    w.file.tensor_count = parameters;
    assert_true(load(&w, &error));
    assert_false(w.model.has_population);
    w.model.has_population = true;
    assert_true(model_initialise(&w.model, 1, &error));
    assert_false(w.model.has_population);
    close_weights(&w);
}

static void bad_statistics_are_refused(void **state)
{
    (void)state;
    Weights w;
    open_weights(&w);
    float host[128];
    char names[MAX_POPULATION_TENSORS][POPULATION_NAME];
    size_t parameters = w.file.tensor_count;
    add_statistics(&w, host, names);
    Tensor *mean = &w.tensors[parameters], *variance = mean + 1;

    w.file.tensor_count--;
    assert_refused(&w, "no tensor '13.running_var'");
    w.file.tensor_count++;
    float *value = (float *)variance->data + 2, was = *value;
    *value = -1e-9f;
    assert_refused(&w, "'5.running_var', element 2 cannot be a variance");
    *value = NAN;
    assert_refused(&w, "cannot be a variance");
    Error error = {0};
    *value = 0.0f; /* of a constant channel */
    assert_true(load(&w, &error));
    *value = was;
    value = (float *)mean->data;
    was = *value;
    *value = INFINITY;
    assert_refused(&w, "'5.running_mean', element 0 cannot be a mean");
    *value = was;
    mean->shape[0]--;
    assert_refused(&w, "tensor '5.running_mean' must be 5 F32 values");
    mean->shape[0]++;
    mean->rank = 2;
    assert_refused(&w, "must be 5 F32 values");
    mean->rank = 1;
    mean->type = TENSOR_F64;
    assert_refused(&w, "must be 5 F32 values");
    mean->type = TENSOR_F32;
    strcpy(names[0], "4.running_mean"); /* of a layer that is not a batch norm */
    assert_refused(&w, "'4.running_mean' is not of this network");
    w.file.tensor_count = parameters; /* close_weights frees their names only */
    close_weights(&w);
}

/* Three batches, one of them smaller: compares with mean and variance of all outputs of the
 * previous layer. */
static void statistics_are_those_of_all_images(void **state)
{
    (void)state;
    enum { BATCHES = 3, MAX_SEEN = 2048 };
    static float seen[MAX_LAYERS][BATCHES * MAX_SEEN];
    size_t counts[MAX_LAYERS] = {0};
    Network network;
    Device device;
    Model model;
    Error error = {0};
    open_model(&network_default_options, &network, &device, &model);
    disturb(&model);
    model.sums[0] = 7.0; /* of an earlier pass */
    assert_true(population_begin(&model, &error));
    for (uint32_t b = 0; b < BATCHES; b++) {
        int batch = b == BATCHES - 1 ? 2 : BATCH;
        for (uint32_t i = 0; i < INPUTS; i++)
            model.images[i] = (float)noise(300000 + b * INPUTS + i);
        model_forward(&model, batch);
        for (int i = 0; i < network.layer_count; i++) {
            if (network.layers[i].kind != LAYER_BATCHNORM)
                continue;
            size_t count = (size_t)batch * extent_elements(network.layers[i].in);
            assert_true(count <= MAX_SEEN);
            memcpy(seen[i] + counts[i], model.layers[i - 1].out, count * sizeof(float));
            counts[i] += count;
        }
    }
    assert_true(population_end(&model, (BATCHES - 1) * BATCH + 2, &error));
    assert_true(model.has_population);
    assert_false(model.measuring);
    for (int i = 0; i < network.layer_count; i++) {
        const Layer *l = &network.layers[i];
        size_t channels = (size_t)l->out.channels;
        for (size_t c = 0; l->kind == LAYER_BATCHNORM && c < channels; c++) {
            double sum = 0.0, squares = 0.0, rows = (double)(counts[i] / channels);
            for (size_t e = c; e < counts[i]; e += channels)
                sum += (double)seen[i][e];
            for (size_t e = c; e < counts[i]; e += channels)
                squares += pow((double)seen[i][e] - sum / rows, 2.0);
            const float *mean = model.population + l->population;
            assert_true(fabs((double)mean[c] - sum / rows) <= 1e-6 * fabs(sum / rows));
            assert_true(fabs((double)mean[channels + c] - squares / rows) <= 1e-6 * squares / rows);
        }
    }
    model.has_population = false;
    assert_true(population_begin(&model, &error));
    assert_true(population_end(&model, 0, &error)); /* abandoned */
    assert_false(model.has_population);
    close_model(&device, &model);
}

/* With population statistics an image's probabilities do not depend on the rest of the batch. */
static void with_population_statistics_images_are_independent(void **state)
{
    (void)state;
    for (int arch = ARCHITECTURE_NNMF; arch <= ARCHITECTURE_CNN; arch++) {
        NetworkOptions options = network_default_options;
        options.architecture = (Architecture)arch;
        Network network;
        Device device;
        Model model;
        float alone[CLASSES], batch[CLASSES], among[CLASSES], others[CLASSES];
        open_model(&options, &network, &device, &model);
        disturb(&model);
        for (uint32_t i = 0; i < INPUTS; i++)
            model.images[i] = (float)noise(400000 + i);
        model_forward(&model, BATCH);
        memcpy(batch, model_probabilities(&model), sizeof batch);
        give_statistics(&model);
        model_forward(&model, BATCH);
        memcpy(among, model_probabilities(&model), sizeof among);
        memcpy(others, model_probabilities(&model) + CLASSES, sizeof others);
        model_forward(&model, 1);
        memcpy(alone, model_probabilities(&model), sizeof alone);
        assert_memory_equal(alone, among, sizeof alone);
        assert_memory_not_equal(alone, batch, sizeof alone);
        assert_memory_not_equal(alone, others, sizeof alone);
        close_model(&device, &model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_are_loaded),
        cmocka_unit_test(bad_statistics_are_refused),
        cmocka_unit_test(statistics_are_those_of_all_images),
        cmocka_unit_test(with_population_statistics_images_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
