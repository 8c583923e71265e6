/* The functions of cuBLAS that the back end calls. Its library is opened together with the GPU, so
 * the program also starts without it and uses the CPU. */
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

/* Opens the library, which stays open. Fails without one; the error states what to install. */
bool cublas_open(Cublas *cublas, Error *error);

#endif
