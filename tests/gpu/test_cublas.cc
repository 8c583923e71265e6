/* Checks that the cuBLAS library is found and exports the functions that the back end calls. */
#include "cublas.cuh"

#include <stdio.h>

int main()
{
    Error error = {};
    Cublas cublas;
    if (!cublas_open(&cublas, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    printf("%s\n", cublas.status_string(CUBLAS_STATUS_NOT_INITIALIZED));
    /* Without a handle it refuses, and needs no GPU for that. */
    cublasStatus_t status = cublas.set_stream(NULL, NULL);
    if (status == CUBLAS_STATUS_NOT_INITIALIZED)
        return 0;
    fprintf(stderr, "cublasSetStream without a handle: %s\n", cublas.status_string(status));
    return 1;
}
