/* NNMF by cuBLAS: the two products of an iteration and the steps between them run one after
 * another, through device memory; so does the backward rule. Works for any shape, and is the
 * baseline for the fused kernels. */
#include "cuda.cuh"
#include "nnmf_terms.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP };

static __global__ void fill_kernel(size_t elements, float value, float *to)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < elements)
        to[i] = value;
}

/* Replaces r by x / (r + EPSILON_R). */
static __global__ void ratio_kernel(size_t elements, const float *x, float *r)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < elements)
        r[i] = quotient(x[i], r[i] + (float)EPSILON_R);
}

/* Updates h = h s, or h (1 + epsilon s), divided by the sum of its row, one warp per row. */
static __global__ void update_kernel(size_t rows, int outputs, float epsilon, const float *s,
                                     float *h)
{
    size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= rows)
        return;
    int lane = (int)threadIdx.x % WARP;
    s += row * (size_t)outputs;
    h += row * (size_t)outputs;
    float sum = 0.0f;
    for (int n = lane; n < outputs; n += WARP) {
        float value = h[n] * (epsilon != 0.0f ? 1.0f + epsilon * s[n] : s[n]);
        h[n] = value;
        sum += value;
    }
    float scale = quotient(1.0f, warp_sum(sum) + (float)EPSILON_SUM);
    for (int n = lane; n < outputs; n += WARP)
        h[n] *= scale;
}

/* Multiplies batch by batch: for another number of rows cuBLAS may choose another kernel, which
 * sums in another order. */
static void products(Backend *backend, const char *name, const NnmfParams *params,
                     bool transposed_w, const float *left, const float *w, float *to)
{
    size_t rows = params->rows / batch_count(params->batches), features = (size_t)params->features;
    size_t outputs = (size_t)params->outputs;
    size_t columns = transposed_w ? outputs : features, depth = transposed_w ? features : outputs;
    for (size_t first = 0; first < params->rows; first += rows)
        cuda_product(backend, name, false, transposed_w, rows, columns, depth, left + first * depth,
                     w, 0.0f, to + first * columns);
}

void cuda_nnmf_forward_cublas(Backend *backend, const NnmfParams *params, const float *x,
                              const float *w, float *h)
{
    const char *name = "NNMF forward";
    size_t features = (size_t)params->features, outputs = (size_t)params->outputs;
    size_t x_elements = params->rows * features, h_elements = params->rows * outputs;
    float *t = (float *)cuda_scratch(backend, (x_elements + h_elements) * sizeof(float));
    if (!t)
        return;
    float *s = t + x_elements;
    RUN(backend, name, fill_kernel, blocks_for(h_elements, THREADS), THREADS, 0, h_elements,
        1.0f / (float)params->outputs, h);
    for (int i = 0; i < params->iterations; i++) {
        products(backend, name, params, false, h, w, t);
        RUN(backend, name, ratio_kernel, blocks_for(x_elements, THREADS), THREADS, 0, x_elements, x,
            t);
        products(backend, name, params, true, t, w, s);
        RUN(backend, name, update_kernel, blocks_for(params->rows, WARPS), THREADS, 0, params->rows,
            params->outputs, params->epsilon, s, h);
    }
}

/* both (2, elements): h, then h dh. */
static __global__ void stack_kernel(size_t elements, const float *h, const float *dh, float *both)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    both[i] = h[i];
    both[elements + i] = h[i] * dh[i];
}

/* Computes dx from r = h w and u = (h dh) w, and replaces them by b and a of
 * dw = h^T b + (h dh)^T a. */
static __global__ void backward_kernel(size_t elements, LocalLearning local, const float *x,
                                       float *r_to_b, float *u_to_a, float *dx)
{
    size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= elements)
        return;
    BackwardTerms terms = backward_terms(local, x[i], r_to_b[i], u_to_a[i]);
    if (dx)
        dx[i] = terms.dx;
    r_to_b[i] = terms.b;
    u_to_a[i] = terms.a;
}

/* h and h dh are stored one after the other, and so are their factors: one product with twice the
 * rows computes r and u, and one product both parts of dw. */
void cuda_nnmf_backward_cublas(Backend *backend, const NnmfParams *params, const float *x,
                               const float *w, const float *h, const float *dh, float *dx,
                               float *dw)
{
    const char *name = "NNMF backward";
    size_t features = (size_t)params->features, outputs = (size_t)params->outputs;
    size_t x_elements = params->rows * features, h_elements = params->rows * outputs;
    float *r = (float *)cuda_scratch(backend, 2 * (x_elements + h_elements) * sizeof(float));
    if (!r)
        return;
    float *u = r + x_elements, *both = u + x_elements;
    RUN(backend, name, stack_kernel, blocks_for(h_elements, THREADS), THREADS, 0, h_elements, h, dh,
        both);
    cuda_product(backend, name, false, false, 2 * params->rows, features, outputs, both, w, 0.0f,
                 r);
    RUN(backend, name, backward_kernel, blocks_for(x_elements, THREADS), THREADS, 0, x_elements,
        params->local_learning, x, r, u, dx);
    size_t rows = params->local_learning == LOCAL_NONE ? 2 * params->rows : params->rows;
    cuda_product(backend, name, true, false, outputs, features, rows, both, r, 0.0f, dw);
}
