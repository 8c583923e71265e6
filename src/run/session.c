#include "run/session.h"

#include "network/population.h"
#include "run/progress.h"

/* Errors name --train-range or --test-range, if the range comes from there. */
static bool check_range(const Settings *settings, DatasetSplit split, Range range, size_t count,
                        Error *error)
{
    const Range *given = split == SPLIT_TRAIN ? &settings->train_range : &settings->test_range;
    bool by_option = range.begin == given->begin && range.end == given->end;
    return !by_option || range.end <= count ||
           fail_usage(error, "range outside the data: --%s-range %zu:%zu: there are %zu images",
                      dataset_split_names[split], range.begin, range.end, count);
}

bool session_load(const Settings *settings, DatasetSplit split, Range range, Sampling sampling,
                  Session *session, Error *error)
{
    char folder[SETTINGS_PATH];
    ImageSet images;
    if (!dataset_load(settings->dataset, split,
                      settings_data_folder(settings, folder, sizeof folder), &images, error))
        return false;
    session->checksum[split] = image_set_checksum(&images);
    bool created =
        check_range(settings, split, range, images.count, error) &&
        batches_create(&session->device, &images, range.begin, range.end ? range.end : images.count,
                       session->network.input, (int)settings->batch_size,
                       (int)settings->batches_at_once, sampling, &session->batches[split], error);
    image_set_free(&images);
    return created;
}

bool session_open(const Settings *settings, int batch_size, Session *session, Error *error)
{
    *session = (Session){0};
    NetworkOptions options = settings_network(settings);
    if (network_for_dataset(settings->dataset, &options, &session->network, error) &&
        settings_open_device(settings, &session->device, error) &&
        model_create(&session->network, &session->device, batch_size,
                     (int)settings->batches_at_once, &session->model, error) &&
        (!settings->weights[0] ||
         (model_load_file(&session->model, settings->weights, error) &&
          population_use(&session->model, settings->bn_statistics, settings->weights, error))))
        return true;
    session_close(session);
    return false;
}

bool session_open_split(const Settings *settings, Range range, Session *session, Error *error)
{
    *session = (Session){0};
    if (!settings->weights[0])
        return fail_usage(error, "option missing: --weights: a safetensors file was expected");
    if (!session_open(settings, (int)settings->batch_size, session, error))
        return false;
    if (session_load(settings, settings->split, range, (Sampling){0}, session, error))
        return true;
    session_close(session);
    return false;
}

bool session_evaluate(Session *session, DatasetSplit split, StepKind kind, Evaluation *evaluation,
                      Error *error)
{
    const Batches *batches = &session->batches[split];
    Steps steps;
    Progress progress;
    if (!steps_create(&session->model, batches, kind, &steps, error))
        return false;
    progress_start(&progress, "Testing", 0, batches->steps, 0, batches->sampler.batch_size);
    bool good = evaluate(&steps, progress_watch(&progress), evaluation, error);
    progress_end(&progress);
    steps_destroy(&steps);
    return good;
}

void session_close(Session *session)
{
    for (int split = 0; split < DATASET_SPLITS; split++)
        batches_destroy(&session->batches[split]);
    model_destroy(&session->model);
    device_close(&session->device);
    *session = (Session){0};
}
