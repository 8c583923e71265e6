#include "operations/plain/plain.h"

#include "nnmf/device.h"
#include "nnmf/memory.h"

#include <stdio.h>
#include <string.h>

static void *allocate(Backend *backend, size_t bytes, const char *what, Error *error)
{
    (void)backend;
    return memory_allocate(bytes, 1, what, error);
}

static void release(Backend *backend, void *memory)
{
    (void)backend;
    memory_free(memory);
}

static void upload(Backend *backend, void *device, const void *host, size_t bytes)
{
    (void)backend;
    memcpy(device, host, bytes);
}

static void download(Backend *backend, void *host, const void *device, size_t bytes)
{
    (void)backend;
    memcpy(host, device, bytes);
}

static bool finish(Backend *backend, Error *error)
{
    (void)backend;
    (void)error;
    return true;
}

void plain_table(Operations *table)
{
    table->name = "plain";
    table->allocate = allocate;
    table->release = release;
    table->upload = upload;
    table->download = download;
    table->finish = finish;
#define PLAIN_FILL(family) plain_##family##_table(table);
    OPERATION_FAMILIES(PLAIN_FILL)
#undef PLAIN_FILL
}

static void close_plain(Backend *backend)
{
    (void)backend;
}

bool device_open_plain(Device *device, Error *error)
{
    (void)error;
    static Operations plain_operations;
    plain_table(&plain_operations);
    *device = (Device){.kind = DEVICE_CPU, .operations = &plain_operations, .close = close_plain};
    snprintf(device->description, sizeof device->description, "CPU, plain C");
    return true;
}
