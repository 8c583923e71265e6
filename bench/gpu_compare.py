#!/usr/bin/env python3
"""Times a training step and a test batch of the PyTorch reference on a GPU, in milliseconds.

    bench/gpu_compare.py eager|compiled|graph [--batch-size 50 100 ...] [--steps 30]

eager     PyTorch as in the published program
compiled  torch.compile with CUDA graphs (mode "reduce-overhead"); eager optimisers
graph     the whole training step, including the optimisers, as one CUDA graph of eager kernels

Prints one line of JSON for each batch size as soon as it is measured. All in float32: TF32 is off for
matrix products and for cuDNN. The input is one batch in GPU memory, so the times include neither
loading nor augmentation.
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

import torch_nnmf  # noqa: E402


def capturable(network):
    """The reference's optimisers, with their state on the GPU."""
    optimizers = torch_nnmf.build_optimizers(network)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["capturable"] = True
    return optimizers


def recorded(function, warmup=3):
    """Records `function` as a CUDA graph -> a function that replays it."""
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
    """-> functions that run a training step and a test batch."""
    variant = torch_nnmf.Variant()
    network = torch_nnmf.build_network("cifar10", variant).cuda()
    torch._dynamo.reset()  # no batch size may reuse the code of another
    if mode == "graph":
        optimizers = capturable(network)
        train = functools.partial(torch_nnmf.train_step, network, optimizers, images, labels,
                                  variant)
        return recorded(train), recorded(torch.no_grad()(functools.partial(network, images)))
    optimizers = torch_nnmf.build_optimizers(network)
    model = network
    if mode == "compiled":
        model = torch.compile(network, mode="reduce-overhead", dynamic=False)

    def marked(function):
        """Marks the start of a step, which the CUDA graphs of torch.compile need."""
        def call():
            torch.compiler.cudagraph_mark_step_begin()
            return function()
        return call if mode == "compiled" else function

    train = functools.partial(torch_nnmf.train_step, model, optimizers, images, labels, variant)
    return marked(train), marked(torch.no_grad()(functools.partial(model, images)))


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mode", choices=("eager", "compiled", "graph"))
    parser.add_argument("--batch-size", type=int, nargs="+", default=[50])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=5)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_compare.py: no GPU: PyTorch found none")
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
            "test_ms": torch_nnmf.median_ms(test, args.warmup, args.steps, "cuda"),
            "train_ms": torch_nnmf.median_ms(train, args.warmup, args.steps, "cuda"),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(),
        }), flush=True)


if __name__ == "__main__":
    main()
