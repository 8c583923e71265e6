#include "commands/show.h"

#include "network/reconstruct.h"
#include "nnmf/memory.h"
#include "pictures/sheets.h"
#include "run/session.h"

#include <stdio.h>

/* Host memory for the input and the results of the first block. */
typedef struct Numbers {
    float *images, *reconstructions; /* (count, height, width, channels) */
    float *h, *w, *scale; /* of all images: (rows, outputs), (outputs, features), (rows) */
    uint8_t *labels;
    double *errors;
} Numbers;

enum { UNFOLD, NNMF }; /* the first two layers of any network with NNMF */

static bool reserve(const Network *network, size_t count, Numbers *n, Error *error)
{
    const Layer *nnmf = &network->layers[NNMF];
    size_t image = extent_elements(network->input), rows = extent_positions(nnmf->out);
    size_t outputs = (size_t)nnmf->out.channels, features = (size_t)nnmf->in.channels;
    return (n->images = memory_allocate(count, image * sizeof(float), "images", error)) &&
           (n->reconstructions = memory_allocate(count, image * sizeof(float), "images", error)) &&
           (n->h = memory_allocate(count, rows * outputs * sizeof(float), "activations", error)) &&
           (n->w = memory_allocate(outputs, features * sizeof(float), "weights", error)) &&
           (n->scale = memory_allocate(count, rows * sizeof(float), "L1 norms", error)) &&
           (n->labels = memory_allocate(count, 1, "labels", error)) &&
           (n->errors = memory_allocate(count, sizeof(double), "errors", error));
}

static void release(Numbers *n)
{
    float *floats[] = {n->images, n->reconstructions, n->h, n->w, n->scale};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        memory_free(floats[i]);
    memory_free(n->labels);
    memory_free(n->errors);
}

/* Runs one batch forward and downloads the results. */
static bool compute(Session *session, DatasetSplit split, size_t count, Numbers *n, Error *error)
{
    const Operations *ops = session->device.operations;
    Backend *backend = session->device.backend;
    Model *model = &session->model;
    const Layer *nnmf = &session->network.layers[NNMF];
    size_t rows = count * extent_positions(nnmf->out), outputs = (size_t)nnmf->out.channels;
    Steps steps;
    if (!steps_create(model, &session->batches[split], STEP_FORWARD, &steps, error))
        return false;
    model_forward(model, step_load(&steps));
    steps_destroy(&steps);
    ops->download(backend, n->images, model->images,
                  count * extent_elements(session->network.input) * sizeof(float));
    ops->download(backend, n->labels, model->labels, count);
    ops->download(backend, n->scale, model->layers[UNFOLD].scale, rows * sizeof(float));
    ops->download(backend, n->h, model->layers[NNMF].out, rows * outputs * sizeof(float));
    ops->download(backend, n->w, model->layers[NNMF].w,
                  outputs * (size_t)nnmf->in.channels * sizeof(float));
    return ops->finish(backend, error);
}

static void reconstruct(const Network *network, size_t count, Numbers *n)
{
    const Layer *unfold = &network->layers[UNFOLD], *nnmf = &network->layers[NNMF];
    size_t image = extent_elements(network->input), rows = extent_positions(nnmf->out);
    UnfoldShape shape = {.batch = 1,
                         .height = unfold->in.height,
                         .width = unfold->in.width,
                         .channels = unfold->in.channels,
                         .kernel = unfold->kernel,
                         .stride = unfold->stride,
                         .out_height = unfold->out.height,
                         .out_width = unfold->out.width};
    for (size_t i = 0; i < count; i++) {
        reconstruct_image(&shape, nnmf->out.channels, n->h + i * rows * (size_t)nnmf->out.channels,
                          n->w, n->scale + i * rows, n->reconstructions + i * image);
        n->errors[i] =
            root_mean_square(n->images + i * image, n->reconstructions + i * image, image);
    }
}

static void print_errors(const ReconstructionSheet *sheet)
{
    double sum = 0;
    for (size_t i = 0; i < sheet->count; i++) {
        printf("%6zu  %-12s %.5f\n", sheet->first + i, sheet->class_names[sheet->labels[i]],
               sheet->errors[i]);
        sum += sheet->errors[i];
    }
    printf("Mean of the root mean square errors, pixels from 0 to 1: %.5f\n",
           sum / (double)sheet->count);
}

static bool draw_sheet(const Settings *settings, Session *session, Picture *picture, Error *error)
{
    Numbers n = {.images = NULL};
    size_t count = (size_t)settings->reconstruct;
    bool done = reserve(&session->network, count, &n, error) &&
                compute(session, settings->split, count, &n, error);
    if (done) {
        reconstruct(&session->network, count, &n);
        ReconstructionSheet sheet = {
            .extent = session->network.input,
            .count = count,
            .first = (size_t)settings->offset,
            .images = n.images,
            .others = n.reconstructions,
            .errors = n.errors,
            .labels = n.labels,
            .class_names = dataset_class_names(settings->dataset),
        };
        snprintf(
            sheet.caption, SHEET_TEXT, "%s: %s images and their reconstructions from NNMF layer %d",
            dataset_name(settings->dataset), settings->split == SPLIT_TEST ? "test" : "training",
            session->network.layers[NNMF].index);
        done = sheet_reconstructions(&sheet, picture, error);
        if (done)
            print_errors(&sheet);
    }
    release(&n);
    return done;
}

bool show_reconstructions(const Settings *settings, Picture *picture, Error *error)
{
    Settings one_batch = *settings;
    one_batch.batch_size = settings->reconstruct;
    Range range = {.begin = (size_t)settings->offset,
                   .end = (size_t)(settings->offset + settings->reconstruct)};
    Session session;
    if (!session_open_split(&one_batch, range, &session, error))
        return false;
    bool done = session.network.layers[NNMF].kind == LAYER_NNMF
                    ? draw_sheet(settings, &session, picture, error)
                    : fail_usage(error,
                                 "no NNMF layer: the network of --arch cnn: --arch nnmf was "
                                 "expected");
    session_close(&session);
    return done;
}
