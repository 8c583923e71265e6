/*
 * Compares batch norm, 1x1 convolution and softmax with cuDNN, in the shapes of the published
 * network with a batch of 50. Prints the maximum relative differences (2-norm) and both times,
 * medians of many runs; fails if a difference is larger than float32 rounding explains.
 *
 * Differences are computed with (rows, channels) as (N, C) images of one pixel, our layout in
 * memory; cuDNN is timed with (N, C, H, W), the layout it is optimised for. Float32 throughout, no
 * TF32.
 */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" {
#include "network/network.h"
#include "nnmf/device.h"
}
#include "cuda.cuh"
#include "nnmf/device.h"

#include <cudnn.h>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        auto status = call;                                                                        \
        if ((int)status != 0) {                                                                    \
            std::fprintf(stderr, "test_cudnn: %s failed with %d\n", #call, (int)status);           \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

namespace
{

enum { BATCH = 50 };
const double ALLOWED = 2e-5;
const float ONE = 1.0f, ZERO = 0.0f;

Device device;
cudnnHandle_t dnn;
cudaEvent_t first, last;
void *workspace;
size_t workspace_bytes;
int wrong;
uint32_t random_state = 1;

float random_value()
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

void finish()
{
    Error error = {};
    if (device.operations->finish(device.backend, &error))
        return;
    std::fprintf(stderr, "test_cudnn: %s\n", error.text);
    std::exit(1);
}

/* Floats on the device, random or zero. */
struct Buffer {
    size_t count;
    float *at;

    explicit Buffer(size_t count_, bool random = false) : count(count_)
    {
        Error error = {};
        at = (float *)device.operations->allocate(device.backend, count * sizeof(float),
                                                  "a test's buffer", &error);
        if (!at) {
            std::fprintf(stderr, "test_cudnn: %s\n", error.text);
            std::exit(1);
        }
        if (!random)
            return;
        std::vector<float> host(count);
        for (float &value : host)
            value = random_value();
        device.operations->upload(device.backend, at, host.data(), count * sizeof(float));
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer()
    {
        device.operations->release(device.backend, at);
    }

    std::vector<float> read() const
    {
        std::vector<float> host(count);
        device.operations->download(device.backend, host.data(), at, count * sizeof(float));
        return host;
    }
};

/* Returns ||ours - theirs|| / max(||theirs||, size). */
double difference(const Buffer &ours, const Buffer &theirs, double size = 0.0)
{
    std::vector<float> a = ours.read(), b = theirs.read();
    double squares = 0.0, all = 0.0;
    for (size_t i = 0; i < a.size(); i++) {
        squares += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        all += (double)b[i] * b[i];
    }
    double norm = std::max(std::sqrt(all), size);
    return norm > 0.0 ? std::sqrt(squares) / norm : std::sqrt(squares);
}

/* Returns the microseconds of a call on the back end's stream: the median over groups of calls. */
template <class Work> double time_of(Work work)
{
    enum { GROUPS_TIMED = 21, CALLS = 10 };
    std::vector<double> times;
    work();
    for (int group = 0; group < GROUPS_TIMED; group++) {
        float ms = 0.0f;
        CHECK(cudaEventRecord(first, device.backend->stream));
        for (int i = 0; i < CALLS; i++)
            work();
        CHECK(cudaEventRecord(last, device.backend->stream));
        CHECK(cudaEventSynchronize(last));
        CHECK(cudaEventElapsedTime(&ms, first, last));
        times.push_back(1e3 * ms / CALLS);
    }
    finish();
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

void report(const char *what, const Extent &extent, double worst, double ours, double theirs)
{
    bool good = worst <= ALLOWED; /* false for NaN */
    std::printf("| %-20s | %2d x %2d x %3d | %8.1e | %9.1f | %9.1f | %5.2f |%s\n", what,
                extent.height, extent.width, extent.channels, worst, ours, theirs, theirs / ours,
                good ? "" : " too far");
    std::fflush(stdout);
    wrong += !good;
}

cudnnTensorDescriptor_t tensor(int n, int c, int h, int w)
{
    cudnnTensorDescriptor_t made;
    CHECK(cudnnCreateTensorDescriptor(&made));
    CHECK(cudnnSetTensor4dDescriptor(made, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, n, c, h, w));
    return made;
}

/* ---- batch norm ---- */

struct NormData {
    Buffer in, weight, bias, out, mean, rstd, dout, din, dweight, dbias;

    NormData(size_t rows, size_t c)
        : in(rows * c, true), weight(c, true), bias(c, true), out(rows * c), mean(c), rstd(c),
          dout(rows * c, true), din(rows * c), dweight(c), dbias(c)
    {
    }
};

void norm_forward(cudnnBatchNormMode_t mode, cudnnTensorDescriptor_t x,
                  cudnnTensorDescriptor_t parameters, NormData &d)
{
    CHECK(cudnnBatchNormalizationForwardTraining(dnn, mode, &ONE, &ZERO, x, d.in.at, x, d.out.at,
                                                 parameters, d.weight.at, d.bias.at, 1.0, nullptr,
                                                 nullptr, 1e-5, d.mean.at, d.rstd.at));
}

void norm_backward(cudnnBatchNormMode_t mode, cudnnTensorDescriptor_t x,
                   cudnnTensorDescriptor_t parameters, NormData &d)
{
    CHECK(cudnnBatchNormalizationBackward(dnn, mode, &ONE, &ZERO, &ONE, &ZERO, x, d.in.at, x,
                                          d.dout.at, x, d.din.at, parameters, d.weight.at,
                                          d.dweight.at, d.dbias.at, 1e-5, d.mean.at, d.rstd.at));
}

void copy(Buffer &to, const Buffer &from)
{
    CHECK(cudaMemcpyAsync(to.at, from.at, from.count * sizeof(float), cudaMemcpyDeviceToDevice,
                          device.backend->stream));
}

void check_batch_norm(const Extent &extent)
{
    const Operations *ops = device.operations;
    Backend *backend = device.backend;
    int c = extent.channels;
    size_t rows = BATCH * extent_positions(extent);
    NormData mine(rows, (size_t)c), theirs(rows, (size_t)c);
    copy(theirs.in, mine.in);
    copy(theirs.weight, mine.weight);
    copy(theirs.bias, mine.bias);
    copy(theirs.dout, mine.dout);
    cudnnTensorDescriptor_t flat = tensor((int)rows, c, 1, 1),
                            image = tensor(BATCH, c, extent.height, extent.width),
                            parameters = tensor(1, c, 1, 1);
    auto forward = [&] {
        ops->batchnorm_forward(backend, rows, c, 1, mine.in.at, mine.weight.at, mine.bias.at,
                               mine.out.at, mine.mean.at, mine.rstd.at);
    };
    auto backward = [&] {
        ops->batchnorm_backward(backend, rows, c, mine.in.at, mine.weight.at, mine.mean.at,
                                mine.rstd.at, mine.dout.at, mine.din.at, mine.dweight.at,
                                mine.dbias.at);
    };
    forward();
    backward();
    norm_forward(CUDNN_BATCHNORM_SPATIAL, flat, parameters, theirs);
    norm_backward(CUDNN_BATCHNORM_SPATIAL, flat, parameters, theirs);
    finish();
    /* Means near zero, and sums that cancel, are compared relative to the size of their terms. */
    double terms = std::sqrt((double)c), sums = terms * std::sqrt((double)rows);
    double worst =
        std::max({difference(mine.out, theirs.out), difference(mine.mean, theirs.mean, terms),
                  difference(mine.rstd, theirs.rstd)});
    double worst_back =
        std::max({difference(mine.din, theirs.din), difference(mine.dweight, theirs.dweight, sums),
                  difference(mine.dbias, theirs.dbias, sums)});
    double best = 1e30, best_back = 1e30;
    for (cudnnBatchNormMode_t mode :
         {CUDNN_BATCHNORM_SPATIAL, CUDNN_BATCHNORM_SPATIAL_PERSISTENT}) {
        best = std::min(best, time_of([&] { norm_forward(mode, image, parameters, theirs); }));
        best_back =
            std::min(best_back, time_of([&] { norm_backward(mode, image, parameters, theirs); }));
    }
    report("batch norm", extent, worst, time_of(forward), best);
    report("batch norm backward", extent, worst_back, time_of(backward), best_back);
    CHECK(cudnnDestroyTensorDescriptor(flat));
    CHECK(cudnnDestroyTensorDescriptor(image));
    CHECK(cudnnDestroyTensorDescriptor(parameters));
}

/* ---- 1x1 convolution ---- */

/* The fastest algorithms of cuDNN for a shape. */
struct Convolution {
    cudnnTensorDescriptor_t x, y, bias;
    cudnnFilterDescriptor_t filter;
    cudnnConvolutionDescriptor_t convolution;
    cudnnConvolutionFwdAlgo_t forward;
    cudnnConvolutionBwdDataAlgo_t data;
    cudnnConvolutionBwdFilterAlgo_t weights;

    Convolution(int n, int in, int out, int h, int w)
        : x(tensor(n, in, h, w)), y(tensor(n, out, h, w)), bias(tensor(1, out, 1, 1))
    {
        CHECK(cudnnCreateFilterDescriptor(&filter));
        CHECK(
            cudnnSetFilter4dDescriptor(filter, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, out, in, 1, 1));
        CHECK(cudnnCreateConvolutionDescriptor(&convolution));
        CHECK(cudnnSetConvolution2dDescriptor(convolution, 0, 0, 1, 1, 1, 1,
                                              CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
        CHECK(cudnnSetConvolutionMathType(convolution, CUDNN_FMA_MATH));
        choose();
    }
    Convolution(const Convolution &) = delete;
    Convolution &operator=(const Convolution &) = delete;
    ~Convolution()
    {
        cudnnDestroyTensorDescriptor(x);
        cudnnDestroyTensorDescriptor(y);
        cudnnDestroyTensorDescriptor(bias);
        cudnnDestroyFilterDescriptor(filter);
        cudnnDestroyConvolutionDescriptor(convolution);
    }

    /* Returns the fastest of cuDNN's algorithms in float32 and within our workspace. */
    template <class Proposal> static auto first_good(const std::vector<Proposal> &all, int count)
    {
        for (int i = 0; i < count; i++)
            if (all[(size_t)i].status == CUDNN_STATUS_SUCCESS &&
                all[(size_t)i].memory <= workspace_bytes &&
                (all[(size_t)i].mathType == CUDNN_FMA_MATH ||
                 all[(size_t)i].mathType == CUDNN_DEFAULT_MATH))
                return all[(size_t)i].algo;
        std::fprintf(stderr, "test_cudnn: cuDNN has no algorithm for a convolution\n");
        std::exit(1);
    }

    void choose()
    {
        enum { MAX_COUNT = 8 };
        int count = 0;
        std::vector<cudnnConvolutionFwdAlgoPerf_t> a(MAX_COUNT);
        CHECK(cudnnFindConvolutionForwardAlgorithm(dnn, x, filter, convolution, y, MAX_COUNT,
                                                   &count, a.data()));
        forward = first_good(a, count);
        std::vector<cudnnConvolutionBwdDataAlgoPerf_t> b(MAX_COUNT);
        CHECK(cudnnFindConvolutionBackwardDataAlgorithm(dnn, filter, y, convolution, x, MAX_COUNT,
                                                        &count, b.data()));
        data = first_good(b, count);
        std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> c(MAX_COUNT);
        CHECK(cudnnFindConvolutionBackwardFilterAlgorithm(dnn, x, y, convolution, filter, MAX_COUNT,
                                                          &count, c.data()));
        weights = first_good(c, count);
    }
};

struct ConvolutionData {
    Buffer in, weight, bias, out, dout, din, dweight, dbias;

    ConvolutionData(size_t rows, size_t i, size_t o)
        : in(rows * i, true), weight(o * i, true), bias(o, true), out(rows * o),
          dout(rows * o, true), din(rows * i), dweight(o * i), dbias(o)
    {
    }
};

void convolve(const Convolution &with, ConvolutionData &d)
{
    CHECK(cudnnConvolutionForward(dnn, &ONE, with.x, d.in.at, with.filter, d.weight.at,
                                  with.convolution, with.forward, workspace, workspace_bytes, &ZERO,
                                  with.y, d.out.at));
    CHECK(cudnnAddTensor(dnn, &ONE, with.bias, d.bias.at, &ONE, with.y, d.out.at));
}

void convolve_backward(const Convolution &with, ConvolutionData &d)
{
    CHECK(cudnnConvolutionBackwardData(dnn, &ONE, with.filter, d.weight.at, with.y, d.dout.at,
                                       with.convolution, with.data, workspace, workspace_bytes,
                                       &ZERO, with.x, d.din.at));
    CHECK(cudnnConvolutionBackwardFilter(dnn, &ONE, with.x, d.in.at, with.y, d.dout.at,
                                         with.convolution, with.weights, workspace, workspace_bytes,
                                         &ZERO, with.filter, d.dweight.at));
    CHECK(cudnnConvolutionBackwardBias(dnn, &ONE, with.y, d.dout.at, &ZERO, with.bias, d.dbias.at));
}

void check_convolution(const Extent &extent, int in)
{
    const Operations *ops = device.operations;
    Backend *backend = device.backend;
    int out = extent.channels;
    size_t rows = BATCH * extent_positions(extent);
    ConvolutionShape shape = {rows, in, out, 1};
    ConvolutionData mine(rows, (size_t)in, (size_t)out), theirs(rows, (size_t)in, (size_t)out);
    copy(theirs.in, mine.in);
    copy(theirs.weight, mine.weight);
    copy(theirs.bias, mine.bias);
    copy(theirs.dout, mine.dout);
    Convolution flat((int)rows, in, out, 1, 1);
    Convolution image(BATCH, in, out, extent.height, extent.width);
    auto forward = [&] {
        ops->convolution_forward(backend, &shape, mine.in.at, mine.weight.at, mine.bias.at,
                                 mine.out.at);
    };
    auto backward = [&] {
        ops->convolution_backward(backend, &shape, mine.in.at, mine.weight.at, mine.dout.at,
                                  mine.din.at, mine.dweight.at, mine.dbias.at);
    };
    forward();
    backward();
    convolve(flat, theirs);
    convolve_backward(flat, theirs);
    finish();
    double worst = difference(mine.out, theirs.out);
    double worst_back =
        std::max({difference(mine.din, theirs.din), difference(mine.dweight, theirs.dweight),
                  difference(mine.dbias, theirs.dbias)});
    double times[] = {time_of([&] { convolve(image, theirs); }),
                      time_of([&] { convolve_backward(image, theirs); })};
    report("convolution", extent, worst, time_of(forward), times[0]);
    report("convolution backward", extent, worst_back, time_of(backward), times[1]);
}

/* ---- softmax ---- */

void check_softmax(const Extent &extent)
{
    int classes = (int)extent_elements(extent);
    Buffer logits((size_t)(BATCH * classes), true), mine((size_t)(BATCH * classes)),
        theirs((size_t)(BATCH * classes));
    cudnnTensorDescriptor_t shape = tensor(BATCH, classes, 1, 1);
    auto ours = [&] {
        device.operations->softmax(device.backend, BATCH, classes, logits.at, mine.at);
    };
    auto other = [&] {
        CHECK(cudnnSoftmaxForward(dnn, CUDNN_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_MODE_INSTANCE, &ONE,
                                  shape, logits.at, &ZERO, shape, theirs.at));
    };
    ours();
    other();
    finish();
    double worst = difference(mine, theirs);
    report("softmax", extent, worst, time_of(ours), time_of(other));
    CHECK(cudnnDestroyTensorDescriptor(shape));
}

} // namespace

int main()
{
    Error error = {};
    CudaOptions options = {};
    Network network;
    if (!device_open_cuda(&device, &options, &error) ||
        !network_for_dataset(DATASET_CIFAR10, &network_default_options, &network, &error)) {
        std::fprintf(stderr, "test_cudnn: %s\n", error.text);
        return 1;
    }
    CHECK(cudnnCreate(&dnn));
    CHECK(cudnnSetStream(dnn, device.backend->stream));
    CHECK(cudaEventCreate(&first));
    CHECK(cudaEventCreate(&last));
    workspace_bytes = (size_t)256 << 20;
    CHECK(cudaMalloc(&workspace, workspace_bytes));
    std::printf(
        "%s, cuDNN %zu, batch of %d\n\n"
        "| operation            | H x W x C    | differ by | ours (us) | cuDNN (us) | cuDNN/ours "
        "|\n"
        "|---|---|---|---|---|---|\n",
        device.description, cudnnGetVersion(), BATCH);
    for (int i = 0; i < network.layer_count; i++) {
        const Layer &layer = network.layers[i];
        if (layer.kind == LAYER_BATCHNORM)
            check_batch_norm(layer.out);
        else if (layer.kind == LAYER_CONVOLUTION)
            check_convolution(layer.out, layer.in.channels);
        else if (layer.kind == LAYER_SOFTMAX)
            check_softmax(layer.in);
    }
    CHECK(cudaFree(workspace));
    CHECK(cudnnDestroy(dnn));
    device_close(&device);
    return wrong ? 1 : 0;
}
