#include "commands/peak.h"

#include "base/time.h"
#include "nnmf/memory.h"

#include <dlfcn.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, CPU_SIDE = 2048, MIN_SIDE = 256, MAX_SIDE = 8192 };

typedef void Sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* dlsym returns a function as an object pointer; POSIX allows copying its bytes. */
static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static void open_cblas(Peak *peak, int threads)
{
    static const char *const names[] = {"libopenblas.so.0", "libblas.so.3"};
    for (size_t i = 0; !peak->library && i < sizeof names / sizeof *names; i++) {
        peak->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        Sgemm *sgemm;
        if (peak->library && !find(peak->library, "cblas_sgemm", &sgemm)) {
            dlclose(peak->library);
            peak->library = NULL;
        }
        peak->name = peak->library ? names[i] : NULL;
    }
    void (*set_threads)(int);
    if (peak->library && find(peak->library, "openblas_set_num_threads", &set_threads))
        set_threads(threads);
    char *(*kernels)(void);
    if (peak->library && find(peak->library, "openblas_get_corename", &kernels))
        peak->kernels = kernels();
}

void peak_open(Peak *peak, const Device *device, int threads)
{
    *peak = (Peak){.device = device, .side = CPU_SIDE};
    if (device->kind == DEVICE_CPU) {
        open_cblas(peak, threads);
    } else {
        peak->name = "cuBLAS";
        peak->side = 0; /* chosen by the first measurement */
    }
}

static void keep_best(Peak *peak, double seconds)
{
    double side = peak->side, flops = 2.0 * side * side * side / seconds;
    peak->flops = flops > peak->flops ? flops : peak->flops;
}

static bool measure_cblas(Peak *peak, Error *error)
{
    Sgemm *sgemm;
    int side = peak->side;
    if (!peak->library || !find(peak->library, "cblas_sgemm", &sgemm))
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
        keep_best(peak, seconds_now() - started);
    }
    memory_free(a);
    return true;
}

/* Times one product of the matrices in device memory (3, side, side). */
static bool time_product(const Peak *peak, float *matrices, int side, double *seconds, Error *error)
{
    const Operations *ops = peak->device->operations;
    Backend *backend = peak->device->backend;
    size_t elements = (size_t)side * (size_t)side;
    ConvolutionShape shape = {.rows = (size_t)side, .in = side, .out = side};
    double started = seconds_now();
    ops->convolution_forward(backend, &shape, matrices, matrices + elements, NULL,
                             matrices + 2 * elements);
    bool good = ops->finish(backend, error);
    *seconds = seconds_now() - started;
    return good;
}

/* Chooses the smallest power of two whose product takes long enough to be timed. */
static bool find_side(Peak *peak, Error *error)
{
    const Operations *ops = peak->device->operations;
    Backend *backend = peak->device->backend;
    const double min_seconds = 1e-3;
    double seconds = 0.0;
    for (int side = MIN_SIDE; seconds < min_seconds && side <= MAX_SIDE; side *= 2) {
        size_t bytes = 3 * (size_t)side * (size_t)side * sizeof(float);
        float *matrices = ops->allocate(backend, bytes, "matrices", error);
        bool good = matrices && time_product(peak, matrices, side, &seconds, error) &&
                    time_product(peak, matrices, side, &seconds, error);
        ops->release(backend, matrices);
        if (!good)
            return false;
        peak->side = side;
    }
    return true;
}

static bool measure_device(Peak *peak, Error *error)
{
    const Operations *ops = peak->device->operations;
    Backend *backend = peak->device->backend;
    if (!peak->side && !find_side(peak, error))
        return false;
    size_t bytes = 3 * (size_t)peak->side * (size_t)peak->side * sizeof(float);
    float *matrices = ops->allocate(backend, bytes, "matrices", error);
    bool good = matrices != NULL;
    for (int i = 0; good && i < 3; i++) {
        double seconds;
        good = time_product(peak, matrices, peak->side, &seconds, error);
        if (good)
            keep_best(peak, seconds);
    }
    ops->release(backend, matrices);
    return good;
}

bool peak_measure(Peak *peak, Error *error)
{
    return peak->device->kind == DEVICE_CPU ? measure_cblas(peak, error)
                                            : measure_device(peak, error);
}

void peak_close(Peak *peak)
{
    if (peak->library)
        dlclose(peak->library);
    *peak = (Peak){0};
}
