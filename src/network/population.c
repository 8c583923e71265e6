#include "network/population.h"

#include "nnmf/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PARTS = 2 }; /* mean, variance */

static const char *const part_names[PARTS] = {"running_mean", "running_var"};

/* Sets the name of a part's tensor; returns its offset in a buffer of statistics. */
static size_t name_part(const Layer *layer, int part, char name[POPULATION_NAME])
{
    snprintf(name, POPULATION_NAME, "%d.%s", layer->index, part_names[part]);
    return layer->population + (size_t)part * (size_t)layer->out.channels;
}

/* ---- measuring ---- */

bool population_begin(Model *model, Error *error)
{
    const Operations *ops = model->device->operations;
    size_t elements = model->network->population_elements;
    double *zero = memory_allocate(elements + 1, sizeof *zero, "population statistics", error);
    if (!zero)
        return false;
    if (elements)
        ops->upload(model->device->backend, model->sums, zero, elements * sizeof *zero);
    bool good = ops->finish(model->device->backend, error);
    memory_free(zero);
    model->statistics = STATISTICS_BATCH;
    model->measuring = good;
    return good;
}

/* Computes means and variances from sums (2, channels) over `count` values per channel. */
static void means_and_variances(const double *sums, double count, size_t channels,
                                float *statistics)
{
    for (size_t c = 0; c < channels; c++) {
        double mean = sums[c] / count, variance = sums[channels + c] / count - mean * mean;
        statistics[c] = (float)mean;
        statistics[channels + c] = (float)fmax(variance, 0.0);
    }
}

static bool write_statistics(Model *model, const float *host, Error *error)
{
    const Operations *ops = model->device->operations;
    size_t elements = model->network->population_elements;
    if (elements)
        ops->upload(model->device->backend, model->population, host, elements * sizeof *host);
    model->has_population = ops->finish(model->device->backend, error);
    return model->has_population;
}

bool population_end(Model *model, size_t images, Error *error)
{
    const Operations *ops = model->device->operations;
    const Network *network = model->network;
    size_t elements = network->population_elements;
    model->measuring = false;
    if (images == 0)
        return true;
    double *sums = memory_allocate(elements + 1, sizeof *sums, "population statistics", error);
    float *host = memory_allocate(elements + 1, sizeof *host, "population statistics", error);
    bool good = sums && host;
    if (good && elements)
        ops->download(model->device->backend, sums, model->sums, elements * sizeof *sums);
    good = good && ops->finish(model->device->backend, error);
    for (int i = 0; good && i < network->layer_count; i++) {
        const Layer *layer = &network->layers[i];
        if (layer->kind == LAYER_BATCHNORM)
            means_and_variances(sums + layer->population,
                                (double)images * (double)extent_positions(layer->out),
                                (size_t)layer->out.channels, host + layer->population);
    }
    good = good && write_statistics(model, host, error);
    memory_free(sums);
    memory_free(host);
    return good;
}

bool population_use(Model *model, BatchnormStatistics statistics, const char *path, Error *error)
{
    if (statistics == STATISTICS_POPULATION && !model->has_population)
        return fail(error,
                    "no population statistics: %s: weights with '%s' tensors were expected: "
                    "see nnmf-train statistics --help",
                    path, part_names[0]);
    model->statistics = statistics;
    return true;
}

/* ---- files ---- */

bool population_has_tensor(const Network *network, const char *name)
{
    for (int i = 0; i < network->layer_count; i++)
        for (int part = 0; part < PARTS; part++) {
            char expected[POPULATION_NAME];
            name_part(&network->layers[i], part, expected);
            if (network->layers[i].kind == LAYER_BATCHNORM && strcmp(name, expected) == 0)
                return true;
        }
    return false;
}

static bool load_part(const TensorFile *file, const char *path, const char *name,
                      const Layer *layer, int part, float *to, Error *error)
{
    const Tensor *tensor = tensor_file_find(file, name);
    size_t channels = (size_t)layer->out.channels;
    if (!tensor)
        return fail(error, "missing statistics: %s: no tensor '%s', but other statistics", path,
                    name);
    if (tensor->type != TENSOR_F32 || tensor->rank != 1 || tensor->shape[0] != channels)
        return fail(error, "bad statistics: %s: tensor '%s' must be %zu F32 values", path, name,
                    channels);
    memcpy(to, tensor->data, channels * sizeof *to);
    for (size_t c = 0; c < channels; c++)
        if (!isfinite(to[c]) || (part == 1 && to[c] < 0.0f))
            return fail(error, "bad statistics: %s: tensor '%s', element %zu cannot be a %s", path,
                        name, c, part == 1 ? "variance" : "mean");
    return true;
}

bool population_load(Model *model, const TensorFile *file, const char *path, Error *error)
{
    const Network *network = model->network;
    bool some = false;
    for (size_t i = 0; i < file->tensor_count; i++)
        some = some || population_has_tensor(network, file->tensors[i].name);
    model->has_population = false;
    if (!some)
        return true;
    float *host =
        memory_allocate(network->population_elements, sizeof *host, "population statistics", error);
    bool good = host != NULL;
    for (int i = 0; good && i < network->layer_count; i++)
        for (int part = 0; good && part < PARTS; part++) {
            const Layer *layer = &network->layers[i];
            char name[POPULATION_NAME];
            size_t offset = name_part(layer, part, name);
            good = layer->kind != LAYER_BATCHNORM ||
                   load_part(file, path, name, layer, part, host + offset, error);
        }
    good = good && write_statistics(model, host, error);
    memory_free(host);
    return good;
}

bool population_tensors(const Model *model, float *host,
                        char names[MAX_POPULATION_TENSORS][POPULATION_NAME], Tensor *tensors,
                        size_t *count, Error *error)
{
    const Operations *ops = model->device->operations;
    const Network *network = model->network;
    *count = 0;
    if (!model->has_population || !network->population_elements)
        return true;
    ops->download(model->device->backend, host, model->population,
                  network->population_elements * sizeof *host);
    if (!ops->finish(model->device->backend, error))
        return false;
    for (int i = 0; i < network->layer_count; i++)
        for (int part = 0; part < PARTS; part++) {
            const Layer *layer = &network->layers[i];
            if (layer->kind != LAYER_BATCHNORM)
                continue;
            size_t channels = (size_t)layer->out.channels;
            size_t offset = name_part(layer, part, names[*count]);
            tensors[*count] = (Tensor){.name = names[*count],
                                       .type = TENSOR_F32,
                                       .rank = 1,
                                       .shape = {channels},
                                       .elements = channels,
                                       .data = host + offset};
            ++*count;
        }
    return true;
}
