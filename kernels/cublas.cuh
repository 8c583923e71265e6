/*
 * What the back end calls of cuBLAS. Its library is opened together with the GPU and is no
 * dependency of the program, which therefore starts, and computes on the CPU, where there is none.
 */
#ifndef NNMF_CUBLAS_CUH
#define NNMF_CUBLAS_CUH

#include "nnmf/error.h"

#include <cublas_v2.h>

#define CUBLAS_FUNCTIONS(X)                                                                        \
    X(create, cublasCreate)                                                                        \
    X(destroy, cublasDestroy)                                                                      \
    X(set_stream, cublasSetStream)                                                                 \
    X(set_workspace, cublasSetWorkspace)                                                           \
    X(set_math_mode, cublasSetMathMode)                                                            \
    X(status_string, cublasGetStatusString)                                                        \
    X(sgemm, cublasSgemm)

struct Cublas {
#define DECLARE(member, function) decltype(&function) member;
    CUBLAS_FUNCTIONS(DECLARE)
#undef DECLARE
};

/* Opens the library, which stays open; fails, saying what to install, where there is none. */
bool cublas_open(Cublas *cublas, Error *error);

#endif
