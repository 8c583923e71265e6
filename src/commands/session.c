#include "session.h"

#include "nnmf/safetensors.h"

static bool load_weights(const Settings *settings, Session *session, Error *error)
{
    TensorFile file;
    if (!safetensors_read(settings->weights, &file, error))
        return false;
    bool loaded = model_load_weights(&session->model, &file, settings->weights, error);
    tensor_file_free(&file);
    return loaded;
}

static bool load_images(const Settings *settings, Range range, Session *session, Error *error)
{
    char folder[SETTINGS_PATH];
    ImageSet images;
    if (!dataset_load((DatasetKind)settings->dataset, (DatasetSplit)settings->split,
                      settings_data_folder(settings, folder, sizeof folder), &images, error))
        return false;
    bool created =
        batches_create(&session->device, &images, range.begin, range.end ? range.end : images.count,
                       session->network.input, (int)settings->batch_size, &session->batches, error);
    image_set_free(&images);
    return created;
}

bool session_open(const Settings *settings, Range range, Session *session, Error *error)
{
    *session = (Session){0};
    if (!settings->weights[0])
        return fail_usage(error, "option missing: --weights: a safetensors file was expected");
    NetworkOptions options = settings_network(settings);
    if (network_for_dataset((DatasetKind)settings->dataset, &options, &session->network, error) &&
        settings_open_device(settings, &session->device, error) &&
        model_create(&session->network, &session->device, (int)settings->batch_size,
                     &session->model, error) &&
        load_weights(settings, session, error) && load_images(settings, range, session, error))
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
