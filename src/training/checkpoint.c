#include "training/checkpoint.h"

#include "base/version.h"
#include "formats/safetensors.h"
#include "network/population.h"
#include "nnmf/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the state as metadata ---- */

typedef enum FieldType { FIELD_U32, FIELD_U64, FIELD_INT, FIELD_DOUBLE } FieldType;

typedef struct Field {
    const char *key;
    FieldType type;
    size_t offset;
} Field;

#define AT(member) offsetof(TrainingState, member)
#define SCHEDULE_FIELDS(group, name)                                                               \
    {"learning_rate." name, FIELD_DOUBLE, AT(schedules[group].learning_rate)},                     \
        {"schedule_best." name, FIELD_DOUBLE, AT(schedules[group].best)},                          \
    {                                                                                              \
        "schedule_bad_epochs." name, FIELD_INT, AT(schedules[group].bad_epochs)                    \
    }

static const Field fields[] = {
    {"epoch", FIELD_U32, AT(epoch)},
    {"step", FIELD_U32, AT(step)},
    {"updates", FIELD_U64, AT(updates)},
    {"train_loss_sum", FIELD_DOUBLE, AT(totals.loss)},
    {"train_correct", FIELD_U64, AT(totals.correct)},
    {"train_seconds", FIELD_DOUBLE, AT(train_seconds)},
    SCHEDULE_FIELDS(GROUP_CNN_TOP, "cnn_top"),
    SCHEDULE_FIELDS(GROUP_NNMF, "nnmf"),
    SCHEDULE_FIELDS(GROUP_BATCHNORM, "batchnorm"),
    {"best_correct", FIELD_U64, AT(best_correct)},
    {"best_epoch", FIELD_U32, AT(best_epoch)},
    {"last_correct", FIELD_U64, AT(last_correct)},
};

enum { FIELDS = sizeof fields / sizeof *fields, FIELD_TEXT = 40 };

static void field_write(const Field *field, const TrainingState *state, char text[FIELD_TEXT])
{
    const void *from = (const char *)state + field->offset;
    switch (field->type) {
    case FIELD_U32: snprintf(text, FIELD_TEXT, "%" PRIu32, *(const uint32_t *)from); break;
    case FIELD_U64: snprintf(text, FIELD_TEXT, "%" PRIu64, *(const uint64_t *)from); break;
    case FIELD_INT: snprintf(text, FIELD_TEXT, "%d", *(const int *)from); break;
    case FIELD_DOUBLE: snprintf(text, FIELD_TEXT, "%.17g", *(const double *)from); break;
    }
}

static bool field_read(const Field *field, const char *text, TrainingState *state)
{
    void *to = (char *)state + field->offset;
    char *stop;
    errno = 0;
    if (field->type == FIELD_DOUBLE) {
        double value = strtod(text, &stop);
        if (stop == text || *stop || isnan(value))
            return false;
        *(double *)to = value;
        return true;
    }
    uint64_t value = strtoull(text, &stop, 10);
    if (*text < '0' || *text > '9' || *stop || errno)
        return false;
    if (field->type == FIELD_U64)
        *(uint64_t *)to = value;
    else if (field->type == FIELD_U32 && value <= UINT32_MAX)
        *(uint32_t *)to = (uint32_t)value;
    else if (field->type == FIELD_INT && value <= INT32_MAX)
        *(int *)to = (int)value;
    else
        return false;
    return true;
}

/* ---- the numbers as tensors ---- */

enum { PARTS = 3 }; /* parameters, first and second moments */

static const char *const part_prefixes[PARTS] = {"", "optimiser.first.", "optimiser.second."};

static float *part_buffer(const Model *model, int part)
{
    return (float *[PARTS]){model->parameters, model->m, model->v}[part];
}

static bool all_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

/* Writes the first `parts` of the model's buffers, and its population statistics if it has any. */
static bool write_parts(const char *path, const Model *model, int parts,
                        const char *const *metadata, size_t metadata_count, Error *error)
{
    int count = model->network->parameter_count;
    size_t elements = model->network->buffer_elements;
    Tensor tensors[PARTS * MAX_PARAMETERS + MAX_POPULATION_TENSORS] = {{0}};
    char names[MAX_POPULATION_TENSORS][POPULATION_NAME];
    size_t all = (size_t)(parts * count), statistics = 0;
    float *host = memory_allocate(elements * (size_t)parts + model->network->population_elements,
                                  sizeof *host, "a checkpoint", error);
    bool written = host != NULL;
    for (int part = 0; written && part < parts; part++) {
        float *values = host + (size_t)part * elements;
        written = model_read(model, part_buffer(model, part), values, error) &&
                  (all_finite(values, elements) ||
                   fail(error, "not saved: %s: a weight or moment is not finite", path)) &&
                  model_tensors(model, part_prefixes[part], values, tensors + part * count, error);
    }
    written = written &&
              population_tensors(model, host + elements * (size_t)parts, names, tensors + all,
                                 &statistics, error) &&
              safetensors_write(path, tensors, all + statistics, metadata, metadata_count, error);
    for (int part = 0; part < parts; part++)
        model_free_tensors(model, tensors + part * count);
    memory_free(host);
    return written;
}

bool checkpoint_write(const char *path, const Model *model, const TrainingState *state,
                      const char *options, Error *error)
{
    enum { FIXED = 2 }; /* version and options */
    char values[FIELDS][FIELD_TEXT];
    const char *metadata[2 * (FIXED + FIELDS)] = {"version", NNMF_VERSION, CHECKPOINT_OPTIONS,
                                                  options};
    for (int i = 0; i < FIELDS; i++) {
        field_write(&fields[i], state, values[i]);
        metadata[2 * (FIXED + i)] = fields[i].key;
        metadata[2 * (FIXED + i) + 1] = values[i];
    }
    return write_parts(path, model, PARTS, metadata, FIXED + FIELDS, error);
}

bool checkpoint_write_weights(const char *path, const Model *model, uint32_t epoch,
                              uint64_t correct, const char *options, Error *error)
{
    char epoch_text[FIELD_TEXT], correct_text[FIELD_TEXT];
    snprintf(epoch_text, sizeof epoch_text, "%" PRIu32, epoch);
    snprintf(correct_text, sizeof correct_text, "%" PRIu64, correct);
    const char *metadata[] = {"version", NNMF_VERSION, CHECKPOINT_OPTIONS, options,
                              "epoch",   epoch_text,   "test_correct",     correct_text};
    return write_parts(path, model, 1, metadata, 4, error);
}

bool checkpoint_is(const TensorFile *file)
{
    return tensor_file_metadata(file, "updates") != NULL;
}

/* Reads the moments of one kind. Errors: missing, of another type or size, not finite. */
static bool read_moments(const TensorFile *file, const char *path, Model *model, int part,
                         Error *error)
{
    const Network *network = model->network;
    float *host = memory_allocate(network->buffer_elements, sizeof *host, "moments", error);
    bool good = host != NULL;
    for (int i = 0; good && i < network->parameter_count; i++) {
        const Parameter *p = &network->parameters[i];
        char name[64];
        snprintf(name, sizeof name, "%s%s", part_prefixes[part], p->name);
        const Tensor *tensor = tensor_file_find(file, name);
        good = tensor && tensor->type == TENSOR_F32 && tensor->elements == p->elements &&
               all_finite(tensor->data, p->elements);
        if (good)
            memcpy(host + p->offset, tensor->data, p->elements * sizeof *host);
        else
            fail(error, "not a checkpoint: %s: no usable tensor '%s'", path, name);
    }
    good = good && model_write(model, part_buffer(model, part), host, error);
    memory_free(host);
    return good;
}

bool checkpoint_load(const TensorFile *file, const char *path, Model *model, TrainingState *state,
                     Error *error)
{
    *state = (TrainingState){0};
    bool good = model_load_weights(model, file, path, error);
    for (int part = 1; good && part < PARTS; part++)
        good = read_moments(file, path, model, part, error);
    for (int i = 0; good && i < FIELDS; i++) {
        const char *text = tensor_file_metadata(file, fields[i].key);
        good = text && field_read(&fields[i], text, state);
        if (!good)
            fail(error, "not a checkpoint: %s: no usable '%s' in its metadata", path,
                 fields[i].key);
    }
    for (int group = 0; good && group < GROUPS; group++) {
        double rate = state->schedules[group].learning_rate;
        if (!isfinite(rate) || rate < 0.0)
            good = fail(error, "not a checkpoint: %s: a learning rate from 0 was expected", path);
    }
    if (good && !isfinite(state->totals.loss))
        good = fail(error, "not a checkpoint: %s: a finite train_loss_sum was expected", path);
    return good;
}
