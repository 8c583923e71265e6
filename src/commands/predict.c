/* Classifies pictures of any size. Each is resampled to the data set's image size, and the network
 * sees the centre crop, as in testing. Batch norms use the population statistics, so that a result
 * does not depend on the other pictures. */
#include "commands/commands.h"

#include "data/resample.h"
#include "nnmf/memory.h"
#include "run/session.h"

#include <math.h>
#include <stdio.h>

enum { CLASSES = DATASET_CLASSES, BEST = 5, BATCH = 50 };

/* Reads the pictures as a set of images with meaningless labels. */
static bool read_pictures(const Settings *settings, ImageSet *images, Error *error)
{
    *images = (ImageSet){.count = (size_t)settings->argument_count};
    dataset_image_shape(settings->dataset, &images->channels, &images->height, &images->width);
    size_t size = (size_t)images->channels * (size_t)images->height * (size_t)images->width;
    images->pixels = memory_allocate(images->count, size, "pixels of the pictures", error);
    images->labels = images->pixels ? memory_allocate(images->count, 1, "labels", error) : NULL;
    bool done = images->labels != NULL;
    for (size_t i = 0; done && i < images->count; i++) {
        Picture picture;
        done = picture_read_png(settings->arguments[i], &picture, error);
        if (done)
            resample_picture(&picture, images->channels, images->height, images->width,
                             images->pixels + i * size);
        picture_free(&picture);
    }
    if (!done)
        image_set_free(images);
    return done;
}

/* Prints one line: the file and its most probable classes, in descending order. */
static bool print_best(const char *path, const float *probabilities, const char *const *names,
                       Error *error)
{
    bool printed[CLASSES] = {false};
    for (int c = 0; c < CLASSES; c++)
        if (!isfinite(probabilities[c]))
            return fail(error, "probability not finite: %s: %s: the weights cannot be used", path,
                        names[c]);
    printf("%s:", path);
    for (int place = 0; place < BEST; place++) {
        int best = -1;
        for (int c = 0; c < CLASSES; c++)
            if (!printed[c] && (best < 0 || probabilities[c] > probabilities[best]))
                best = c;
        printed[best] = true;
        printf("%s %s %.2f%%", place ? "," : "", names[best], 100.0 * (double)probabilities[best]);
    }
    printf("\n");
    return true;
}

static bool classify(const Settings *settings, Session *session, float *probabilities, Error *error)
{
    const char *const *names = dataset_class_names(settings->dataset);
    Evaluation result = {.probabilities = probabilities};
    if (!session_evaluate(session, SPLIT_TEST, STEP_FORWARD, &result, error))
        return false;
    for (int i = 0; i < settings->argument_count; i++)
        if (!print_best(settings->arguments[i], probabilities + i * CLASSES, names, error))
            return false;
    return true;
}

bool command_predict(const Settings *settings, int *status, Error *error)
{
    (void)status;
    if (!settings->weights[0])
        return fail_usage(error, "option missing: --weights: a safetensors file was expected");
    if (settings->argument_count == 0)
        return fail_usage(error, "no picture: predict: at least one PNG file was expected");
    Settings population = *settings;
    population.bn_statistics = STATISTICS_POPULATION;
    ImageSet images;
    Session session;
    if (!read_pictures(settings, &images, error))
        return false;
    float *probabilities = NULL;
    bool done = session_open(&population, BATCH, &session, error);
    if (done) {
        done = (probabilities = memory_allocate(images.count, CLASSES * sizeof *probabilities,
                                                "probabilities", error)) &&
               batches_create(&session.device, &images, 0, images.count, session.network.input,
                              BATCH, (int)settings->batches_at_once, (Sampling){0},
                              &session.batches[SPLIT_TEST], error) &&
               classify(settings, &session, probabilities, error);
        session_close(&session);
    }
    memory_free(probabilities);
    image_set_free(&images);
    return done;
}
