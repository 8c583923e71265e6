/* Times training steps and test batches on random images, operation by operation. */
#include "commands/commands.h"
#include "commands/implementations.h"
#include "commands/peak.h"
#include "operations/timed.h"

#include "base/median.h"
#include "base/time.h"
#include "network/model.h"
#include "nnmf/memory.h"
#include "nnmf/philox.h"
#include "training/batches.h"
#include "training/steps.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>

enum { WARM_UP = 2, IMAGE_BATCHES = 8 };

typedef struct Bench {
    Device device, timed;
    Network network;
    Model model;
    Batches batches;
    Steps train, test;
    Peak peak;
    int64_t steps;
    Timing *timings; /* (steps) */
    double *seconds; /* (steps): of the whole step */
    double recorded; /* seconds of a recorded step, 0 where the device does not record */
} Bench;

static bool random_images(const Settings *settings, ImageSet *images, Error *error)
{
    *images = (ImageSet){.count = (size_t)settings->batch_size * IMAGE_BATCHES};
    dataset_image_shape(settings->dataset, &images->channels, &images->height, &images->width);
    size_t bytes = images->count * (size_t)(images->channels * images->height * images->width);
    images->pixels = memory_allocate(bytes, 1, "random images", error);
    images->labels = images->pixels ? memory_allocate(images->count, 1, "labels", error) : NULL;
    if (!images->labels) {
        image_set_free(images);
        return false;
    }
    for (size_t i = 0; i < bytes; i++)
        images->pixels[i] = (uint8_t)draw(0, DRAW_AUGMENT, 0, 0, (uint32_t)i).v[0];
    for (size_t i = 0; i < images->count; i++)
        images->labels[i] = (uint8_t)(i % DATASET_CLASSES);
    return true;
}

static bool prepare(const Settings *settings, Bench *bench, Error *error)
{
    NetworkOptions options = settings_network(settings);
    ImageSet images;
    if (!network_for_dataset(settings->dataset, &options, &bench->network, error) ||
        !settings_open_device(settings, &bench->device, error))
        return false;
    const Sampling sampling = {.shuffle = true, .augment = AUGMENT_REFERENCE};
    timed_open(&bench->device, &bench->timed);
    if (!random_images(settings, &images, error))
        return false;
    bool created = model_create(&bench->network, &bench->timed, (int)settings->batch_size, 1,
                                &bench->model, error) &&
                   batches_create(&bench->timed, &images, 0, images.count, bench->network.input,
                                  (int)settings->batch_size, 1, sampling, &bench->batches, error);
    image_set_free(&images);
    bench->steps = settings->steps;
    return created && model_initialise(&bench->model, 21, error) &&
           (bench->timings = memory_allocate((size_t)bench->steps, sizeof *bench->timings,
                                             "measurements", error)) &&
           (bench->seconds = memory_allocate((size_t)bench->steps, sizeof *bench->seconds,
                                             "measurements", error)) &&
           steps_create(&bench->model, &bench->batches, STEP_TRAIN, &bench->train, error) &&
           steps_create(&bench->model, &bench->batches, STEP_TEST, &bench->test, error);
}

static void release(Bench *bench)
{
    peak_close(&bench->peak);
    memory_free(bench->timings);
    memory_free(bench->seconds);
    steps_destroy(&bench->train);
    steps_destroy(&bench->test);
    batches_destroy(&bench->batches);
    model_destroy(&bench->model);
    device_close(&bench->device);
}

static const StepState first_step = {.learning_rates = {0.001, 0.01, 0.001}};

/* Times the steps one by one, without recording, so that each operation can be timed. */
static bool measure(Bench *bench, Steps *steps, Error *error)
{
    StepState state = first_step;
    for (int64_t i = -WARM_UP; i < bench->steps; i++) {
        state.step = (uint32_t)((i + WARM_UP) % IMAGE_BATCHES);
        steps_reset(steps, &state, &(Totals){0});
        timed_reset();
        double started = seconds_now();
        step_run_unrecorded(steps);
        if (!steps_read(steps, NULL, NULL, error))
            return false;
        if (i >= 0) {
            bench->seconds[i] = seconds_now() - started;
            bench->timings[i] = timed_read();
        }
        /* The machine's speed varies, so the peak is measured repeatedly. */
        if ((i + 1) % 10 == 0 && !peak_measure(&bench->peak, error))
            return false;
    }
    return true;
}

/* Measures the seconds per step as training runs it: recorded, waiting only at the end of a pass
 * over the batches. */
static bool run_pass(Steps *steps, double *seconds, Error *error)
{
    steps_reset(steps, &first_step, &(Totals){0});
    double started = seconds_now();
    while (!steps_ended(steps))
        if (!step_run(steps, error))
            return false;
    bool good = steps_read(steps, NULL, NULL, error);
    *seconds = (seconds_now() - started) / (double)IMAGE_BATCHES;
    return good;
}

static bool measure_recorded(Bench *bench, Steps *steps, Error *error)
{
    int64_t passes = (bench->steps + IMAGE_BATCHES - 1) / IMAGE_BATCHES;
    bench->recorded = 0.0;
    if (!bench->device.operations->record)
        return true;
    double unused, *values = memory_allocate((size_t)passes, sizeof *values, "measurements", error);
    timed_pause(true);
    bool good = values && run_pass(steps, &unused, error); /* records the steps */
    for (int64_t i = 0; good && i < passes; i++)
        good = run_pass(steps, &values[i], error);
    timed_pause(false);
    if (good)
        bench->recorded = median(values, (size_t)passes);
    memory_free(values);
    return good;
}

static void print_rate(const Bench *bench, double flops, double seconds)
{
    if (flops <= 0.0) {
        printf("\n");
        return;
    }
    printf(" %9.1f", flops / seconds * 1e-9);
    if (bench->peak.flops > 0.0)
        printf(" %8.1f%%", 100.0 * flops / seconds / bench->peak.flops);
    printf("\n");
}

static bool report(Bench *bench, const char *title, Error *error)
{
    double *values = memory_allocate((size_t)bench->steps, sizeof *values, "measurements", error);
    if (!values)
        return false;
    double total = median(bench->seconds, (size_t)bench->steps), all_flops = 0.0;
    printf("\n%-22s %10s %7s %9s %9s\n", title, "ms", "time", "GFLOP/s",
           bench->peak.flops > 0.0 ? "of BLAS" : "");
    for (int op = 0; op < OPERATION_COUNT; op++) {
        for (int64_t i = 0; i < bench->steps; i++)
            values[i] = bench->timings[i].seconds[op];
        double seconds = median(values, (size_t)bench->steps), flops = bench->timings[0].flops[op];
        all_flops += flops;
        if (seconds <= 0.0)
            continue;
        printf("%-22s %10.3f %6.1f%%", timed_names[op], seconds * 1e3, 100.0 * seconds / total);
        print_rate(bench, flops, seconds);
    }
    printf("%-22s %10.3f %6.1f%%", "total", total * 1e3, 100.0);
    print_rate(bench, all_flops, total);
    if (bench->recorded > 0.0) {
        printf("%-22s %10.3f %6.1f%%", "recorded as a graph", bench->recorded * 1e3,
               100.0 * bench->recorded / total);
        print_rate(bench, all_flops, bench->recorded);
        total = bench->recorded;
    }
    printf("%.1f images/s\n", bench->batches.sampler.batch_size / total);
    memory_free(values);
    return true;
}

static void print_peak(const Bench *bench, int threads)
{
    const Peak *c = &bench->peak;
    if (!c->name) {
        printf("\nBLAS: none found, so rates are not compared with it (Debian: libopenblas0)\n");
        return;
    }
    printf("\nBLAS: %.1f GFLOP/s, the best of %s%s%s on %d x %d float32 matrices in this run",
           c->flops * 1e-9, c->name, c->kernels ? ", kernels for " : "",
           c->kernels ? c->kernels : "", c->side, c->side);
    if (bench->device.kind == DEVICE_CPU)
        printf(", %d thread%s", threads, threads == 1 ? "" : "s");
    printf("\n");
}

bool command_bench(const Settings *settings, int *status, Error *error)
{
    (void)status;
    Bench bench = {0};
    int threads = settings->threads ? (int)settings->threads : omp_get_num_procs();
    bool good = prepare(settings, &bench, error);
    if (good)
        peak_open(&bench.peak, &bench.device, threads);
    good = good && peak_measure(&bench.peak, error) && measure(&bench, &bench.train, error) &&
           measure_recorded(&bench, &bench.train, error);
    if (good) {
        printf("%s; %s, batches of %d; medians of %" PRId64 " steps\n", bench.device.description,
               dataset_name(settings->dataset), (int)settings->batch_size, bench.steps);
        implementations_print(&bench.network, &bench.device, (int)settings->batch_size, stdout);
        good = report(&bench, "training step", error) && measure(&bench, &bench.test, error) &&
               measure_recorded(&bench, &bench.test, error) && report(&bench, "test batch", error);
    }
    if (good)
        print_peak(&bench, threads);
    release(&bench);
    return good;
}
