#!/usr/bin/env python3
"""The PyTorch twin on a GPU: milliseconds of a training step and a test batch, one line of JSON
for each batch size, as soon as it is there.

    bench/gpu_compare.py eager|compiled|graph [--batch-size 50 100 ...] [--steps 30]

eager     PyTorch as the published program runs it
compiled  torch.compile with CUDA graphs (mode "reduce-overhead"); the optimisers as they are
graph     the whole training step, optimisers included, as one CUDA graph of eager kernels

Float32 throughout: TF32 is off for the products and for cuDNN. Input is one batch in GPU memory,
so neither loading nor augmentation is in these times.
"""

import argparse
import functools
import json
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import torch  # noqa: E402
import torch._dynamo  # noqa: E402

import torch_nnmf as twin  # noqa: E402


def capturable(network):
    """The twin's optimisers, with their state on the GPU."""
    optimizers = twin.build_optimizers(network)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["capturable"] = True
    return optimizers


def recorded(function, warmup=3):
    """`function` as a CUDA graph -> a call that replays it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warmup):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def calls(mode, images, labels):
    """-> a training step and a test batch."""
    variant = twin.Variant()
    network = twin.build_network("cifar10", variant).cuda()
    torch._dynamo.reset()  # so that no batch size gets another one's code
    if mode == "graph":
        optimizers = capturable(network)
        train = functools.partial(twin.train_step, network, optimizers, images, labels, variant)
        return recorded(train), recorded(torch.no_grad()(functools.partial(network, images)))
    optimizers = twin.build_optimizers(network)
    model = network
    if mode == "compiled":
        model = torch.compile(network, mode="reduce-overhead", dynamic=False)

    def marked(function):
        """CUDA graphs of torch.compile want to know where a step begins."""
        def call():
            torch.compiler.cudagraph_mark_step_begin()
            return function()
        return call if mode == "compiled" else function

    train = functools.partial(twin.train_step, model, optimizers, images, labels, variant)
    return marked(train), marked(torch.no_grad()(functools.partial(model, images)))


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mode", choices=("eager", "compiled", "graph"))
    parser.add_argument("--batch-size", type=int, nargs="+", default=[50])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=5)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_compare.py: no GPU: PyTorch sees none")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(21)
    for batch in args.batch_size:
        images = torch.rand(batch, 3, 28, 28, device="cuda")
        labels = torch.randint(10, (batch,), device="cuda")
        train, test = calls(args.mode, images, labels)
        print(json.dumps({
            "mode": args.mode,
            "batch_size": batch,
            "test_ms": twin.median_ms(test, args.warmup, args.steps, "cuda"),
            "train_ms": twin.median_ms(train, args.warmup, args.steps, "cuda"),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(),
        }), flush=True)


if __name__ == "__main__":
    main()
