#include "run/tensorboard.h"

#include "nnmf/memory.h"
#include "pictures/sheets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

/* Escapes the characters that Markdown interprets. */
static void write_plain(FILE *stream, const char *text)
{
    for (; *text; text++) {
        if (strchr("|\\`*_<>[]", *text))
            putc('\\', stream);
        putc(*text == '\n' ? ' ' : *text, stream);
    }
}

/* Writes 15 digits, or 17 if 15 do not give back the same number. */
static void write_number(FILE *stream, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
        snprintf(text, sizeof text, "%.17g", value);
    fputs(text, stream);
}

static void write_row(FILE *stream, const char *prefix, const char *name, const json_t *value)
{
    fputs("| ", stream);
    write_plain(stream, prefix);
    write_plain(stream, name);
    fputs(" | ", stream);
    if (json_is_string(value))
        write_plain(stream, json_string_value(value));
    else if (json_is_integer(value))
        fprintf(stream, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        write_number(stream, json_real_value(value));
    else
        fputs(json_is_true(value) ? "true" : "false", stream);
    fputs(" |\n", stream);
}

/* Names options as on the command line ("--epochs") and other members by path ("data.folder"). */
static void write_table(FILE *stream, const json_t *config)
{
    const char *key, *name;
    json_t *part, *value, *all = (json_t *)config; /* json_object_foreach takes no const */
    fputs("| name | value |\n|---|---|\n", stream);
    json_object_foreach(all, key, part)
    {
        if (!json_is_object(part)) {
            write_row(stream, "", key, part);
            continue;
        }
        char prefix[64];
        snprintf(prefix, sizeof prefix, strcmp(key, "options") == 0 ? "--" : "%s.", key);
        json_object_foreach(part, name, value) write_row(stream, prefix, name, value);
    }
}

bool tensorboard_add_options(EventFile *file, uint64_t epoch, const json_t *config, Error *error)
{
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    bool good = stream != NULL;
    if (stream) {
        write_table(stream, config);
        good = !ferror(stream);
        good = fclose(stream) == 0 && good;
    }
    good = good ? event_file_text(file, epoch, "options", text, error)
                : fail(error, "out of memory: %s: the table of options", file->path);
    free(text);
    return good;
}

/* ---- scalars ---- */

bool tensorboard_add_scalars(EventFile *file, const EpochResult *result, size_t train_images,
                             size_t test_images, Error *error)
{
    double train = (double)train_images, seconds = result->train_seconds;
    const struct {
        const char *tag;
        double value;
    } scalars[] = {
        {"loss/train", result->train_loss},
        {"accuracy/train", (double)result->train_correct / train},
        {"accuracy/test", (double)result->test_correct / (double)test_images},
        {"speed/images_per_second", seconds > 0.0 ? train / seconds : 0.0},
        {"seconds/train", seconds},
        {"seconds/test", result->test_seconds},
    };
    bool good = true;
    for (size_t i = 0; good && i < sizeof scalars / sizeof *scalars; i++)
        good = event_file_scalar(file, result->epoch, scalars[i].tag, scalars[i].value, error);
    for (int i = 0; good && i < GROUPS; i++) {
        char tag[64];
        snprintf(tag, sizeof tag, "learning_rate/%s", parameter_group_names[i]);
        good = event_file_scalar(file, result->epoch, tag, result->learning_rates[i], error);
    }
    return good;
}

/* ---- pictures ---- */

/* Adds the picture if `drawn`, and frees it. */
static bool add_picture(EventFile *file, uint64_t epoch, const char *tag, bool drawn,
                        Picture *picture, Error *error)
{
    bool added = drawn && event_file_picture(file, epoch, tag, picture, error);
    picture_free(picture);
    return added;
}

/* Downloads up to `columns` images of the next batch and sets *count to their number. */
static bool fetch_row(Steps *train, size_t columns, float *images, uint8_t *labels, size_t *count,
                      Error *error)
{
    const Model *model = train->model;
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    size_t batch = (size_t)step_load(train);
    *count = batch < columns ? batch : columns;
    size_t image = extent_elements(model->network->input) * sizeof *images;
    ops->download(backend, images, model->images, *count * image);
    ops->download(backend, labels, model->labels, *count);
    return ops->finish(backend, error);
}

/* Each row shows one batch, because as published its images share their augmentation. */
bool tensorboard_add_samples(EventFile *file, DatasetKind dataset, Steps *train, Error *error)
{
    enum { COLUMNS = 10, ROWS = 8 };
    const Batches *batches = train->batches;
    Extent input = train->model->network->input;
    size_t batch = (size_t)batches->sampler.batch_size, image = extent_elements(input);
    size_t columns = batch < COLUMNS ? batch : COLUMNS;
    uint32_t rows = batches->steps < ROWS ? batches->steps : ROWS;
    uint8_t labels[ROWS * COLUMNS];
    float *images = memory_allocate(rows * columns, image * sizeof *images, "samples", error);
    SampleSheet sheet = {.caption = "Training images as augmented: the first of each batch",
                         .extent = input,
                         .columns = (int)columns,
                         .images = images,
                         .labels = labels,
                         .class_names = dataset_class_names(dataset)};
    bool good = images != NULL;
    steps_restart(train);
    for (uint32_t row = 0; good && row < rows; row++) {
        size_t count;
        good = fetch_row(train, columns, images + sheet.count * image, labels + sheet.count, &count,
                         error);
        sheet.count += good ? count : 0;
    }
    Picture picture = {0};
    good = good && sheet_samples(&sheet, &picture, error);
    good = add_picture(file, 0, "samples/train", good, &picture, error);
    memory_free(images);
    return good;
}

bool tensorboard_shows_weights(uint32_t epoch)
{
    while (epoch >= 10 && epoch % 10 == 0)
        epoch /= 10;
    return epoch <= 2 || epoch == 5;
}

/* For weights of either sign: shifts each output so that its minimum is 0. */
static void shift(float *w, size_t outputs, size_t features)
{
    for (size_t o = 0; o < outputs; o++) {
        float *row = w + o * features, minimum = row[0];
        for (size_t f = 1; f < features; f++)
            minimum = row[f] < minimum ? row[f] : minimum;
        for (size_t f = 0; f < features; f++)
            row[f] -= minimum;
    }
}

bool tensorboard_add_weights(EventFile *file, const Model *model, uint32_t epoch, Error *error)
{
    if (!tensorboard_shows_weights(epoch))
        return true;
    const Layer *unfold = &model->network->layers[0], *layer = &model->network->layers[1];
    size_t outputs = (size_t)layer->out.channels, features = (size_t)layer->in.channels;
    bool positive = layer->kind == LAYER_NNMF;
    float *w = memory_allocate(outputs, features * sizeof *w, "weights", error);
    if (!w)
        return false;
    const Operations *ops = model->device->operations;
    const float *parameter =
        model->parameters + model->network->parameters[layer->weight].offset; /* of one channel */
    const float *ordered = model->layers[1].w ? model->layers[1].w : parameter;
    ops->download(model->device->backend, w, ordered, outputs * features * sizeof *w);
    bool good = ops->finish(model->device->backend, error);
    if (good && !positive)
        shift(w, outputs, features);
    WeightLayer sheet = {.index = layer->index,
                         .outputs = layer->out.channels,
                         .channels = unfold->in.channels,
                         .kernel = unfold->kernel,
                         .w = w};
    char caption[SHEET_TEXT], tag[64];
    snprintf(caption, sizeof caption,
             "After epoch %u. Black: %s; white: the largest of the same output", (unsigned)epoch,
             positive ? "0" : "the smallest");
    snprintf(tag, sizeof tag, "weights/layer_%d", layer->index);
    Picture picture = {0};
    good = good && sheet_weights(caption, &sheet, 1, &picture, error);
    good = add_picture(file, epoch, tag, good, &picture, error);
    memory_free(w);
    return good;
}
