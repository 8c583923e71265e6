/* Selects an implementation of NNMF, forward and backward. */
#include "cuda.cuh"
#include "variants.cuh"

#include <stdio.h>

/* ---- selection ---- */

/* Returns whether the GPU, or the available part of it, can hold a cluster of this variant. */
static bool cluster_fits(Backend *backend, const Variant &v, size_t shared)
{
    int clusters = 0;
    cudaLaunchAttribute attribute = in_clusters_of(v.cluster);
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(v.cluster);
    config.blockDim = dim3(v.threads);
    config.dynamicSmemBytes = shared;
    config.attrs = &attribute;
    config.numAttrs = 1;
    return TRY(backend, "choosing a kernel",
               cudaOccupancyMaxActiveClusters(&clusters, v.kernel, &config)) &&
           clusters >= 1;
}

/* Clusters are for few blocks: at most one for every multiprocessor, counted for one batch; those
 * of further batches wait. */
static bool fits(Backend *backend, const Variant &v, const NnmfParams &s, SharedMemory *shared)
{
    unsigned tiles = blocks_for(s.rows / batch_count(s.batches), v.rows);
    unsigned multiprocessors = (unsigned)backend->multiprocessors;
    if (s.outputs > v.outputs || s.features > v.features ||
        (v.which_rows == MANY_ROWS && tiles < 2 * multiprocessors) ||
        (v.cluster > 1 && (!backend->clusters || tiles * v.cluster > multiprocessors)))
        return false;
    cudaFuncAttributes attributes;
    if (!TRY(backend, "choosing a kernel", cudaFuncGetAttributes(&attributes, v.kernel)))
        return false;
    size_t limit = (size_t)attributes.maxDynamicSharedSizeBytes;
    *shared = v.shared(s.features, limit);
    return shared->bytes <= limit && (v.cluster == 1 || cluster_fits(backend, v, shared->bytes));
}

template <class V>
static const V *choose(Backend *backend, const VariantTable<V> &table, const NnmfParams &s,
                       SharedMemory *shared)
{
    for (const V &variant : table)
        if (fits(backend, variant, s, shared))
            return &variant;
    return NULL;
}

/* Returns NULL if no variant fits. */
static const ForwardVariant *choose_forward(Backend *backend, const NnmfParams &s,
                                            SharedMemory *shared)
{
    if (!backend->fused)
        return NULL;
    const ForwardVariant *tensor =
        backend->precision == PRECISION_FP32
            ? NULL
            : choose(backend, cuda_nnmf_forward_tensor(backend->precision), s, shared);
    return tensor ? tensor : choose(backend, cuda_nnmf_forward_fused(), s, shared);
}

static const BackwardVariant *choose_backward(Backend *backend, const NnmfParams &s,
                                              SharedMemory *shared)
{
    return backend->fused ? choose(backend, cuda_nnmf_backward_fused(), s, shared) : NULL;
}

/* ---- the operations ---- */

static void nnmf_forward(Backend *backend, const NnmfParams *s, const float *x, const float *w,
                         float *h)
{
    SharedMemory shared;
    const ForwardVariant *variant = choose_forward(backend, *s, &shared);
    if (variant)
        variant->run(backend, *s, shared, x, w, h);
    else
        cuda_nnmf_forward_cublas(backend, s, x, w, h);
}

static void nnmf_backward(Backend *backend, const NnmfParams *s, const float *x, const float *w,
                          const float *h, const float *dh, float *dx, float *dw)
{
    SharedMemory shared;
    const BackwardVariant *variant = choose_backward(backend, *s, &shared);
    if (variant)
        variant->run(backend, *s, shared, x, w, h, dh, dx, dw);
    else
        cuda_nnmf_backward_cublas(backend, s, x, w, h, dh, dx, dw);
}

static void nnmf_implementation(Backend *backend, const NnmfParams *s, bool backward,
                                NnmfImplementation *implementation)
{
    SharedMemory shared;
    const Variant *v = NULL;
    if (backward)
        v = choose_backward(backend, *s, &shared);
    else
        v = choose_forward(backend, *s, &shared);
    *implementation = {};
    if (!v) {
        snprintf(implementation->text, sizeof implementation->text, "cuBLAS, product by product");
        return;
    }
    char cluster[32] = "";
    if (v->cluster > 1)
        snprintf(cluster, sizeof cluster, ", cluster of %u", v->cluster);
    snprintf(implementation->text, sizeof implementation->text,
             "%s, %u rows x %d outputs, %u threads%s%s", v->family, v->rows, v->outputs, v->threads,
             cluster, shared.resident ? ", w on chip" : "");
    implementation->shared_bytes = shared.bytes;
}

void cuda_nnmf_table(Operations *table)
{
    table->nnmf_implementation = nnmf_implementation;
    table->nnmf_forward = nnmf_forward;
    table->nnmf_backward = nnmf_backward;
}

/* ---- opening ---- */

template <class V> static void allow_shared(Backend *backend, const VariantTable<V> &table)
{
    const char *name = "opening the GPU";
    cudaFuncAttributes attributes;
    for (const V &v : table)
        if (v.large && TRY(backend, name, cudaFuncGetAttributes(&attributes, v.kernel)))
            TRY(backend, name,
                cudaFuncSetAttribute(v.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     (int)(backend->shared_limit - attributes.sharedSizeBytes)));
}

void cuda_open_nnmf(Backend *backend)
{
    if (!backend->fused)
        return;
    allow_shared(backend, cuda_nnmf_forward_fused());
    if (backend->precision != PRECISION_FP32)
        allow_shared(backend, cuda_nnmf_forward_tensor(backend->precision));
    allow_shared(backend, cuda_nnmf_backward_fused());
}
