/* Tests weights on images that are made worse, kind by kind and level by level: perturbation.h. */
#include "commands/commands.h"

#include "formats/csv.h"
#include "nnmf/memory.h"
#include "robustness/perturbation.h"
#include "run/interrupt.h"
#include "run/output.h"
#include "run/progress.h"
#include "run/session.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LEVELS = 64, CLASSES = DATASET_CLASSES };

/* One pass over all images. */
typedef struct Trial {
    PerturbationKind kind; /* PERTURBATIONS: the images as they are */
    double level;
    uint32_t repetition;
    uint64_t correct;
} Trial;

/* Host memory for the batches at hand, one behind the other: images, gradient and perturbed
 * (batches, batch, height, width, channels), probabilities (batches, batch, CLASSES), labels
 * (batches, batch). */
typedef struct Plan {
    Trial *trials; /* those that differ in the repetition alone, a test, follow each other */
    size_t count;
    float *images, *gradient, *perturbed, *probabilities;
    uint8_t *labels;
    float *dimages; /* device memory, of a batch; NULL where no trial needs it */
} Plan;

/* ---- levels ---- */

/* "0.1,0.2" -> levels, their number in *count. */
static bool parse_levels(const char *text, const Perturbation *kind, double levels[MAX_LEVELS],
                         int *count, Error *error)
{
    *count = 0;
    for (const char *at = text;; at++) {
        char *end;
        double level = strtod(at, &end);
        if (end == at || (*end != ',' && *end) || !isfinite(level) || level < kind->lowest ||
            level > kind->highest || *count == MAX_LEVELS)
            return fail_usage(error,
                              "bad value: --levels: '%s': at most %d numbers from %g to %g (%s), "
                              "with commas between them, were expected",
                              text, MAX_LEVELS, kind->lowest, kind->highest, kind->level);
        levels[(*count)++] = level;
        at = end;
        if (!*end)
            return true;
    }
}

/* Every kind that is asked for at its levels, each as often as is asked for. */
static bool add_trials(const Settings *s, Plan *plan, Error *error)
{
    if (s->levels[0] && s->kind == 0)
        return fail_usage(error, "option missing: --kind: --levels are of one kind");
    size_t most = 1 + (size_t)PERTURBATIONS * MAX_LEVELS * (size_t)s->repetitions;
    plan->trials = memory_allocate(most, sizeof *plan->trials, "the list of tests", error);
    if (!plan->trials)
        return false;
    plan->trials[plan->count++] = (Trial){.kind = PERTURBATIONS};
    for (int kind = 0; kind < PERTURBATIONS; kind++) {
        const Perturbation *p = &perturbations[kind];
        double levels[MAX_LEVELS];
        int count = PERTURBATION_LEVELS;
        if (s->kind != 0 && s->kind != kind + 1)
            continue;
        memcpy(levels, p->levels, sizeof p->levels);
        if (s->levels[0] && !parse_levels(s->levels, p, levels, &count, error))
            return false;
        for (int level = 0; level < count; level++)
            for (int64_t r = 0; r < (p->random ? s->repetitions : 1); r++)
                plan->trials[plan->count++] = (Trial){.kind = (PerturbationKind)kind,
                                                      .level = levels[level],
                                                      .repetition = (uint32_t)r};
    }
    return true;
}

/* ---- some batches at once ---- */

static bool reserve(const Session *session, Plan *plan, Error *error)
{
    size_t batch = (size_t)session->model.batch_size;
    size_t count = batch * (size_t)session->model.batches;
    size_t image = extent_elements(session->network.input);
    bool attack = false;
    for (size_t i = 0; i < plan->count; i++)
        attack = attack || plan->trials[i].kind == PERTURB_GRADIENT_SIGN;
    size_t bytes = image * sizeof(float);
    const Device *device = &session->device;
    return (plan->images = memory_allocate(count, bytes, "images", error)) &&
           (plan->perturbed = memory_allocate(count, bytes, "perturbed images", error)) &&
           (plan->probabilities =
                memory_allocate(count, CLASSES * sizeof(float), "probabilities", error)) &&
           (plan->labels = memory_allocate(count, 1, "labels", error)) &&
           (!attack ||
            ((plan->gradient = memory_allocate(count, bytes, "gradients of images", error)) &&
             (plan->dimages = device->operations->allocate(device->backend, batch * bytes,
                                                           "gradients of images", error))));
}

static void release(const Session *session, Plan *plan)
{
    if (plan->dimages)
        session->device.operations->release(session->device.backend, plan->dimages);
    void *buffers[] = {plan->trials,    plan->images,        plan->gradient,
                       plan->perturbed, plan->probabilities, plan->labels};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        memory_free(buffers[i]);
}

/* The gradient of the `batch` images that the model has, to the host. */
static void fetch_gradient(Steps *steps, const Plan *plan, int batch, float *gradient)
{
    Model *model = steps->model;
    size_t elements = (size_t)batch * extent_elements(model->network->input);
    model_forward(model, batch);
    model_backward(model, batch, steps->state, steps->totals, plan->dimages);
    model->device->operations->download(model->device->backend, gradient, plan->dimages,
                                        elements * sizeof(float));
}

/* Loads the next batch, number `number` of those at hand, and copies its images and labels to the
 * host, and the gradient of the images if it is needed. */
static bool fetch_batch(Steps *steps, Plan *plan, bool gradient, size_t number, Error *error)
{
    const Model *model = steps->model;
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    int batch = step_load(steps);
    size_t elements = (size_t)batch * extent_elements(model->network->input);
    size_t at = number * elements;
    ops->download(backend, plan->images + at, model->images, elements * sizeof(float));
    ops->download(backend, plan->labels + number * (size_t)batch, model->labels, (size_t)batch);
    if (gradient)
        fetch_gradient(steps, plan, batch, plan->gradient + at);
    return ops->finish(backend, error);
}

/* The `count` images at hand as the trial wants them, into plan->perturbed. */
static bool perturb(Extent extent, Plan *plan, const Trial *trial, uint64_t seed, size_t first,
                    size_t count, Error *error)
{
    size_t elements = extent_elements(extent);
    if (trial->kind == PERTURBATIONS) {
        memcpy(plan->perturbed, plan->images, count * elements * sizeof *plan->images);
        return true;
    }
    if (trial->kind == PERTURB_GRADIENT_SIGN) {
        perturb_by_gradient(trial->level, count * elements, plan->images, plan->gradient,
                            plan->perturbed);
        return true;
    }
    bool good = true;
    for (size_t i = 0; good && i < count; i++)
        good = perturb_image(trial->kind, trial->level, seed, trial->repetition,
                             (uint32_t)(first + i), extent, plan->images + i * elements,
                             plan->perturbed + i * elements, error);
    return good;
}

static bool count_correct(const Plan *plan, size_t count, uint64_t *correct, Error *error)
{
    for (size_t i = 0; i < count; i++) {
        const float *p = plan->probabilities + i * CLASSES;
        for (int c = 0; c < CLASSES; c++)
            if (!isfinite(p[c]))
                return fail(error, "probability not finite: the weights cannot be tested");
        *correct += evaluation_class(p) == plan->labels[i];
    }
    return true;
}

/* `batches` batches of `batch` images, of which the first is number `first`. */
static bool try_batches(Model *model, Plan *plan, Trial *trial, uint64_t seed, size_t first,
                        int batch, int batches, Error *error)
{
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    Extent extent = model->network->input;
    size_t count = (size_t)batch * (size_t)batches, elements = count * extent_elements(extent);
    if (!perturb(extent, plan, trial, seed, first, count, error))
        return false;
    ops->upload(backend, model->images, plan->perturbed, elements * sizeof(float));
    model_forward_several(model, batch, batches);
    ops->download(backend, plan->probabilities, model_probabilities(model),
                  count * CLASSES * sizeof(float));
    return ops->finish(backend, error) && count_correct(plan, count, &trial->correct, error);
}

/* ---- a test ---- */

/* Where the test ends that begins with this trial. */
static size_t test_end(const Plan *plan, size_t begin)
{
    size_t end = begin + 1;
    while (end < plan->count && plan->trials[end].repetition > 0)
        end++;
    return end;
}

/* What is tested with one pass over the images, from this trial on: a test, or all of those that
 * need gradients, which are computed once. */
static size_t pass_end(const Plan *plan, size_t begin)
{
    size_t end = test_end(plan, begin);
    if (plan->trials[begin].kind == PERTURB_GRADIENT_SIGN)
        while (end < plan->count && plan->trials[end].kind == PERTURB_GRADIENT_SIGN)
            end++;
    return end;
}

/* The trials [begin, end) on all images. *stopped: a signal came. */
static bool pass(Steps *steps, Plan *plan, size_t begin, size_t end, uint64_t seed,
                 Progress *progress, bool *stopped, Error *error)
{
    const Batches *batches = steps->batches;
    bool gradient = plan->trials[begin].kind == PERTURB_GRADIENT_SIGN, good = true;
    steps_restart(steps);
    while (good && !steps_ended(steps)) {
        uint32_t step = steps->next;
        progress_show(progress, (uint32_t)begin * batches->steps + (uint32_t)(end - begin) * step);
        int count = steps_ahead(steps), batch = batches_size(batches, step);
        size_t first = batches->sampler.begin + (size_t)step * (size_t)batches->sampler.batch_size;
        for (int i = 0; good && i < count; i++)
            good = fetch_batch(steps, plan, gradient, (size_t)i, error);
        for (size_t i = begin; good && i < end; i++) {
            *stopped = interrupt_signal() != 0; /* a thousand repetitions may follow */
            if (*stopped)
                return true;
            good =
                try_batches(steps->model, plan, &plan->trials[i], seed, first, batch, count, error);
        }
    }
    return good;
}

/* ---- the result ---- */

/* Mean and standard deviation (of a sample) over the trials [begin, end), in percent. */
static void accuracy(const Plan *plan, size_t begin, size_t end, size_t images, double *mean,
                     double *deviation)
{
    double count = (double)(end - begin), sum = 0.0, squares = 0.0;
    for (size_t i = begin; i < end; i++)
        sum += 100.0 * (double)plan->trials[i].correct / (double)images;
    *mean = sum / count;
    for (size_t i = begin; i < end; i++) {
        double off = 100.0 * (double)plan->trials[i].correct / (double)images - *mean;
        squares += off * off;
    }
    *deviation = end - begin > 1 ? sqrt(squares / (count - 1.0)) : 0.0;
}

/* A line and a row of the table: the test of the trials [begin, end), the table's number `row`. */
static bool tell_test(const Plan *plan, size_t begin, size_t end, size_t images, unsigned row,
                      CsvLog *csv, Error *error)
{
    const Trial *trial = &plan->trials[begin];
    bool as_is = trial->kind == PERTURBATIONS;
    const char *name = as_is ? "none" : perturbation_name(trial->kind);
    double mean, deviation;
    accuracy(plan, begin, end, images, &mean, &deviation);
    printf("%-16s %8g %8.2f%% %9.2f%%  %s\n", name, trial->level, mean, deviation,
           as_is ? "" : perturbations[trial->kind].level);
    return csv_append(csv, error, "%u,%s,%g,%zu,%zu,%.4f,%.4f", row, name, trial->level,
                      end - begin, images, mean, deviation);
}

/* Those of a pass, at once: nothing that is finished is lost by what comes after it. */
static bool tell_pass(const Plan *plan, size_t begin, size_t end, size_t images, unsigned *row,
                      CsvLog *csv, Error *error)
{
    bool good = true;
    for (size_t at = begin, next; good && at < end; at = next) {
        next = test_end(plan, at);
        good = tell_test(plan, at, next, images, (*row)++, csv, error);
    }
    output_flush();
    return good && csv_write(csv, error);
}

static unsigned count_tests(const Plan *plan)
{
    unsigned tests = 0;
    for (size_t at = 0; at < plan->count; at = test_end(plan, at))
        tests++;
    return tests;
}

/* Pass by pass. *stopped: a signal came before the last one's end. */
static bool test_all(Steps *steps, Plan *plan, uint64_t seed, CsvLog *csv, bool *stopped,
                     Error *error)
{
    const Batches *batches = steps->batches;
    Progress progress;
    unsigned row = 0;
    bool good = true;
    printf("%-16s %8s %9s %10s  %s\n", "kind", "level", "correct", "deviation", "level is");
    progress_start(&progress, "Testing", 0, (uint32_t)plan->count * batches->steps, 0,
                   batches->sampler.batch_size);
    for (size_t begin = 0, end; good && begin < plan->count; begin = end) {
        end = pass_end(plan, begin);
        good = pass(steps, plan, begin, end, seed, &progress, stopped, error);
        progress_end(&progress);
        if (*stopped)
            break;
        good = good && tell_pass(plan, begin, end, batches_images(batches), &row, csv, error);
    }
    if (good && *stopped)
        printf("Ended after %u of %u tests\n", row, count_tests(plan));
    return good;
}

/* Written once before the tests, which take long: better to learn now that it cannot be. */
static bool open_table(const Settings *s, CsvLog *csv, Error *error)
{
    const char *header = "test,kind,level,repetitions,images,accuracy_percent,deviation_percent";
    return !s->out[0] || (csv_open(csv, s->out, header, 0, error) && csv_write(csv, error));
}

/* What is finished has been told when a signal comes. */
static bool test(const Settings *s, Session *session, Plan *plan, int *status, Error *error)
{
    CsvLog csv = {0};
    bool stopped = false;
    if (s->out[0])
        output_outlive_reader();
    Steps steps = {.model = NULL};
    bool good =
        open_table(s, &csv, error) && reserve(session, plan, error) &&
        steps_create(&session->model, &session->batches[s->split], STEP_FORWARD, &steps, error) &&
        interrupt_catch(error) && test_all(&steps, plan, s->seed, &csv, &stopped, error);
    steps_destroy(&steps);
    csv_close(&csv);
    if (good && stopped)
        *status = 128 + interrupt_signal();
    return good;
}

bool command_robustness(const Settings *settings, int *status, Error *error)
{
    Session session;
    Plan plan = {0};
    if (!add_trials(settings, &plan, error) ||
        !session_open_split(settings, (Range){.begin = 0, .end = (size_t)settings->images},
                            &session, error)) {
        memory_free(plan.trials);
        return false;
    }
    bool good = test(settings, &session, &plan, status, error);
    release(&session, &plan);
    session_close(&session);
    return good;
}
