#include "checker.h"

#include "nnmf/device.h"
#include "nnmf/memory.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, POISON = 0xff }; /* bytes; four of POISON are a NaN */

static const int thread_counts[THREAD_COUNTS] = {1, 2, 3, 7};

/* ---- devices ---- */

static bool open_cpu(const Candidate *candidate, int threads, Device *device, Error *error)
{
    return device_open_cpu_with(device, candidate->name, threads, error);
}

/* The threads are a CPU's. */
static bool open_cuda(const Candidate *candidate, int threads, Device *device, Error *error)
{
    (void)threads;
    return device_open_cuda(device, &candidate->cuda, error);
}

static bool has_gpu(void)
{
    Device device;
    Error error = {0};
    if (!cuda_is_built)
        return false;
    bool found = device_open_cuda(&device, &(CudaOptions){0}, &error);
    if (found)
        device_close(&device);
    else
        printf("no GPU is tested: %s\n", error.text);
    return found;
}

/* Every device that this build has and this machine can run. */
static int list_candidates(Candidate *list)
{
    int count = 0;
    for (const char *set; (set = cpu_instruction_set(count));)
        list[count++] = (Candidate){.name = set, .open = open_cpu};
    if (has_gpu()) {
        static const Candidate cuda[] = {
            {"cuda", open_cuda, {NNMF_KERNEL_FUSED, PRECISION_FP32}, NULL},
            {"cuda-cublas", open_cuda, {NNMF_KERNEL_CUBLAS, PRECISION_FP32}, NULL},
            {"cuda-3xtf32", open_cuda, {NNMF_KERNEL_FUSED, PRECISION_3XTF32}, NULL},
            {"cuda-tf32", open_cuda, {NNMF_KERNEL_FUSED, PRECISION_TF32}, NULL},
        };
        memcpy(list + count, cuda, sizeof cuda);
        count += (int)(sizeof cuda / sizeof *cuda);
    }
    return count;
}

/* With how many numbers of threads a candidate is tried. A GPU is opened once more, for the same
 * bits again. */
static int tries(const Candidate *candidate)
{
    return candidate->open == open_cuda ? 2 : THREAD_COUNTS;
}

static bool open_devices(Checker *checker)
{
    Error error = {0};
    for (int c = 0; c < checker->candidate_count; c++)
        for (int t = 0; t < tries(&checker->candidates[c]); t++) {
            const Candidate *candidate = &checker->candidates[c];
            if (!candidate->open(candidate, thread_counts[t], &checker->devices[c][t], &error)) {
                fprintf(stderr, "device %s: %s\n", candidate->name, error.text);
                return false;
            }
        }
    return true;
}

static void close_devices(Checker *checker)
{
    for (int c = 0; c < checker->candidate_count; c++)
        for (int t = 0; t < tries(&checker->candidates[c]); t++)
            device_close(&checker->devices[c][t]);
    checker->candidate_count = 0;
}

bool checker_open(Checker *checker, uint64_t seed, bool quick)
{
    *checker = (Checker){.seed = seed, .quick = quick};
    Error error = {0};
    if (!device_open_plain(&checker->plain, &error)) {
        fprintf(stderr, "plain device: %s\n", error.text);
        return false;
    }
    checker->candidate_count = list_candidates(checker->candidates);
    return open_devices(checker);
}

bool checker_only(Checker *checker, const Candidate *candidate)
{
    close_devices(checker);
    checker->candidates[0] = *candidate;
    checker->candidate_count = 1;
    return open_devices(checker);
}

void checker_close(Checker *checker)
{
    close_devices(checker);
    device_close(&checker->plain);
}

/* ---- random numbers ---- */

static uint32_t random_bits(Checker *checker)
{
    Philox drawn = draw(checker->seed, DRAW_WEIGHTS, checker->case_number, 0, checker->draws / 4);
    return drawn.v[checker->draws++ % 4];
}

double uniform(Checker *checker, double low, double high)
{
    return low + (high - low) * (double)philox_uniform(random_bits(checker));
}

int between(Checker *checker, int low, int high)
{
    return low + (int)augment_below(random_bits(checker), (uint32_t)(high - low) + 1);
}

/* ---- trials ---- */

void *must_allocate(size_t bytes)
{
    void *memory = calloc(bytes + 1, 1);
    if (!memory) {
        fprintf(stderr, "out of memory: a test's buffer of %zu bytes\n", bytes);
        abort();
    }
    return memory;
}

void *trial_bytes(Trial *trial, const char *name, BufferRole role, BufferKind kind, size_t bytes)
{
    if (trial->count == MAX_BUFFERS)
        abort();
    Buffer *buffer = &trial->buffers[trial->count++];
    *buffer = (Buffer){.name = name, .role = role, .kind = kind, .bytes = bytes};
    if (role == INPUT || role == CHANGED)
        buffer->before = must_allocate(bytes);
    return buffer->before;
}

float *trial_floats(Trial *trial, const char *name, BufferRole role, size_t count)
{
    return trial_bytes(trial, name, role, FLOATS, count * sizeof(float));
}

float *trial_random(Checker *checker, Trial *trial, const char *name, size_t count, double low,
                    double high)
{
    float *values = trial_floats(trial, name, INPUT, count);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)uniform(checker, low, high);
    return values;
}

void trial_absent(Trial *trial, const char *name)
{
    trial_bytes(trial, name, ABSENT, FLOATS, 0);
}

void trial_result(Trial *trial, const char *name, size_t count, double typical)
{
    trial_floats(trial, name, OUTPUT, count);
    trial->buffers[trial->count - 1].typical = typical;
}

double rms(const float *values, size_t count)
{
    double sum = 0.0;
    size_t numbers = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            sum += (double)values[i] * values[i];
            numbers++;
        }
    return numbers ? sqrt(sum / (double)numbers) : 0.0;
}

/* ---- failures ---- */

static void report(Checker *checker, const char *device, const Trial *trial, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));

static void report(Checker *checker, const char *device, const Trial *trial, const char *format,
                   ...)
{
    char text[sizeof checker->message];
    int length =
        snprintf(text, sizeof text, "%s, %s, %s: ", checker->now->name, device, trial->shape);
    if (length > 0 && (size_t)length < sizeof text) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
        va_end(arguments);
    }
    if (checker->failures++ == 0)
        memcpy(checker->message, text, sizeof text);
    enum { ENOUGH = 20 };
    if (!checker->quiet && checker->failures <= ENOUGH)
        fprintf(stderr, "FAILED %s\n", text);
}

/* ---- one run on one device ---- */

static uint8_t guard_byte(size_t place)
{
    return (uint8_t)(0xa5 + 37 * place);
}

/* A buffer between its guards, as it lies on the device. */
static uint8_t *framed(const Buffer *buffer)
{
    uint8_t *frame = must_allocate(buffer->bytes + 2 * GUARD);
    for (size_t i = 0; i < GUARD; i++)
        frame[i] = frame[GUARD + buffer->bytes + i] = guard_byte(i);
    if (buffer->before)
        memcpy(frame + GUARD, buffer->before, buffer->bytes);
    else
        memset(frame + GUARD, POISON, buffer->bytes);
    return frame;
}

static void check_frame(Checker *checker, const char *name, const Trial *trial,
                        const Buffer *buffer, const uint8_t *frame)
{
    for (size_t i = 0; i < GUARD; i++) {
        if (frame[i] != guard_byte(i)) {
            report(checker, name, trial, "writes %zu bytes before the begin of %s", GUARD - i,
                   buffer->name);
            return;
        }
        if (frame[GUARD + buffer->bytes + i] != guard_byte(i)) {
            report(checker, name, trial, "writes %zu bytes past the end of %s", i + 1,
                   buffer->name);
            return;
        }
    }
    if (buffer->role == INPUT && memcmp(frame + GUARD, buffer->before, buffer->bytes) != 0)
        report(checker, name, trial, "changes its input %s", buffer->name);
}

typedef struct Run {
    uint8_t *frames[MAX_BUFFERS];
    void *after[MAX_BUFFERS]; /* contents afterwards, within the frames */
    bool finished;
    Error error;
} Run;

static void free_run(Run *run)
{
    for (int i = 0; i < MAX_BUFFERS; i++)
        free(run->frames[i]);
    *run = (Run){0};
}

/* Runs the trial; while the operation itself runs memory is exhausted if `starved`. */
static bool run_trial(Checker *checker, const Device *device, const char *name, const Trial *trial,
                      bool starved, Run *run)
{
    const Operations *ops = device->operations;
    void *memory[MAX_BUFFERS] = {0}, *pointers[MAX_BUFFERS] = {0};
    *run = (Run){0};
    bool fine = true;
    for (int i = 0; i < trial->count; i++) {
        const Buffer *buffer = &trial->buffers[i];
        if (buffer->role == ABSENT)
            continue;
        size_t bytes = buffer->bytes + 2 * GUARD;
        run->frames[i] = framed(buffer);
        memory[i] = ops->allocate(device->backend, bytes, buffer->name, &run->error);
        if (!memory[i]) {
            report(checker, name, trial, "no memory for %s", buffer->name);
            fine = false;
            break;
        }
        pointers[i] = (uint8_t *)memory[i] + GUARD;
        ops->upload(device->backend, memory[i], run->frames[i], bytes);
    }
    if (fine) {
        if (starved)
            memory_fail_after(0);
        trial->call(ops, device->backend, trial->arguments, pointers);
        memory_fail_after(-1);
        run->finished = ops->finish(device->backend, &run->error);
    }
    for (int i = 0; i < trial->count; i++) {
        const Buffer *buffer = &trial->buffers[i];
        if (fine && memory[i]) {
            ops->download(device->backend, run->frames[i], memory[i], buffer->bytes + 2 * GUARD);
            run->after[i] = run->frames[i] + GUARD;
            check_frame(checker, name, trial, buffer, run->frames[i]);
        }
        ops->release(device->backend, memory[i]);
    }
    return fine;
}

/* ---- comparing ---- */

static void compare_floats(Checker *checker, int candidate, const char *name, const Trial *trial,
                           const Buffer *buffer, const float *result, const float *expected)
{
    size_t count = buffer->bytes / sizeof(float);
    double size = fmax(rms(expected, count), buffer->typical);
    double squares = 0.0, largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (trial->has_nan && isnan(expected[i]) && isnan(result[i]))
            continue;
        if (!isfinite(expected[i]) || !isfinite(result[i])) {
            report(checker, name, trial, "%s[%zu] is %g, plain %g", buffer->name, i,
                   (double)result[i], (double)expected[i]);
            return;
        }
        double difference = fabs((double)result[i] - expected[i]);
        squares += difference * difference;
        largest = fmax(largest, difference / fmax(size, fabs((double)expected[i])));
    }
    if (largest == 0.0)
        return;
    double norm = sqrt(squares / (double)count) / size, element = largest;
    Worst *worst = &checker->worst[checker->case_number][candidate];
    worst->norm = fmax(worst->norm, norm);
    worst->element = fmax(worst->element, element);
    bool tf32 = checker->candidates[candidate].cuda.precision == PRECISION_TF32;
    double norm_allowed = tf32 ? checker->now->tf32_norm : checker->now->norm;
    double element_allowed = tf32 ? checker->now->tf32_element : checker->now->element;
    /* Written so that a NaN fails. */
    if (norm <= norm_allowed && element <= element_allowed)
        return;
    size_t first = 0;
    double allowed = fmin(element_allowed, norm_allowed);
    while (first < count - 1 && !(fabs((double)result[first] - expected[first]) >
                                  allowed * fmax(size, fabs((double)expected[first]))))
        first++;
    report(checker, name, trial,
           "%s is off by %.2g (norm), %.2g (element): %s[%zu] is %.9g, "
           "plain %.9g",
           buffer->name, norm, element, buffer->name, first, (double)result[first],
           (double)expected[first]);
}

static void compare_doubles(Checker *checker, int candidate, const char *name, const Trial *trial,
                            const Buffer *buffer, const double *result, const double *expected)
{
    Worst *worst = &checker->worst[checker->case_number][candidate];
    for (size_t i = 0; i < buffer->bytes / sizeof(double); i++) {
        double error = fabs(result[i] - expected[i]) / fmax(fabs(expected[i]), buffer->typical);
        /* Written so that a NaN fails. */
        if (!(error <= checker->now->element)) {
            report(checker, name, trial, "%s[%zu] is %.17g, plain %.17g", buffer->name, i,
                   result[i], expected[i]);
            return;
        }
        worst->element = fmax(worst->element, error);
    }
}

static bool same_sum(double a, double b)
{
    return isfinite(b) ? fabs(a - b) <= 1e-6 * fabs(b) : !isfinite(a);
}

static void compare_totals(Checker *checker, const char *name, const Trial *trial,
                           const Totals *result, const Totals *expected)
{
    if (!same_sum(result->loss, expected->loss) ||
        !same_sum(result->batch_loss, expected->batch_loss))
        report(checker, name, trial, "loss %.12g of the batch %.12g, plain %.12g of %.12g",
               result->loss, result->batch_loss, expected->loss, expected->batch_loss);
    if (result->correct != expected->correct || result->batch_correct != expected->batch_correct ||
        result->bad_step != expected->bad_step)
        report(checker, name, trial, "counts of the totals differ");
}

static void compare(Checker *checker, int candidate, const char *name, const Trial *trial,
                    const Run *run, const Run *plain)
{
    const char *wrong = trial->verify ? trial->verify(trial, run->after) : NULL;
    if (wrong)
        report(checker, name, trial, "%s", wrong);
    for (int i = 0; i < trial->count; i++) {
        const Buffer *buffer = &trial->buffers[i];
        if (buffer->role != OUTPUT && buffer->role != CHANGED)
            continue;
        const uint8_t *result = run->after[i], *expected = plain->after[i];
        if (buffer->kind == FLOATS)
            compare_floats(checker, candidate, name, trial, buffer, run->after[i], plain->after[i]);
        else if (buffer->kind == DOUBLES)
            compare_doubles(checker, candidate, name, trial, buffer, run->after[i],
                            plain->after[i]);
        else if (buffer->kind == TOTALS)
            compare_totals(checker, name, trial, run->after[i], plain->after[i]);
        else
            for (size_t b = 0; b < buffer->bytes; b++)
                if (result[b] != expected[b]) {
                    report(checker, name, trial, "%s: byte %zu is %d, plain %d", buffer->name, b,
                           result[b], expected[b]);
                    break;
                }
    }
}

/* Bit for bit: the number of threads must not show. */
static void compare_threads(Checker *checker, const char *name, const Trial *trial, const Run *run,
                            const Run *one_thread)
{
    for (int i = 0; i < trial->count; i++) {
        const Buffer *buffer = &trial->buffers[i];
        const uint8_t *a = run->after[i], *b = one_thread->after[i];
        if (!a || !b || memcmp(a, b, buffer->bytes) == 0)
            continue;
        size_t first = 0;
        while (a[first] == b[first])
            first++;
        report(checker, name, trial, "%s[%zu] is not what one thread gives", buffer->name,
               first / sizeof(float));
    }
}

/* On a fresh device with no memory for its work: no crash, the failure told once, and all well
 * again afterwards. */
static void check_shortage(Checker *checker, int candidate, const Trial *trial, const Run *plain)
{
    const Candidate *c = &checker->candidates[candidate];
    Device device;
    Error error = {0};
    if (!c->open(c, 2, &device, &error)) {
        report(checker, c->name, trial, "%s", error.text);
        return;
    }
    Run run;
    if (run_trial(checker, &device, c->name, trial, true, &run)) {
        if (run.finished)
            compare(checker, candidate, c->name, trial, &run, plain);
        else if (run.error.status != STATUS_FAILED || !strstr(run.error.text, "out of memory"))
            report(checker, c->name, trial, "without memory: '%s'", run.error.text);
        else
            checker->shortages++;
    }
    free_run(&run);
    if (run_trial(checker, &device, c->name, trial, false, &run)) {
        if (run.finished)
            compare(checker, candidate, c->name, trial, &run, plain);
        else
            report(checker, c->name, trial, "fails after a shortage of memory: '%s'",
                   run.error.text);
    }
    free_run(&run);
    device_close(&device);
}

static void check_candidate(Checker *checker, int candidate, const Trial *trial, const Run *plain)
{
    const char *name = checker->candidates[candidate].name;
    Run one_thread;
    if (run_trial(checker, &checker->devices[candidate][0], name, trial, false, &one_thread)) {
        if (one_thread.finished)
            compare(checker, candidate, name, trial, &one_thread, plain);
        else
            report(checker, name, trial, "'%s'", one_thread.error.text);
        /* More threads than processors take long to come together: not all every time. */
        enum { TRIALS_WITH_ALL_THREADS = 16 };
        int count = tries(&checker->candidates[candidate]);
        for (int t = 1; t < count; t++) {
            if (checker->trial_number >= TRIALS_WITH_ALL_THREADS &&
                checker->trial_number % (uint32_t)(count - 1) != (uint32_t)t - 1)
                continue;
            Run run;
            char with_threads[64];
            snprintf(with_threads, sizeof with_threads, "%s with %d threads", name,
                     thread_counts[t]);
            if (run_trial(checker, &checker->devices[candidate][t], with_threads, trial, false,
                          &run))
                compare_threads(checker, with_threads, trial, &run, &one_thread);
            free_run(&run);
        }
    }
    free_run(&one_thread);
}

void check_trial(Checker *checker, Trial *trial)
{
    Run plain;
    if (run_trial(checker, &checker->plain, "plain", trial, false, &plain)) {
        const char *wrong = trial->verify ? trial->verify(trial, plain.after) : NULL;
        if (wrong)
            report(checker, "plain", trial, "%s", wrong);
        enum { TRIALS_WITHOUT_MEMORY = 3 };
        for (int c = 0; c < checker->candidate_count; c++) {
            if (checker->candidates[c].cuda.precision != PRECISION_FP32 &&
                checker->now->tf32_norm == 0.0)
                continue;
            check_candidate(checker, c, trial, &plain);
            if (checker->trial_number < TRIALS_WITHOUT_MEMORY)
                check_shortage(checker, c, trial, &plain);
        }
    }
    free_run(&plain);
    for (int i = 0; i < trial->count; i++)
        free(trial->buffers[i].before);
    trial->count = 0;
    checker->trial_number++;
}

void checker_run(Checker *checker, const OperationCase *operation, uint32_t number)
{
    checker->now = operation;
    checker->case_number = number;
    checker->trial_number = checker->draws = 0;
    operation->check(checker);
}

int random_trials(const Checker *checker, int trials, int share)
{
    return checker->quick ? (trials + share - 1) / share : trials;
}
