/*
 * The fused NNMF kernels' variants as tables: what each is for, and what it takes. Of a table the
 * first that fits a shape is taken. nnmf.cu chooses, from what a GPU has and from the rows of one
 * batch, so that several batches at once have the bits of one alone.
 */
#ifndef NNMF_VARIANTS_CUH
#define NNMF_VARIANTS_CUH

#include "cuda.cuh"

enum { SHARED_UNASKED = 48 << 10 }; /* bytes that every GPU gives a block */

/* A block's dynamic shared memory. */
struct SharedMemory {
    size_t bytes;
    bool resident; /* does it, of a block or of a cluster together, hold all of w? */
};

enum WhichRows { ANY_ROWS, MANY_ROWS /* two blocks for every multiprocessor, or more */ };

struct Variant {
    const char *family;
    const void *kernel;
    int outputs, features;     /* at most */
    unsigned rows;             /* of a tile, which the blocks of a cluster share */
    unsigned threads, cluster; /* of a block; blocks */
    WhichRows which_rows;
    bool large; /* may a block need more than SHARED_UNASKED? */
    /* What a block needs for so many features, given `limit` bytes of which to make use. */
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

/* In their order of preference: on the float32 units, and on tensor cores with that precision. */
VariantTable<ForwardVariant> cuda_nnmf_forward_fused();
VariantTable<ForwardVariant> cuda_nnmf_forward_tensor(Precision precision);
VariantTable<BackwardVariant> cuda_nnmf_backward_fused();

#endif
