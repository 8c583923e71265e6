#include "commands/ceiling.h"

#include "base/time.h"
#include "nnmf/memory.h"

#include <dlfcn.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, CPU_SIDE = 2048, LEAST_SIDE = 256, MOST_SIDE = 8192 };

typedef void Sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* A function's address comes as an object pointer; POSIX lets it be copied like this. */
static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static void open_cblas(Ceiling *ceiling, int threads)
{
    static const char *const names[] = {"libopenblas.so.0", "libblas.so.3"};
    for (size_t i = 0; !ceiling->library && i < sizeof names / sizeof *names; i++) {
        ceiling->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        Sgemm *sgemm;
        if (ceiling->library && !find(ceiling->library, "cblas_sgemm", &sgemm)) {
            dlclose(ceiling->library);
            ceiling->library = NULL;
        }
        ceiling->name = ceiling->library ? names[i] : NULL;
    }
    void (*set_threads)(int);
    if (ceiling->library && find(ceiling->library, "openblas_set_num_threads", &set_threads))
        set_threads(threads);
    char *(*kernels)(void);
    if (ceiling->library && find(ceiling->library, "openblas_get_corename", &kernels))
        ceiling->kernels = kernels();
}

void ceiling_open(Ceiling *ceiling, const Device *device, int threads)
{
    *ceiling = (Ceiling){.device = device, .side = CPU_SIDE};
    if (device->kind == DEVICE_CPU) {
        open_cblas(ceiling, threads);
    } else {
        ceiling->name = "cuBLAS";
        ceiling->side = 0; /* found by the first measuring */
    }
}

static void keep_best(Ceiling *ceiling, double seconds)
{
    double side = ceiling->side, flops = 2.0 * side * side * side / seconds;
    ceiling->flops = flops > ceiling->flops ? flops : ceiling->flops;
}

static bool measure_cblas(Ceiling *ceiling, Error *error)
{
    Sgemm *sgemm;
    int side = ceiling->side;
    if (!ceiling->library || !find(ceiling->library, "cblas_sgemm", &sgemm))
        return true;
    size_t elements = (size_t)side * (size_t)side;
    float *a = memory_allocate(3 * elements, sizeof *a, "matrices", error);
    if (!a)
        return false;
    for (size_t i = 0; i < 2 * elements; i++)
        a[i] = (float)(i % 17) * 0.125f;
    for (int i = 0; i < 3; i++) {
        double started = seconds_now();
        sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, side, side, side, 1.0f, a, side, a + elements,
              side, 0.0f, a + 2 * elements, side);
        keep_best(ceiling, seconds_now() - started);
    }
    memory_free(a);
    return true;
}

/* Seconds of one product of matrices in the device's memory (3, side, side). */
static bool time_product(const Ceiling *ceiling, float *matrices, int side, double *seconds,
                         Error *error)
{
    const Operations *ops = ceiling->device->operations;
    Backend *backend = ceiling->device->backend;
    size_t elements = (size_t)side * (size_t)side;
    ConvolutionShape shape = {.rows = (size_t)side, .in = side, .out = side};
    double started = seconds_now();
    ops->convolution_forward(backend, &shape, matrices, matrices + elements, NULL,
                             matrices + 2 * elements);
    bool good = ops->finish(backend, error);
    *seconds = seconds_now() - started;
    return good;
}

/* The smallest power of two whose product takes long enough to be timed. */
static bool find_side(Ceiling *ceiling, Error *error)
{
    const Operations *ops = ceiling->device->operations;
    Backend *backend = ceiling->device->backend;
    const double least_seconds = 1e-3;
    double seconds = 0.0;
    for (int side = LEAST_SIDE; seconds < least_seconds && side <= MOST_SIDE; side *= 2) {
        size_t bytes = 3 * (size_t)side * (size_t)side * sizeof(float);
        float *matrices = ops->allocate(backend, bytes, "matrices", error);
        bool good = matrices && time_product(ceiling, matrices, side, &seconds, error) &&
                    time_product(ceiling, matrices, side, &seconds, error);
        ops->release(backend, matrices);
        if (!good)
            return false;
        ceiling->side = side;
    }
    return true;
}

static bool measure_device(Ceiling *ceiling, Error *error)
{
    const Operations *ops = ceiling->device->operations;
    Backend *backend = ceiling->device->backend;
    if (!ceiling->side && !find_side(ceiling, error))
        return false;
    size_t bytes = 3 * (size_t)ceiling->side * (size_t)ceiling->side * sizeof(float);
    float *matrices = ops->allocate(backend, bytes, "matrices", error);
    bool good = matrices != NULL;
    for (int i = 0; good && i < 3; i++) {
        double seconds;
        good = time_product(ceiling, matrices, ceiling->side, &seconds, error);
        if (good)
            keep_best(ceiling, seconds);
    }
    ops->release(backend, matrices);
    return good;
}

bool ceiling_measure(Ceiling *ceiling, Error *error)
{
    return ceiling->device->kind == DEVICE_CPU ? measure_cblas(ceiling, error)
                                               : measure_device(ceiling, error);
}

void ceiling_close(Ceiling *ceiling)
{
    if (ceiling->library)
        dlclose(ceiling->library);
    *ceiling = (Ceiling){0};
}
