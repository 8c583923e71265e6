/* The emulation's cuBLAS. */
#include "expect.h"

#include <cmath>
#include <cstdio>
#include <vector>

static float element(const std::vector<float> &matrix, int ld, bool transpose, int i, int j)
{
    return matrix[size_t(transpose ? i * ld + j : j * ld + i)];
}

static void test_sgemm(void)
{
    const int m = 5, n = 3, k = 7, lda = 9, ldb = 8, ldc = 6;
    const float alpha = 0.5f, beta = 2, zero = 0;
    cublasHandle_t blas;
    BLAS(cublasCreate(&blas));
    for (int way = 0; way < 4; way++) {
        bool ta = way & 1, tb = way & 2;
        std::vector<float> a = numbers(size_t(lda * (ta ? m : k))),
                           b = numbers(size_t(ldb * (tb ? k : n))), c = numbers(size_t(ldc * n));
        Buffer<float> da(a), db(b), dc(c), fresh(size_t(ldc * n));
        cublasOperation_t opa = ta ? CUBLAS_OP_T : CUBLAS_OP_N,
                          opb = tb ? CUBLAS_OP_T : CUBLAS_OP_N;
        BLAS(cublasSetMathMode(blas, CUBLAS_PEDANTIC_MATH));
        BLAS(cublasSgemm(blas, opa, opb, m, n, k, &alpha, da.data, lda, db.data, ldb, &beta,
                         dc.data, ldc));
        BLAS(cublasSetMathMode(blas, CUBLAS_TF32_TENSOR_OP_MATH));
        BLAS(cublasSgemm(blas, opa, opb, m, n, k, &alpha, da.data, lda, db.data, ldb, &zero,
                         fresh.data, ldc));
        std::vector<float> got = dc.read(), got_fresh = fresh.read();
        for (int j = 0; j < n; j++)
            for (int i = 0; i < ldc; i++) {
                float sum = 0;
                for (int l = 0; l < k && i < m; l++)
                    sum += element(a, lda, ta, i, l) * element(b, ldb, tb, l, j);
                size_t at = size_t(j * ldc + i);
                EXPECT(got[at] == (i < m ? alpha * sum + beta * c[at] : c[at]));
                /* Small integers are exact in TF32; gaps stay unset. */
                EXPECT(i < m ? got_fresh[at] == alpha * sum : std::isnan(got_fresh[at]));
            }
    }
    Buffer<float> x(std::vector<float>{1.0f + 0x1p-11f}), y(std::vector<float>{1}), z(1);
    const float one = 1;
    BLAS(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, x.data, 1, y.data, 1, &zero,
                     z.data, 1));
    EXPECT(z.read()[0] == 1.0f + 0x1p-10f);
    EXPECT(cublasSgemm(blas, CUBLAS_OP_N, CUBLAS_OP_N, 2, 1, 1, &one, x.data, 1, y.data, 1, &zero,
                       z.data, 2) == CUBLAS_STATUS_INVALID_VALUE);
    EXPECT(cublasSgemm(blas, CUBLAS_OP_T, CUBLAS_OP_N, 1, 1, 2, &one, x.data, 1, y.data, 2, &zero,
                       z.data, 1) == CUBLAS_STATUS_INVALID_VALUE);
    BLAS(cublasDestroy(blas));
}

int main(void)
{
    test_sgemm();
    puts("cuBLAS works");
    return 0;
}
