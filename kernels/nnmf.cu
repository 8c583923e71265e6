/* Chooses among the implementations of NNMF, forward and backward. */
#include "cuda.cuh"

static void nnmf_forward(Backend *backend, const NnmfShape *shape, const float *x, const float *w,
                         float *h)
{
    if (backend->fused && backend->precision != PRECISION_FP32 &&
        cuda_nnmf_forward_tensor(backend, shape, x, w, h))
        return;
    if (!backend->fused || !cuda_nnmf_forward_fused(backend, shape, x, w, h))
        cuda_nnmf_forward_cublas(backend, shape, x, w, h);
}

static void nnmf_backward(Backend *backend, const NnmfShape *shape, const float *x, const float *w,
                          const float *h, const float *dh, float *dx, float *dw)
{
    if (!backend->fused || !cuda_nnmf_backward_fused(backend, shape, x, w, h, dh, dx, dw))
        cuda_nnmf_backward_cublas(backend, shape, x, w, h, dh, dx, dw);
}

void cuda_nnmf_table(Operations *table)
{
    table->nnmf_forward = nnmf_forward;
    table->nnmf_backward = nnmf_backward;
}
