#include "run/session.h"

#include "formats/safetensors.h"
#include "network/population.h"
#include "training/steps.h"

static bool load_weights(const Settings *settings, Session *session, Error *error)
{
    TensorFile file;
    if (!safetensors_read(settings->weights, &file, error))
        return false;
    bool loaded = model_load_weights(&session->model, &file, settings->weights, error) &&
                  population_use(&session->model, (BatchnormStatistics)settings->bn_statistics,
                                 settings->weights, error);
    tensor_file_free(&file);
    return loaded;
}

bool session_load_images(const Settings *settings, DatasetSplit split, Range range,
                         Session *session, Error *error)
{
    char folder[SETTINGS_PATH];
    ImageSet images;
    if (!dataset_load((DatasetKind)settings->dataset, split,
                      settings_data_folder(settings, folder, sizeof folder), &images, error))
        return false;
    bool created =
        batches_create(&session->device, &images, range.begin, range.end ? range.end : images.count,
                       session->network.input, (int)settings->batch_size,
                       (int)settings->batches_at_once, &session->batches, error);
    image_set_free(&images);
    if (created)
        batches_tell_streamed(split == SPLIT_TRAIN ? &session->batches : NULL,
                              split == SPLIT_TEST ? &session->batches : NULL);
    return created;
}

bool session_open_model(const Settings *settings, int batch_size, Session *session, Error *error)
{
    *session = (Session){0};
    NetworkOptions options = settings_network(settings);
    if (network_for_dataset((DatasetKind)settings->dataset, &options, &session->network, error) &&
        settings_open_device(settings, &session->device, error) &&
        model_create(&session->network, &session->device, batch_size,
                     (int)settings->batches_at_once, &session->model, error) &&
        (!settings->weights[0] || load_weights(settings, session, error)))
        return true;
    session_close(session);
    return false;
}

bool session_open(const Settings *settings, Range range, Session *session, Error *error)
{
    *session = (Session){0};
    if (!settings->weights[0])
        return fail_usage(error, "option missing: --weights: a safetensors file was expected");
    if (!session_open_model(settings, (int)settings->batch_size, session, error))
        return false;
    if (steps_rehearse(&session->model, false, error) &&
        session_load_images(settings, (DatasetSplit)settings->split, range, session, error))
        return true;
    session_close(session);
    return false;
}

void session_close(Session *session)
{
    batches_destroy(&session->batches);
    model_destroy(&session->model);
    device_close(&session->device);
}
