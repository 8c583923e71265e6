#include "ceiling.h"

#include "nnmf/memory.h"
#include "nnmf/progress.h"

#include <dlfcn.h>
#include <string.h>

enum { SIDE = 2048, ROW_MAJOR = 101, NO_TRANSPOSE = 111 };

typedef void Sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

/* A function's address comes as an object pointer; POSIX lets it be copied like this. */
static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

void ceiling_open(Ceiling *ceiling, int threads)
{
    static const char *const names[] = {"libopenblas.so.0", "libblas.so.3"};
    *ceiling = (Ceiling){0};
    for (size_t i = 0; !ceiling->library && i < sizeof names / sizeof *names; i++) {
        ceiling->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        ceiling->name = names[i];
        Sgemm *sgemm;
        if (ceiling->library && !find(ceiling->library, "cblas_sgemm", &sgemm)) {
            dlclose(ceiling->library);
            ceiling->library = NULL;
        }
    }
    void (*set_threads)(int);
    if (ceiling->library && find(ceiling->library, "openblas_set_num_threads", &set_threads))
        set_threads(threads);
}

bool ceiling_measure(Ceiling *ceiling, Error *error)
{
    Sgemm *sgemm;
    if (!ceiling->library || !find(ceiling->library, "cblas_sgemm", &sgemm))
        return true;
    size_t elements = (size_t)SIDE * SIDE;
    float *a = memory_allocate(3 * elements, sizeof *a, "matrices", error);
    if (!a)
        return false;
    for (size_t i = 0; i < 2 * elements; i++)
        a[i] = (float)(i % 17) * 0.125f;
    for (int i = 0; i < 3; i++) {
        double started = seconds_now();
        sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, SIDE, SIDE, SIDE, 1.0f, a, SIDE, a + elements,
              SIDE, 0.0f, a + 2 * elements, SIDE);
        double flops = 2.0 * SIDE * SIDE * SIDE / (seconds_now() - started);
        ceiling->flops = flops > ceiling->flops ? flops : ceiling->flops;
    }
    memory_free(a);
    return true;
}

void ceiling_close(Ceiling *ceiling)
{
    if (ceiling->library)
        dlclose(ceiling->library);
    *ceiling = (Ceiling){0};
}
