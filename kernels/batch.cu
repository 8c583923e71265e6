/* Draws the images of a batch, one thread per image, and augments them, one block per image. */
#include "cuda.cuh"

static __global__ void sample_kernel(Sampler s, const StepState *state, uint32_t *indices,
                                     Augmentation *augmentations)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= s.batch)
        return;
    indices[i] = sample_image(&s, state->epoch, state->step, (uint32_t)i);
    augmentations[i] = sample_augmentation(&s, state->epoch, state->step, (uint32_t)i);
}

static void sample(Backend *backend, const Sampler *s, const StepState *state, uint32_t *indices,
                   Augmentation *augmentations)
{
    enum { THREADS = 128 };
    RUN(backend, "sample", sample_kernel, blocks_for((size_t)s->batch, THREADS), THREADS, 0, *s,
        state, indices, augmentations);
}

enum { AUGMENT_THREADS = 256, AUGMENT_WARPS = AUGMENT_THREADS / WARP };

/* Returns the mean grey value of `image` (positions, 3) to every thread. */
static __device__ float mean_grey(const float *image, int positions, double *sums)
{
    double sum = 0.0;
    for (int p = (int)threadIdx.x; p < positions; p += AUGMENT_THREADS)
        sum += augment_grey(image + p * 3);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0)
        sums[threadIdx.x / WARP] = sum;
    __syncthreads();
    double all = 0.0;
    for (int i = 0; i < AUGMENT_WARPS; i++)
        all += sums[i];
    return (float)(all / positions);
}

static __global__ void augment_kernel(CropShape s, const uint8_t *pixels, const uint8_t *labels,
                                      const uint32_t *indices, const Augmentation *augmentations,
                                      float *images, uint8_t *batch_labels)
{
    DYNAMIC_SHARED(double, shared); /* the warps' sums, then the image */
    double *sums = shared;
    float *image = (float *)(shared + AUGMENT_WARPS);
    size_t index = indices[blockIdx.x], plane = (size_t)s.height * (size_t)s.width;
    const Augmentation a = augmentations[blockIdx.x];
    int positions = s.crop_height * s.crop_width;

    pixels += index * (size_t)s.channels * plane;
    for (int p = (int)threadIdx.x; p < positions; p += AUGMENT_THREADS) {
        int y = p / s.crop_width, x = p % s.crop_width;
        int column = a.left + (a.flip ? s.crop_width - 1 - x : x);
        const uint8_t *from = pixels + (size_t)(a.top + y) * (size_t)s.width + column;
        for (int c = 0; c < s.channels; c++)
            image[p * s.channels + c] = (float)from[(size_t)c * plane] / 255.0f;
    }
    __syncthreads();
    if (s.channels == 3)
        for (int i = 0; i < COLOUR_OPERATIONS; i++) {
            /* The same for all threads of the block, so all of them reach the barriers below. */
            int operation = a.order[i];
            if (operation == COLOUR_NOTHING)
                continue;
            float mean = operation == COLOUR_CONTRAST ? mean_grey(image, positions, sums) : 0.0f;
            for (int p = (int)threadIdx.x; p < positions; p += AUGMENT_THREADS)
                augment_colour(&a, operation, mean, image + p * 3);
            __syncthreads();
        }
    images += (size_t)blockIdx.x * (size_t)(positions * s.channels);
    for (int i = (int)threadIdx.x; i < positions * s.channels; i += AUGMENT_THREADS)
        images[i] = image[i];
    if (threadIdx.x == 0)
        batch_labels[blockIdx.x] = labels[index];
}

static void augment(Backend *backend, const CropShape *s, const uint8_t *pixels,
                    const uint8_t *labels, const uint32_t *indices,
                    const Augmentation *augmentations, float *images, uint8_t *batch_labels)
{
    size_t shared = AUGMENT_WARPS * sizeof(double) +
                    (size_t)(s->crop_height * s->crop_width * s->channels) * sizeof(float);
    RUN(backend, "augment", augment_kernel, (unsigned)s->batch, AUGMENT_THREADS, shared, *s, pixels,
        labels, indices, augmentations, images, batch_labels);
}

void cuda_batch_table(Operations *table)
{
    table->sample = sample;
    table->augment = augment;
}
