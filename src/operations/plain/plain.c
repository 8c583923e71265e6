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

void plain_memory_table(Operations *table)
{
    table->allocate = allocate;
    table->release = release;
    table->upload = upload;
    table->download = download;
    table->finish = finish;
}

void plain_table(Operations *table)
{
    table->name = "plain";
    plain_memory_table(table);
    plain_batch_table(table);
    plain_unfold_table(table);
    plain_relu_table(table);
    plain_weight_table(table);
    plain_nnmf_table(table);
    plain_batchnorm_table(table);
    plain_convolution_table(table);
    plain_loss_table(table);
    plain_adam_table(table);
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
