/* Replaces dlopen and dlsym at link time, so that the back end finds the cuBLAS of blas.cc. Other
 * libraries are the system's. */
#include "cuda_host.h"

#include "cublas.cuh"

#include <cstring>
#include <dlfcn.h>
#include <string>

#define TEXT_OF(name) #name
#define TEXT(macro) TEXT_OF(macro)

/* Of the toolkit that the back end is built with: kernels/cuda.cuh. */
extern const char cuda_oldest_driver[], cuda_toolkit_libraries[];
const char cuda_oldest_driver[] = "580.65.06";
const char cuda_toolkit_libraries[] = "/toolkit";

static const char library[] = "libcublas.so." TEXT(CUBLAS_VER_MAJOR);
static const char *lacking;

void cuda_host_lack(const char *name)
{
    lacking = name;
}

static bool is_lacking(const char *name)
{
    return lacking && strcmp(name, lacking) == 0;
}

static const struct Function {
    const char *name;
    void *address;
} functions[] = {
#define X(member, function) {TEXT(function), reinterpret_cast<void *>(&function)},
    CUBLAS_FUNCTIONS(X)
#undef X
};

extern "C" {

void *__real_dlopen(const char *name, int flags);
void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlsym(void *handle, const char *name);

void *__wrap_dlopen(const char *name, int flags)
{
    if (!name || strcmp(name, library) != 0)
        return __real_dlopen(name, flags);
    if (is_lacking(library)) /* the system may have it */
        return __real_dlopen(("/nowhere/" + std::string(name)).c_str(), flags);
    return const_cast<char *>(library);
}

void *__wrap_dlsym(void *handle, const char *name)
{
    if (handle != library)
        return __real_dlsym(handle, name);
    for (const Function &function : functions)
        if (strcmp(name, function.name) == 0 && !is_lacking(name))
            return function.address;
    return nullptr;
}
}
