/* The fast CPU device: scratch memory, failures, choice of the instruction set, threads. */
#include "operations/cpu/cpu.h"

#include "nnmf/device.h"
#include "nnmf/memory.h"
#include "operations/plain/plain.h"

#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- scratch memory and failures ---- */

bool cpu_scratch(Backend *backend, size_t shared, size_t each, Scratch *scratch)
{
    enum { LINE = 16 }; /* floats in a cache line */
    size_t shared_rounded = (shared + LINE - 1) / LINE * LINE;
    /* An unused line between the parts of two threads avoids false sharing. */
    scratch->stride = (each + LINE - 1) / LINE * LINE + LINE;
    size_t all = shared_rounded + scratch->stride * (size_t)backend->threads;
    if (all * sizeof(float) > backend->scratch_bytes) {
        memory_free(backend->scratch);
        backend->scratch_bytes = 0;
        Error error = {0};
        backend->scratch =
            memory_allocate(all, sizeof(float), "work space of an operation", &error);
        if (!backend->scratch) {
            if (backend->error.status == STATUS_OK)
                backend->error = error;
            return false;
        }
        backend->scratch_bytes = all * sizeof(float);
    }
    scratch->shared = backend->scratch;
    scratch->threads = scratch->shared + shared_rounded;
    return true;
}

static bool finish(Backend *backend, Error *error)
{
    if (backend->error.status == STATUS_OK)
        return true;
    *error = backend->error;
    backend->error = (Error){0};
    return false;
}

static void close_cpu(Backend *backend)
{
    memory_free(backend->scratch);
    memory_free(backend);
}

/* ---- instruction sets ---- */

typedef struct InstructionSet {
    const char *name;
    void (*fill)(Operations *table);
} InstructionSet;

#define FILL_AVX512(family) cpu_##family##_table_avx512(table);
#define FILL_AVX2(family) cpu_##family##_table_avx2(table);
#define FILL_PORTABLE(family) cpu_##family##_table_portable(table);

#if defined CPU_AVX_SETS
static void fill_avx512(Operations *table)
{
    FAST_OPERATION_FAMILIES(FILL_AVX512)
}

static void fill_avx2(Operations *table)
{
    FAST_OPERATION_FAMILIES(FILL_AVX2)
}
#endif

static void fill_portable(Operations *table)
{
    FAST_OPERATION_FAMILIES(FILL_PORTABLE)
}

static const InstructionSet sets[] = {
#if defined CPU_AVX_SETS
    {"avx512", fill_avx512},
    {"avx2", fill_avx2},
#endif
    {"portable", fill_portable},
};

const char *const cpu_instruction_set_names[] = {"auto", "avx512", "avx2", "portable", NULL};

static bool supported(const char *name)
{
#if defined CPU_AVX_SETS
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return strcmp(name, "portable") == 0;
}

static const InstructionSet *set_number(int number)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (supported(sets[i].name) && number-- == 0)
            return &sets[i];
    return NULL;
}

const char *cpu_instruction_set(int number)
{
    const InstructionSet *set = set_number(number);
    return set ? set->name : NULL;
}

/* ---- opening ---- */

static Operations cpu_operations[sizeof sets / sizeof *sets];

static void *wait_at_gate(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* OpenMP exits if it cannot start its threads. So as many threads are started and joined first, to
 * report a failure instead; the C library keeps their stacks for the next ones. */
static bool start_threads(int threads, Error *error)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *others = memory_allocate((size_t)threads, sizeof *others, "threads", error);
    if (!others)
        return false;
    int started = 0;
    pthread_mutex_lock(&gate);
    while (started < threads - 1 &&
           pthread_create(&others[started], NULL, wait_at_gate, &gate) == 0)
        started++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    memory_free(others);
    if (started < threads - 1)
        return fail(error, "cannot start threads: --threads %d: memory and limits let %d start",
                    threads, started + 1);
    omp_set_num_threads(threads);
#pragma omp parallel num_threads(threads)
    {
    }
    return true;
}

/* Returns NULL, with an error that lists the supported sets, if there is no such set. */
static const InstructionSet *choose_set(const char *name, Error *error)
{
    if (!name || strcmp(name, cpu_instruction_set_names[0]) == 0)
        return set_number(0);
    char supported_names[64] = "";
    const InstructionSet *set;
    for (int i = 0; (set = set_number(i)); i++) {
        if (strcmp(set->name, name) == 0)
            return set;
        size_t length = strlen(supported_names);
        snprintf(supported_names + length, sizeof supported_names - length, "%s%s", i ? ", " : "",
                 set->name);
    }
    fail(error, "no such instruction set: --cpu %s: this program on this processor has: %s", name,
         supported_names);
    return NULL;
}

bool device_open_cpu(Device *device, const CpuOptions *options, Error *error)
{
    const InstructionSet *set = choose_set(options->instruction_set, error);
    if (!set)
        return false;
    Backend *backend = memory_allocate(1, sizeof *backend, "the CPU back end", error);
    if (!backend)
        return false;
    backend->threads = options->threads > 0 ? options->threads : omp_get_num_procs();
    if (!start_threads(backend->threads, error)) {
        memory_free(backend);
        return false;
    }

    Operations *table = &cpu_operations[set - sets];
    plain_table(table);
    set->fill(table);
    table->name = set->name;
    table->finish = finish;
    *device =
        (Device){.kind = DEVICE_CPU, .operations = table, .backend = backend, .close = close_cpu};
    snprintf(device->description, sizeof device->description, "CPU, %s, %d thread%s", set->name,
             backend->threads, backend->threads == 1 ? "" : "s");
    return true;
}
