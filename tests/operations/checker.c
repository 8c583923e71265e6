/* The devices under test, and the runs of a trial on them. */
#include "checker.h"

#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int thread_counts[THREAD_COUNTS] = {1, 2, 3, 7};

/* ---- devices ---- */

static bool open_cpu(const Candidate *candidate, int threads, Device *device, Error *error)
{
    return device_open_cpu(device, &(CpuOptions){candidate->name, threads}, error);
}

/* The number of threads applies to CPUs only. */
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
        printf("no GPU tested: %s\n", error.text);
    return found;
}

/* Lists every device that this build has and this machine can run; returns their number. */
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

/* A GPU is opened twice, to check that the results are bit-identical. With sanitizers the emulated
 * one is opened once, because it is slow and a second run shows them nothing new. */
#ifdef __SANITIZE_ADDRESS__
enum { GPU_TRIES = 1 };
#else
enum { GPU_TRIES = 2 };
#endif

/* Returns how often a candidate is opened, each time with another number of threads. */
static int tries(const Candidate *candidate)
{
    return candidate->open == open_cuda ? GPU_TRIES : THREAD_COUNTS;
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

/* ---- runs ---- */

/* Runs the trial on a new device without memory for scratch: it must not crash, must report the
 * failure once, and must work again afterwards. */
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
        /* More threads than processors are slow to synchronise, so later trials use one number. */
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
