/*
 * Tables of the variants of the fused NNMF kernels: what each is for and what it needs. nnmf.cu
 * takes the first that fits the shape, the GPU and the rows of one batch; counting the rows of one
 * batch keeps the results of several batches at once bit-identical to those of each alone.
 */
#ifndef NNMF_VARIANTS_CUH
#define NNMF_VARIANTS_CUH

#include "cuda.cuh"

enum { SHARED_DEFAULT = 48 << 10 }; /* bytes of a block on every GPU, without opt-in */

/* A block's dynamic shared memory. */
struct SharedMemory {
    size_t bytes;
    bool resident; /* that of a block, or of a cluster together, holds all of w */
};

enum WhichRows { ANY_ROWS, MANY_ROWS /* at least two blocks for every multiprocessor */ };

struct Variant {
    const char *family;
    const void *kernel;
    int outputs, features; /* maximum */
    unsigned rows;         /* in a tile, shared by the blocks of a cluster */
    unsigned threads;      /* in a block */
    unsigned cluster;      /* blocks in a cluster; 1: no clusters */
    WhichRows which_rows;
    bool large; /* a block may need more than SHARED_DEFAULT */
    /* Returns the shared memory that a block uses, of `limit` bytes. */
    SharedMemory (*shared)(int features, size_t limit);
};

struct ForwardVariant : Variant {
    void (*run)(Backend *, const NnmfParams &, const SharedMemory &, const float *x, const float *w,
                float *h);
};

struct BackwardVariant : Variant {
    void (*run)(Backend *, const NnmfParams &, const SharedMemory &, const float *x, const float *w,
                const float *h, const float *dh, float *dx, float *dw);
};

template <class V> struct VariantTable {
    const V *first;
    size_t count;
    const V *begin() const
    {
        return first;
    }
    const V *end() const
    {
        return first + count;
    }
};

template <class V, size_t COUNT> static VariantTable<V> table_of(const V (&variants)[COUNT])
{
    return {variants, COUNT};
}

/* In order of preference: on the float32 units, and on the tensor cores. */
VariantTable<ForwardVariant> cuda_nnmf_forward_fused();
VariantTable<ForwardVariant> cuda_nnmf_forward_tensor(Precision precision);
VariantTable<BackwardVariant> cuda_nnmf_backward_fused();

#endif
