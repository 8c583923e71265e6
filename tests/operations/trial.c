/* Describes a trial: random numbers and buffers. */
#include "checker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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

const int many[MANY] = {97, 100, 128, 256, 1000};

int random_trials(const Checker *checker, int trials, int share)
{
    return checker->quick ? (trials + share - 1) / share : trials;
}

/* ---- buffers ---- */

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
