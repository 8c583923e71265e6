/*
 * Small parallel programs, each correct or with a race, which the detector must accept or report.
 *
 *     planted                   runs the correct ones
 *     planted race NUMBER       runs one with a race; exits with 2 if there is no such number
 *
 * The races occur in any order of the threads, so the report does not depend on luck.
 */
#include <omp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, WIDTH = 64 }; /* floats of a thread's part */

static float parts[THREADS][WIDTH], whole[THREADS * WIDTH];
static int count;

typedef float Vector __attribute__((vector_size(16)));

/* Each thread writes its own part, as with cpu_scratch; with a race all write the first part. */
static void scratch(bool race)
{
#pragma omp parallel num_threads(THREADS)
    {
        float *mine = parts[race ? 0 : omp_get_thread_num()];
        for (int i = 0; i < WIDTH; i++)
            mine[i] = (float)i;
    }
}

/* The same with the widest accesses of the portable instruction set. */
static void vectors(bool race)
{
#pragma omp parallel num_threads(THREADS)
    {
        float *mine = parts[race ? 0 : omp_get_thread_num()];
        for (int i = 0; i < WIDTH; i += 4)
            *(volatile Vector *)(void *)(mine + i) = (Vector){0};
    }
}

/* The same with memcpy. */
static void copies(bool race)
{
#pragma omp parallel num_threads(THREADS)
    {
        int me = omp_get_thread_num();
        memcpy(parts[race ? 0 : me], whole + me * WIDTH, sizeof parts[0]);
    }
}

/* A thread reads what another one wrote, with or without a barrier between them. */
static void barrier(bool race)
{
#pragma omp parallel num_threads(THREADS)
    {
        int me = omp_get_thread_num();
        memset(parts[me], me, sizeof parts[me]);
        if (!race) {
#pragma omp barrier
        }
        memcpy(whole + me * WIDTH, parts[(me + 1) % THREADS], sizeof parts[me]);
    }
}

/* Reads what the threads wrote after the region; with a race, the first thread reads within it. */
static void join(bool race)
{
#pragma omp parallel num_threads(THREADS)
    {
        int me = omp_get_thread_num();
        parts[me][0] = 1.0f;
        if (race && me == 0)
            parts[1][0] += 1.0f;
    }
    parts[1][0] += parts[2][0];
}

/* A sum over all threads, as a reduction; with a race, all threads add to one variable. */
static void sum(bool race)
{
    if (race) {
#pragma omp parallel num_threads(THREADS)
        count += omp_get_thread_num();
        return;
    }
    int total = 0;
#pragma omp parallel num_threads(THREADS) reduction(+ : total)
    total += omp_get_thread_num();
    count = total;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *behind_the_gate(void *race)
{
    if (!race)
        pthread_mutex_lock(&gate);
    count++;
    if (!race)
        pthread_mutex_unlock(&gate);
    return NULL;
}

/* Threads without OpenMP. */
static void mutex(bool race)
{
    pthread_t others[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&others[i], NULL, behind_the_gate, race ? &gate : NULL) != 0)
            abort();
    for (int i = 0; i < THREADS; i++)
        pthread_join(others[i], NULL);
}

static void (*const all[])(bool race) = {scratch, vectors, copies, barrier, join, sum, mutex};

int main(int argc, char **argv)
{
    enum { COUNT = sizeof all / sizeof *all };
    if (argc > 2) {
        int number = atoi(argv[2]);
        if (number < 0 || number >= COUNT)
            return 2;
        all[number](true);
        return 0;
    }
    for (int i = 0; i < COUNT; i++)
        all[i](false);
    printf("%d\n", COUNT);
    return 0;
}
