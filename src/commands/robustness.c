/* Tests weights on perturbed images (perturbation.h), for each kind at several levels. */
#include "commands/commands.h"

#include "formats/csv.h"
#include "nnmf/memory.h"
#include "robustness/perturbation.h"
#include "run/interrupt.h"
#include "run/output.h"
#include "run/progress.h"
#include "run/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LEVELS = 64, CLASSES = DATASET_CLASSES };

/* One test of all images. */
typedef struct Trial {
    PerturbationKind kind; /* PERTURBATIONS: unperturbed */
    double level;
    uint32_t repetition;
    uint64_t correct;
} Trial;

/* The trials, and host memory for the current batches: images, gradient and perturbed (batches,
 * batch, height, width, channels), probabilities (batches, batch, CLASSES), labels (batches,
 * batch). */
typedef struct Plan {
    Trial *trials; /* the repetitions of a test are adjacent */
    size_t count;
    float *images, *gradient, *perturbed, *probabilities;
    uint8_t *labels;
    float *dimages; /* device memory for one batch; NULL if no trial needs gradients */
} Plan;

/* ---- levels ---- */

/* Parses levels like "0.1,0.2" and sets *count to their number. */
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

/* Adds the trial without perturbation, and for each requested kind those of all levels and
 * repetitions. */
static bool add_trials(const Settings *s, Plan *plan, Error *error)
{
    if (s->levels[0] && s->kind == 0)
        return fail_usage(error, "option missing: --kind: --levels applies to one kind");
    size_t capacity = 1 + (size_t)PERTURBATIONS * MAX_LEVELS * (size_t)s->repetitions;
    plan->trials = memory_allocate(capacity, sizeof *plan->trials, "the list of tests", error);
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

/* ---- several batches at once ---- */

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

/* Computes and downloads the gradient of the `batch` images in the model. */
static void fetch_gradient(Steps *steps, const Plan *plan, int batch, float *gradient)
{
    Model *model = steps->model;
    size_t elements = (size_t)batch * extent_elements(model->network->input);
    model_forward(model, batch);
    model_backward(model, batch, steps->state, steps->totals, plan->dimages);
    model->device->operations->download(model->device->backend, gradient, plan->dimages,
                                        elements * sizeof(float));
}

/* Loads the next batch and downloads its images, labels and, if `gradient`, the gradient of the
 * images. index: position among the current batches. */
static bool fetch_batch(Steps *steps, Plan *plan, bool gradient, size_t index, Error *error)
{
    const Model *model = steps->model;
    const Operations *ops = model->device->operations;
    Backend *backend = model->device->backend;
    int batch = step_load(steps);
    size_t elements = (size_t)batch * extent_elements(model->network->input);
    size_t at = index * elements;
    ops->download(backend, plan->images + at, model->images, elements * sizeof(float));
    ops->download(backend, plan->labels + index * (size_t)batch, model->labels, (size_t)batch);
    if (gradient)
        fetch_gradient(steps, plan, batch, plan->gradient + at);
    return ops->finish(backend, error);
}

/* Writes the `count` current images, perturbed as the trial specifies, to plan->perturbed. first:
 * number of the first image in the split. */
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

/* Runs the trial on the current `batches` batches of `batch` images. first: number of the first
 * image in the split. */
static bool run_batches(Model *model, Plan *plan, Trial *trial, uint64_t seed, size_t first,
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

/* Returns the end of the test that begins with this trial. */
static size_t test_end(const Plan *plan, size_t begin)
{
    size_t end = begin + 1;
    while (end < plan->count && plan->trials[end].repetition > 0)
        end++;
    return end;
}

/* Returns the end of the trials that share a pass over the images: those of one test, or all that
 * need gradients, so that these are computed once. */
static size_t pass_end(const Plan *plan, size_t begin)
{
    size_t end = test_end(plan, begin);
    if (plan->trials[begin].kind == PERTURB_GRADIENT_SIGN)
        while (end < plan->count && plan->trials[end].kind == PERTURB_GRADIENT_SIGN)
            end++;
    return end;
}

/* Runs the trials [begin, end) on all images. Sets *stopped if a signal was received. */
static bool run_pass(Steps *steps, Plan *plan, size_t begin, size_t end, uint64_t seed,
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
            *stopped = interrupt_signal() != 0; /* a batch may have thousands of trials */
            if (*stopped)
                return true;
            good =
                run_batches(steps->model, plan, &plan->trials[i], seed, first, batch, count, error);
        }
    }
    return good;
}

/* ---- the result ---- */

/* Computes the mean and sample standard deviation of the accuracy in percent over the trials
 * [begin, end). */
static void accuracy(const Plan *plan, size_t begin, size_t end, size_t images, double *mean,
                     double *deviation)
{
    double count = (double)(end - begin), sum = 0.0, squares = 0.0;
    for (size_t i = begin; i < end; i++)
        sum += 100.0 * (double)plan->trials[i].correct / (double)images;
    *mean = sum / count;
    for (size_t i = begin; i < end; i++) {
        double difference = 100.0 * (double)plan->trials[i].correct / (double)images - *mean;
        squares += difference * difference;
    }
    *deviation = end - begin > 1 ? sqrt(squares / (count - 1.0)) : 0.0;
}

/* Prints the result of the test with the trials [begin, end) and appends it as row `row` of the CSV
 * file. */
static bool report_test(const Plan *plan, size_t begin, size_t end, size_t images, unsigned row,
                        CsvLog *csv, Error *error)
{
    const Trial *trial = &plan->trials[begin];
    bool unperturbed = trial->kind == PERTURBATIONS;
    const char *name = unperturbed ? "none" : perturbation_name(trial->kind);
    double mean, deviation;
    accuracy(plan, begin, end, images, &mean, &deviation);
    printf("%-16s %8g %8.2f%% %9.2f%%  %s\n", name, trial->level, mean, deviation,
           unperturbed ? "" : perturbations[trial->kind].level);
    return csv_append(csv, error, "%u,%s,%g,%zu,%zu,%.4f,%.4f", row, name, trial->level,
                      end - begin, images, mean, deviation);
}

/* Reports the tests of a pass and writes the CSV file, so that no finished test is lost. */
static bool report_pass(const Plan *plan, size_t begin, size_t end, size_t images, unsigned *row,
                        CsvLog *csv, Error *error)
{
    bool good = true;
    for (size_t at = begin, next; good && at < end; at = next) {
        next = test_end(plan, at);
        good = report_test(plan, at, next, images, (*row)++, csv, error);
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

/* Runs all tests. Sets *stopped if a signal was received before the end. */
static bool test_all(Steps *steps, Plan *plan, uint64_t seed, CsvLog *csv, bool *stopped,
                     Error *error)
{
    const Batches *batches = steps->batches;
    Progress progress;
    unsigned row = 0;
    bool good = true;
    printf("%-16s %8s %9s %10s  %s\n", "kind", "level", "correct", "deviation", "meaning of level");
    progress_start(&progress, "Testing", 0, (uint32_t)plan->count * batches->steps, 0,
                   batches->sampler.batch_size);
    for (size_t begin = 0, end; good && begin < plan->count; begin = end) {
        end = pass_end(plan, begin);
        good = run_pass(steps, plan, begin, end, seed, &progress, stopped, error);
        progress_end(&progress);
        if (*stopped)
            break;
        good = good && report_pass(plan, begin, end, batches_images(batches), &row, csv, error);
    }
    if (good && *stopped)
        printf("Stopped after %u of %u tests\n", row, count_tests(plan));
    return good;
}

/* Writes the file once before the tests, which take long, so that errors are reported early. */
static bool open_table(const Settings *s, CsvLog *csv, Error *error)
{
    const char *header = "test,kind,level,repetitions,images,accuracy_percent,deviation_percent";
    return !s->out[0] || (csv_open(csv, s->out, header, 0, error) && csv_write(csv, error));
}

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
