/* Runs a trial on one device, with its buffers between guard zones. */
#include "run.h"

#include "nnmf/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 256, POISON = 0xff }; /* bytes; four of POISON are a NaN */

/* ---- failures ---- */

void report(Checker *checker, const char *device, const Trial *trial, const char *format, ...)
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

/* Returns the contents of a buffer and its guards, as uploaded to the device. */
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
            report(checker, name, trial, "writes %zu bytes before the start of %s", GUARD - i,
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

void free_run(Run *run)
{
    for (int i = 0; i < MAX_BUFFERS; i++)
        free(run->frames[i]);
    *run = (Run){0};
}

bool run_trial(Checker *checker, const Device *device, const char *name, const Trial *trial,
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
