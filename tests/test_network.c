/* The published network, its baseline, and networks that cannot be built. */
#include "network/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void build(DatasetKind dataset, const NetworkOptions *options, Network *network)
{
    Error error = {0};
    if (!network_for_dataset(dataset, options, network, &error))
        fail_msg("%s", error.text);
}

typedef struct Expected {
    const char *name;
    ParameterGroup group;
    int rank;
    size_t shape[4];
} Expected;

static const Expected published_parameters[] = {
    {"4.weight", GROUP_NNMF, 2, {32, 75}},
    {"5.weight", GROUP_BATCHNORM, 1, {32}},
    {"5.bias", GROUP_BATCHNORM, 1, {32}},
    {"6.weight", GROUP_CNN_TOP, 4, {32, 32, 1, 1}},
    {"6.bias", GROUP_CNN_TOP, 1, {32}},
    {"7.weight", GROUP_BATCHNORM, 1, {32}},
    {"7.bias", GROUP_BATCHNORM, 1, {32}},
    {"12.weight", GROUP_NNMF, 2, {32, 128}},
    {"13.weight", GROUP_BATCHNORM, 1, {32}},
    {"13.bias", GROUP_BATCHNORM, 1, {32}},
    {"18.weight", GROUP_NNMF, 2, {64, 800}},
    {"19.weight", GROUP_BATCHNORM, 1, {64}},
    {"19.bias", GROUP_BATCHNORM, 1, {64}},
    {"20.weight", GROUP_CNN_TOP, 4, {64, 64, 1, 1}},
    {"20.bias", GROUP_CNN_TOP, 1, {64}},
    {"21.weight", GROUP_BATCHNORM, 1, {64}},
    {"21.bias", GROUP_BATCHNORM, 1, {64}},
    {"26.weight", GROUP_NNMF, 2, {64, 256}},
    {"27.weight", GROUP_BATCHNORM, 1, {64}},
    {"27.bias", GROUP_BATCHNORM, 1, {64}},
    {"32.weight", GROUP_NNMF, 2, {96, 1024}},
    {"33.weight", GROUP_CNN_TOP, 4, {96, 96, 1, 1}},
    {"33.bias", GROUP_CNN_TOP, 1, {96}},
    {"38.weight", GROUP_NNMF, 2, {10, 96}},
    {"39.weight", GROUP_CNN_TOP, 4, {10, 10, 1, 1}},
    {"39.bias", GROUP_CNN_TOP, 1, {10}},
};

static void the_published_parameters(void **state)
{
    (void)state;
    Network network;
    build(DATASET_CIFAR10, &network_default_options, &network);
    assert_int_equal(network.parameter_count, COUNT(published_parameters));
    size_t end = 0;
    for (int i = 0; i < network.parameter_count; i++) {
        const Parameter *p = &network.parameters[i];
        const Expected *expected = &published_parameters[i];
        size_t elements = 1;
        assert_string_equal(p->name, expected->name);
        assert_int_equal(p->group, expected->group);
        assert_int_equal(p->rank, expected->rank);
        for (int d = 0; d < p->rank; d++) {
            assert_int_equal(p->shape[d], expected->shape[d]);
            elements *= expected->shape[d];
        }
        assert_int_equal(p->elements, elements);
        assert_int_equal(p->offset % PARAMETER_ALIGNMENT, 0);
        assert_true(p->offset >= end); /* after the previous one */
        end = p->offset + p->elements;
    }
    assert_true(network.buffer_elements >= end);
    assert_int_equal(network_group_elements(&network, GROUP_CNN_TOP), 14638);
    assert_int_equal(network_group_elements(&network, GROUP_NNMF), 173344);
    assert_int_equal(network_group_elements(&network, GROUP_BATCHNORM), 576);
}

static void the_published_layers(void **state)
{
    (void)state;
    static const struct {
        LayerKind kind;
        int index;
        Extent out;
    } published[] = {
        {LAYER_UNFOLD, 0, {24, 24, 75}},     {LAYER_NNMF, 4, {24, 24, 32}},
        {LAYER_BATCHNORM, 5, {24, 24, 32}},  {LAYER_CONVOLUTION, 6, {24, 24, 32}},
        {LAYER_BATCHNORM, 7, {24, 24, 32}},  {LAYER_UNFOLD, 8, {12, 12, 128}},
        {LAYER_NNMF, 12, {12, 12, 32}},      {LAYER_BATCHNORM, 13, {12, 12, 32}},
        {LAYER_UNFOLD, 14, {8, 8, 800}},     {LAYER_NNMF, 18, {8, 8, 64}},
        {LAYER_BATCHNORM, 19, {8, 8, 64}},   {LAYER_CONVOLUTION, 20, {8, 8, 64}},
        {LAYER_BATCHNORM, 21, {8, 8, 64}},   {LAYER_UNFOLD, 22, {4, 4, 256}},
        {LAYER_NNMF, 26, {4, 4, 64}},        {LAYER_BATCHNORM, 27, {4, 4, 64}},
        {LAYER_UNFOLD, 28, {1, 1, 1024}},    {LAYER_NNMF, 32, {1, 1, 96}},
        {LAYER_CONVOLUTION, 33, {1, 1, 96}}, {LAYER_UNFOLD, 34, {1, 1, 96}},
        {LAYER_NNMF, 38, {1, 1, 10}},        {LAYER_CONVOLUTION, 39, {1, 1, 10}},
        {LAYER_SOFTMAX, 40, {1, 1, 10}},
    };
    Network network;
    build(DATASET_CIFAR10, &network_default_options, &network);
    assert_int_equal(network.layer_count, COUNT(published));
    Extent in = {28, 28, 3};
    for (int i = 0; i < network.layer_count; i++) {
        const Layer *l = &network.layers[i];
        assert_int_equal(l->kind, published[i].kind);
        assert_int_equal(l->index, published[i].index);
        assert_memory_equal(&l->in, &in, sizeof in);
        assert_memory_equal(&l->out, &published[i].out, sizeof in);
        char name[32];
        snprintf(name, sizeof name, "%d.weight", l->index);
        bool has_weight = l->kind != LAYER_UNFOLD && l->kind != LAYER_SOFTMAX;
        assert_int_equal(l->weight >= 0, has_weight);
        if (has_weight)
            assert_string_equal(network.parameters[l->weight].name, name);
        assert_int_equal(l->bias >= 0, has_weight && l->kind != LAYER_NNMF);
        assert_int_equal(l->beta, -1);
        in = l->out;
    }
}

static const Expected baseline_parameters[] = {
    {"4.weight", GROUP_NNMF, 4, {32, 75, 1, 1}},
    {"5.weight", GROUP_BATCHNORM, 1, {32}},
    {"5.bias", GROUP_BATCHNORM, 1, {32}},
    {"7.weight", GROUP_CNN_TOP, 4, {32, 32, 1, 1}},
    {"7.bias", GROUP_CNN_TOP, 1, {32}},
    {"8.weight", GROUP_BATCHNORM, 1, {32}},
    {"8.bias", GROUP_BATCHNORM, 1, {32}},
    {"13.weight", GROUP_NNMF, 4, {32, 128, 1, 1}},
    {"14.weight", GROUP_BATCHNORM, 1, {32}},
    {"14.bias", GROUP_BATCHNORM, 1, {32}},
    {"20.weight", GROUP_NNMF, 4, {64, 800, 1, 1}},
    {"21.weight", GROUP_BATCHNORM, 1, {64}},
    {"21.bias", GROUP_BATCHNORM, 1, {64}},
    {"23.weight", GROUP_CNN_TOP, 4, {64, 64, 1, 1}},
    {"23.bias", GROUP_CNN_TOP, 1, {64}},
    {"24.weight", GROUP_BATCHNORM, 1, {64}},
    {"24.bias", GROUP_BATCHNORM, 1, {64}},
    {"29.weight", GROUP_NNMF, 4, {64, 256, 1, 1}},
    {"30.weight", GROUP_BATCHNORM, 1, {64}},
    {"30.bias", GROUP_BATCHNORM, 1, {64}},
    {"36.weight", GROUP_NNMF, 4, {96, 1024, 1, 1}},
    {"38.weight", GROUP_CNN_TOP, 4, {96, 96, 1, 1}},
    {"38.bias", GROUP_CNN_TOP, 1, {96}},
    {"43.weight", GROUP_NNMF, 4, {10, 96, 1, 1}},
};

static void the_baseline(void **state)
{
    (void)state;
    static const struct {
        LayerKind kind;
        int index, window;
        Extent out;
    } layers[] = {
        {LAYER_UNFOLD, 0, 0, {24, 24, 75}},      {LAYER_CONVOLUTION, 4, 25, {24, 24, 32}},
        {LAYER_BATCHNORM, 5, 0, {24, 24, 32}},   {LAYER_RELU, 6, 0, {24, 24, 32}},
        {LAYER_CONVOLUTION, 7, 0, {24, 24, 32}}, {LAYER_BATCHNORM, 8, 0, {24, 24, 32}},
        {LAYER_UNFOLD, 9, 0, {12, 12, 128}},     {LAYER_CONVOLUTION, 13, 4, {12, 12, 32}},
        {LAYER_BATCHNORM, 14, 0, {12, 12, 32}},  {LAYER_UNFOLD, 16, 0, {8, 8, 800}},
        {LAYER_CONVOLUTION, 20, 25, {8, 8, 64}}, {LAYER_BATCHNORM, 21, 0, {8, 8, 64}},
        {LAYER_RELU, 22, 0, {8, 8, 64}},         {LAYER_CONVOLUTION, 23, 0, {8, 8, 64}},
        {LAYER_BATCHNORM, 24, 0, {8, 8, 64}},    {LAYER_UNFOLD, 25, 0, {4, 4, 256}},
        {LAYER_CONVOLUTION, 29, 4, {4, 4, 64}},  {LAYER_BATCHNORM, 30, 0, {4, 4, 64}},
        {LAYER_UNFOLD, 32, 0, {1, 1, 1024}},     {LAYER_CONVOLUTION, 36, 16, {1, 1, 96}},
        {LAYER_RELU, 37, 0, {1, 1, 96}},         {LAYER_CONVOLUTION, 38, 0, {1, 1, 96}},
        {LAYER_UNFOLD, 39, 0, {1, 1, 96}},       {LAYER_CONVOLUTION, 43, 1, {1, 1, 10}},
        {LAYER_SOFTMAX, 44, 0, {1, 1, 10}},
    };
    NetworkOptions options = network_default_options;
    options.architecture = ARCHITECTURE_CNN;
    options.positive_function = POSITIVE_TANH; /* ignored: no betas */
    Network network;
    build(DATASET_CIFAR10, &options, &network);
    assert_int_equal(network.layer_count, COUNT(layers));
    size_t population = 0;
    for (int i = 0; i < network.layer_count; i++) {
        const Layer *l = &network.layers[i];
        assert_int_equal(l->kind, layers[i].kind);
        assert_int_equal(l->index, layers[i].index);
        assert_int_equal(l->window, layers[i].window);
        assert_memory_equal(&l->out, &layers[i].out, sizeof l->out);
        assert_int_equal(l->bias >= 0, l->kind == LAYER_BATCHNORM ||
                                           (l->kind == LAYER_CONVOLUTION && l->window == 0));
        if (l->kind == LAYER_BATCHNORM) {
            assert_int_equal(l->population, population);
            population += 2 * (size_t)l->out.channels;
        }
    }
    assert_int_equal(network.population_elements, population);
    assert_int_equal(network.parameter_count, COUNT(baseline_parameters));
    for (int i = 0; i < network.parameter_count; i++) {
        const Parameter *p = &network.parameters[i];
        const Expected *expected = &baseline_parameters[i];
        assert_string_equal(p->name, expected->name);
        assert_int_equal(p->group, expected->group);
        assert_int_equal(p->rank, expected->rank);
        assert_memory_equal(p->shape, expected->shape, (size_t)p->rank * sizeof *p->shape);
    }
    assert_int_equal(network_group_elements(&network, GROUP_CNN_TOP), 14528);
    assert_int_equal(network_group_elements(&network, GROUP_NNMF), 173344);
    assert_int_equal(network_group_elements(&network, GROUP_BATCHNORM), 576);
}

static void networks_for_grey_images(void **state)
{
    (void)state;
    static const size_t features[] = {25, 128, 800, 256, 576, 96};
    static const DatasetKind kinds[] = {DATASET_MNIST, DATASET_FASHION_MNIST};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        Network network;
        build(kinds[k], &network_default_options, &network);
        assert_int_equal(network.input.height, 24);
        assert_int_equal(network.input.width, 24);
        assert_int_equal(network.input.channels, 1);
        assert_int_equal(network.parameter_count, COUNT(published_parameters));
        size_t found = 0;
        for (int i = 0; i < network.parameter_count; i++) {
            assert_string_equal(network.parameters[i].name, published_parameters[i].name);
            if (network.parameters[i].group == GROUP_NNMF)
                assert_int_equal(network.parameters[i].shape[1], features[found++]);
        }
        assert_int_equal(found, COUNT(features));
        assert_int_equal(network.layers[network.layer_count - 1].out.channels, DATASET_CLASSES);
    }
}

static void learned_betas(void **state)
{
    (void)state;
    for (int function = POSITIVE_ABS; function <= POSITIVE_IDENTITY; function++) {
        NetworkOptions options = network_default_options;
        options.positive_function = (PositiveFunction)function;
        bool learned = function == POSITIVE_EXP || function == POSITIVE_TANH;
        assert_int_equal(positive_function_has_beta(options.positive_function), learned);
        Network network;
        build(DATASET_CIFAR10, &options, &network);
        size_t betas = 0;
        for (int i = 0; i < network.layer_count; i++) {
            const Layer *l = &network.layers[i];
            if (l->beta < 0)
                continue;
            const Parameter *p = &network.parameters[l->beta];
            char name[32];
            snprintf(name, sizeof name, "%d.beta", l->index);
            assert_string_equal(p->name, name);
            assert_int_equal(l->kind, LAYER_NNMF);
            assert_int_equal(p->group, GROUP_NNMF);
            assert_int_equal(p->elements, 1);
            betas++;
        }
        assert_int_equal(betas, learned ? 6 : 0);
        assert_int_equal(network_group_elements(&network, GROUP_NNMF), 173344 + betas);
    }
}

static void assert_no_network(Extent input, const Block *blocks, int count, const char *text)
{
    Network network;
    Error error = {0};
    assert_false(network_build(input, blocks, count, &network_default_options, &network, &error));
    assert_int_equal(error.status, STATUS_FAILED);
    if (!strstr(error.text, text))
        fail_msg("'%s', expected '%s'", error.text, text);
}

static void images_too_small(void **state)
{
    (void)state;
    static const Block window[] = {{4, 5, 1, true}};
    assert_no_network((Extent){4, 5, 3}, window, 1, "image too small");
    assert_no_network((Extent){5, 4, 3}, window, 1, "image too small");
    static const Block whole[] = {{4, 0, 1, true}};
    assert_no_network((Extent){5, 4, 3}, whole, 1, "image too small");
    assert_no_network((Extent){4, 5, 3}, whole, 1, "image too small");
    static const Block second[] = {{4, 5, 1, true}, {4, 2, 2, false}};
    assert_no_network((Extent){5, 5, 1}, second, 2, "layer 6 sees 1 x 1 pixels");
}

static void networks_too_deep(void **state)
{
    (void)state;
    Block blocks[MAX_LAYERS];
    for (size_t i = 0; i < COUNT(blocks); i++)
        blocks[i] = (Block){2, 1, 1, true};
    assert_no_network((Extent){1, 1, 2}, blocks, (int)COUNT(blocks), "network too deep");
    assert_no_network((Extent){4, 4, 2}, blocks, (int)COUNT(blocks), "network too deep");
    for (size_t i = 0; i < COUNT(blocks); i++)
        blocks[i].convolution = false;
    assert_no_network((Extent){4, 4, 2}, blocks, (int)COUNT(blocks), "network too deep");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_parameters),
        cmocka_unit_test(the_published_layers),
        cmocka_unit_test(networks_for_grey_images),
        cmocka_unit_test(learned_betas),
        cmocka_unit_test(the_baseline),
        cmocka_unit_test(images_too_small),
        cmocka_unit_test(networks_too_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
