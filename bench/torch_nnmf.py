#!/usr/bin/env python3
"""The NNMF network and its CNN baseline in PyTorch: the reference for the C program.

The modules are in the published order, so `load_state_dict` accepts the weights of
the program unchanged (`18.weight` belongs to module 18).

Shapes: B images, C channels, P positions (of all images), K features, N neurons.
"""

import argparse
import copy
import csv
import dataclasses
import functools
import gzip
import json
import math
import pathlib
import statistics
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

# Kind of data set: channels, side of an image, side of the crop.
DATASETS = {"cifar10": (3, 32, 28), "mnist": (1, 28, 24)}

# Kernel side (None: the whole remaining image), stride, neurons, 1x1 convolution.
BLOCKS = (
    (5, 1, 32, True),
    (2, 2, 32, False),
    (5, 1, 64, True),
    (2, 2, 64, False),
    (None, 1, 96, True),
    (None, 1, 10, True),
)

FUNCTIONS = ("abs", "exp", "tanh", "identity")
# Biases in front of a batch norm: their gradient is zero in exact arithmetic.
ZERO_GRADIENTS = {f"{name}.bias.grad" for name in ("5", "6", "19", "20")}

# Relative 2-norm of a tensor's difference; for zero gradients the largest magnitude.
TOLERANCES = {"output": 2e-5, "gradient": 5e-5, "zero": 1e-7}
# Maximum deviation of a loss in the first 6 steps, and in all steps.
LOSS_TOLERANCES = (1e-4, 1e-2)


@dataclasses.dataclass
class Variant:
    """What may differ between two networks for the same images, or their loss."""

    arch: str = "nnmf"
    bn_statistics: str = "batch"
    iterations: int = 20
    epsilon: float | None = None
    positive_function: str = "abs"
    beta: float = 1.0
    local_learning: str = "none"
    loss: str = "sbs"


class L1Norm(nn.Module):
    """Divides the features of each position by their sum: B x K x H x W -> the same shape."""

    def forward(self, x):
        return x / (x.sum(dim=1, keepdim=True) + 1e-19)


class NNMFFunction(torch.autograd.Function):
    """The iteration, with the backward rule of deep Spike-By-Spike networks."""

    @staticmethod
    def forward(ctx, x, w, iterations, epsilon, local_learning):
        """x: B x H x W x K, w: N x K with rows of sum 1 -> h: B x H x W x N."""
        if x.is_contiguous():
            h = x.new_full((*x.shape[:-1], len(w)), 1.0 / len(w))
        else:
            h = x.new_full((len(x), len(w), *x.shape[1:-1]), 1.0 / len(w)).movedim(1, -1)
        for _ in range(iterations):
            r = F.linear(h, w.T)
            r += 1e-20
            update = F.linear(x / r, w)
            if epsilon is not None:
                update.mul_(epsilon).add_(1.0)
            h *= update
            h /= h.sum(dim=-1, keepdim=True) + 1e-19
        ctx.save_for_backward(x, w, h)
        ctx.local_learning = local_learning
        return h

    @staticmethod
    def backward(ctx, g):
        """g = dL/dh: B x H x W x N -> dx: B x H x W x K, dw: N x K, summed over positions."""
        x, w, h = ctx.saved_tensors
        hg = h * g
        r = F.linear(h, w.T)
        q = 1.0 / (r + 1e-20)
        dx = F.linear(hg, w.T) * q
        if ctx.local_learning == "kl":
            dw = -outer(h, x * q)
        elif ctx.local_learning == "mse":
            dw = -outer(h, 2.0 * (x - r))
        else:
            xq = x * q
            dw = outer(hg, xq) - outer(h, xq * dx)
        return dx, dw, None, None, None


def outer(a, b):
    """a: B x H x W x N, b: B x H x W x K -> N x K, summed over the positions."""
    return a.flatten(0, -2).T @ b.flatten(0, -2)


class NNMF2d(nn.Module):
    """NNMF at each position: B x K x H x W -> B x N x H x W."""

    def __init__(self, features, neurons, variant):
        super().__init__()
        self.variant = variant
        self.rows = False
        self.weight = nn.Parameter(torch.rand(neurons, features))
        if variant.positive_function in ("exp", "tanh"):
            self.beta = nn.Parameter(torch.full((1,), variant.beta))

    def positive_weight(self):
        """The weights made positive, before their rows are normalised: N x K."""
        weight, function = self.weight, self.variant.positive_function
        if function == "abs":
            return weight.abs()
        if function == "exp":
            largest = weight.abs().max()
            scale = torch.where(largest > 80.0, 80.0 / largest, 1.0)
            return torch.exp(0.5 * (torch.tanh(self.beta) + 1.0) * (scale * weight))
        if function == "tanh":
            return 0.5 * (torch.tanh(self.beta * weight) + 1.0)
        return weight

    def forward(self, x):
        w = self.positive_weight()
        w = w / (w.sum(dim=1, keepdim=True) + 1e-19)
        v = self.variant
        # As published, the features are strided in memory: movedim only returns a view. Copying
        # them to contiguous memory is faster (--rows).
        x = x.movedim(1, -1)
        if self.rows:
            x = x.contiguous()
        h = NNMFFunction.apply(x, w, v.iterations, v.epsilon, v.local_learning)
        return h.movedim(-1, 1)


def convolution_1x1(channels):
    """A 1x1 convolution that is initialised as the identity."""
    convolution = nn.Conv2d(channels, channels, kernel_size=1)
    nn.init.dirac_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    return convolution


def batch_norm(channels, size, variant):
    """A batch norm with the statistics of the batch, in testing too, or of the population; none for
    a single position."""
    given = variant.bn_statistics == "population"
    return [nn.BatchNorm2d(channels, track_running_stats=given)] if size > 1 else []


def features_to_neurons(features, neurons, size, variant):
    """The modules between the L1 norm and a block's 1x1 convolution."""
    if variant.arch == "nnmf":
        return [NNMF2d(features, neurons, variant), *batch_norm(neurons, size, variant)]
    convolution = nn.Conv2d(features, neurons, kernel_size=1, bias=False)
    return [convolution, *batch_norm(neurons, size, variant), nn.ReLU()]


def build_network(dataset, variant):
    """A network: B x C x S x S, with S the side of the crop, -> probabilities B x 10."""
    channels, _, size = DATASETS[dataset]
    modules = []
    for kernel, stride, neurons, convolution in BLOCKS:
        kernel = kernel or size
        size = (size - kernel) // stride + 1
        modules += [
            nn.ReLU(),
            nn.Unfold(kernel, stride=stride),
            nn.Unflatten(2, (size, size)),
            L1Norm(),
            *features_to_neurons(channels * kernel * kernel, neurons, size, variant),
        ]
        channels = neurons
        if convolution:
            modules += [convolution_1x1(channels), *batch_norm(channels, size, variant)]
    if variant.arch == "cnn":
        modules = modules[:-2]  # the last block ends with the convolution that replaces NNMF
    network = nn.Sequential(*modules, nn.Softmax(dim=1), nn.Flatten())
    return network.eval() if variant.bn_statistics == "population" else network


def load_weights(network, tensors):
    """Loads a dict of tensors. A missing beta keeps its initial value. Ignores an optimiser's state,
    and population statistics if the network does not keep any."""
    own = network.state_dict()
    betas = {k: v for k, v in own.items() if k.endswith(".beta")}
    spare = lambda name: ".running_" in name or name.startswith("optimiser.")
    given = {k: v for k, v in tensors.items() if k in own or not spare(k)}
    network.load_state_dict({**betas, **given})


def loss_of(probabilities, labels, variant, mse=0.5, kl=1.0):
    """probabilities: B x 10, labels: B -> the loss of the batch, a scalar."""
    if variant.loss == "cross-entropy":
        return F.cross_entropy(probabilities, labels)
    p = probabilities
    t = F.one_hot(labels, p.shape[1]).to(p.dtype)
    terms = mse * (p - t) ** 2 + kl * t * torch.log((t + 1e-20) / (p + 1e-20))
    return terms.sum(dim=0).mean() / (abs(mse) + abs(kl))


def build_optimizers(network):
    """One Adam for each group of parameters: cnn_top, nnmf, batchnorm."""
    rates = {"cnn_top": 0.001, "nnmf": 0.01, "batchnorm": 0.001}
    groups = {name: nn.ModuleList() for name in rates}
    for module in network:
        if isinstance(module, nn.BatchNorm2d):
            groups["batchnorm"].append(module)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            groups["cnn_top"].append(module)
        elif isinstance(module, (NNMF2d, nn.Conv2d)):  # or the convolution that replaces it
            groups["nnmf"].append(module)
    return [torch.optim.Adam(groups[name].parameters(), lr=rates[name]) for name in rates]


def train_step(network, optimizers, images, labels, variant):
    """One step on B x C x S x S images and B labels -> the loss."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = loss_of(network(images), labels, variant)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()


def trace(network, images, labels, variant):
    """One batch, forward and backward -> dict of every output and gradient."""
    tensors = {}
    x = images
    for index, module in enumerate(network):
        x = module(x)
        if isinstance(module, (NNMF2d, nn.BatchNorm2d, nn.Conv2d, nn.Softmax)):
            tensors[f"{index}.output"] = x.detach()
    loss = loss_of(x, labels, variant)
    network.zero_grad()
    loss.backward()
    for name, parameter in network.named_parameters():
        tensors[f"{name}.grad"] = parameter.grad
    return tensors | {"probabilities": x.detach(), "loss": loss.detach().reshape(1)}


def read_idx(path):
    """Reads the bytes of an IDX file, plain or gzipped, in the shape stated in its header."""
    opener = open if path.exists() else gzip.open
    with opener(path if path.exists() else f"{path}.gz", "rb") as file:
        content = file.read()
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


@functools.cache
def read_split(dataset, directory, split):
    """-> all images (B x C x side x side, bytes) and labels (B), in file order."""
    directory, train = pathlib.Path(directory), split == "train"
    if dataset == "cifar10":
        names = [f"data_batch_{k}.bin" for k in range(1, 6)] if train else ["test_batch.bin"]
        content = np.concatenate([np.fromfile(directory / name, np.uint8) for name in names])
        records = content.reshape(-1, 1 + 3072)
        return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    prefix = "train" if train else "t10k"
    images = read_idx(directory / f"{prefix}-images-idx3-ubyte")
    return images[:, None], read_idx(directory / f"{prefix}-labels-idx1-ubyte")


def centre_crop(images, dataset, dtype):
    """Bytes B x C x side x side -> B x C x crop x crop in 0..1."""
    _, side, crop = DATASETS[dataset]
    inside = slice((side - crop) // 2, (side + crop) // 2)
    return torch.from_numpy(images[:, :, inside, inside].copy()).to(dtype) / 255.0


def load_batch(dataset, directory, split, offset, count, dtype):
    """-> centre crops (B x C x crop x crop) and labels (B), ready for the network."""
    images, labels = (x[offset : offset + count] for x in read_split(dataset, directory, split))
    if len(labels) != count:
        sys.exit(f"{directory}: too few {split} images for {count} from {offset}")
    return centre_crop(images, dataset, dtype), torch.from_numpy(labels.astype(np.int64))


def compare(tensors, expected):
    """-> for each kind of tensor the largest deviation and the name it occurs at."""
    worst = {"output": (0.0, ""), "gradient": (0.0, ""), "zero": (0.0, "")}
    for name, value in expected.items():
        result, value = tensors[name][: len(value)].double(), value.double()
        kind = "gradient" if name.endswith(".grad") else "output"
        error = ((result - value).norm() / value.norm()).item()
        if name in ZERO_GRADIENTS:
            kind, error = "zero", result.abs().max().item()
        # NaN counts as infinite.
        worst[kind] = max(worst[kind], (math.inf if math.isnan(error) else error, name))
    return worst


def check_trace(path, args, dtype):
    """Compares with one trace file and prints a line -> whether it is within tolerance."""
    expected = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    variant = Variant(
        iterations=int(metadata.get("iterations", 20)),
        epsilon=float(metadata["epsilon"]) if "epsilon" in metadata else None,
        local_learning=metadata.get("ll", "none"),
        loss="cross-entropy" if metadata["loss_mode"] == "1" else "sbs",
    )
    weights = "init_21.safetensors" if path.stem == "trace_init" else "model_8525.safetensors"
    network = build_network("cifar10", variant).to(dtype)
    load_weights(network, load_file(path.with_name(weights)))
    where = "test" if metadata["file"] == "test_batch" else "train", int(metadata["offset"])
    images, labels = load_batch("cifar10", args.data, *where, int(metadata["batch"]), dtype)
    worst = compare(trace(network, images, labels, variant), expected)
    good = all(worst[kind][0] <= limit for kind, limit in TOLERANCES.items())
    figures = "  ".join(f"{kind} {worst[kind][0]:.1e}" for kind in TOLERANCES)
    print(f"{path.stem:20} {figures}  {'ok' if good else 'FAILED'}", flush=True)
    if not good:
        explain(network, images, labels, variant, worst["gradient"][1], expected)
    return good


def explain(network, images, labels, variant, name, expected):
    """Prints how many ReLU signs changed by rounding (each moves a gradient by about 1e-3)."""
    x, y, flipped = images, images.double(), 0
    with torch.no_grad():
        for index, module in enumerate(copy.deepcopy(network).double()):
            if isinstance(module, nn.ReLU):
                flipped += ((x > 0) != (y > 0)).sum().item()
                mask = y > 0
                network[index].register_forward_hook(lambda _, x, __, mask=mask: x[0] * mask)
            x, y = network[index](x), module(y)
    error, left = compare(trace(network, images, labels, variant), expected)["gradient"]
    print(f"    worst: {name}, norm {expected[name].norm():.1e}; {flipped} signs differ from float64,")
    print(f"    with those of float64: {error:.1e} in {left}, norm {expected[left].norm():.1e}")


def check_trajectory(args, dtype):
    """Repeats the recorded training steps -> whether the losses are within tolerance."""
    reference = pathlib.Path(args.reference)
    rows = list(csv.DictReader((reference / "trajectory.csv").read_text().splitlines()))
    network = build_network("cifar10", variant := Variant()).to(dtype)
    load_weights(network, load_file(reference / "init_21.safetensors"))
    optimizers = build_optimizers(network)
    mine, published = [], []
    for step, row in enumerate(rows):
        images, labels = load_batch("cifar10", args.data, "train", 50 * step, 50, dtype)
        loss = train_step(network, optimizers, images, labels, variant)
        mine.append(abs(loss.item() - float(row["loss"])))
        published.append(abs(float(row["loss_float32"]) - float(row["loss"])))
    figures = [(max(d[:6]), max(d)) for d in (mine, published)]
    good = all(value <= limit for value, limit in zip(figures[0], LOSS_TOLERANCES))
    print("trajectory           first 6 losses {:.1e}  all {:.1e}".format(*figures[0]), end="")
    print("  ok" if good else "  FAILED")
    print("    recorded float32 run: first 6 {:.1e}  all {:.1e}".format(*figures[1]))
    return good


def command_check(args):
    dtype = torch.float64 if args.float64 else torch.float32
    paths = sorted(pathlib.Path(args.reference).glob("trace_*.safetensors"))
    good = [check_trace(path, args, dtype) for path in paths]
    good.append(check_trajectory(args, dtype))
    return 0 if paths and all(good) else 1


def median_ms(function, warmup, steps, device):
    """The median time of a call, in milliseconds."""
    times = []
    for _ in range(warmup + steps):
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1000.0 * (time.perf_counter() - start))
    return statistics.median(times[warmup:])


def command_time(args):
    variant = variant_of(args)
    channels, _, size = DATASETS[args.dataset]
    network = build_network(args.dataset, variant).to(args.device)
    for module in network:
        module.rows = args.rows
    optimizers = build_optimizers(network)
    model = torch.compile(network) if args.compile else network
    images = torch.rand(args.batch_size, channels, size, size, device=args.device)
    labels = torch.randint(10, (args.batch_size,), device=args.device)

    train = functools.partial(train_step, model, optimizers, images, labels, variant)
    test = torch.no_grad()(functools.partial(model, images))
    result = {
        "train_ms": median_ms(train, args.warmup, args.steps, args.device),
        "test_ms": median_ms(test, args.warmup, args.steps, args.device),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **{key: getattr(args, key)
           for key in ("arch", "dataset", "batch_size", "steps", "compile", "rows")},
    }
    if args.json:
        print(json.dumps(result))
    else:
        print("{device}, {threads} threads, batch {batch_size}:".format(**result), end=" ")
        print("train {train_ms:.2f} ms, test {test_ms:.2f} ms".format(**result))
    return 0


def command_trace(args):
    variant = variant_of(args)
    dtype = torch.float64 if args.float64 else torch.float32
    network = build_network(args.dataset, variant).to(dtype)
    load_weights(network, load_file(args.weights))
    where = args.dataset, args.data, args.split, args.offset, args.batch_size
    images, labels = load_batch(*where, dtype)
    tensors = trace(network, images, labels, variant)
    tensors = {k: v.contiguous().float().clone() for k, v in tensors.items()}
    metadata = {"dataset": args.dataset, "split": args.split, "offset": args.offset}
    metadata |= {"batch": args.batch_size, **dataclasses.asdict(variant)}
    save_file(tensors, args.out, {key: str(value).lower() for key, value in metadata.items()})
    return 0


def variant_of(args):
    return Variant(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Variant)})


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    network = argparse.ArgumentParser(add_help=False, parents=[common])
    network.add_argument("--dataset", choices=DATASETS, default="cifar10")
    network.add_argument("--batch-size", type=int, default=50)
    network.add_argument("--arch", choices=("nnmf", "cnn"), default="nnmf",
                         help="cnn: the CNN baseline with convolutions instead of NNMF")
    network.add_argument("--bn-statistics", choices=("batch", "population"), default="batch")
    network.add_argument("--iterations", type=int, default=20)
    network.add_argument("--epsilon", type=float)
    network.add_argument("--positive-function", choices=FUNCTIONS, default="abs")
    network.add_argument("--beta", type=float, default=1.0, help="initial value")
    network.add_argument("--local-learning", choices=("none", "kl", "mse"), default="none")
    network.add_argument("--loss", choices=("sbs", "cross-entropy"), default="sbs")

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--data", required=True, metavar="DIR")
    data.add_argument("--float64", action="store_true", help="compute in double precision")
    check = commands.add_parser("check", parents=[common, data], help="compare with traces")
    check.set_defaults(run=command_check)
    check.add_argument("--reference", required=True, metavar="DIR")
    timing = commands.add_parser("time", parents=[network], help="time one step")
    timing.set_defaults(run=command_time)
    timing.add_argument("--steps", type=int, default=20)
    timing.add_argument("--warmup", type=int, default=3)
    timing.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    timing.add_argument("--compile", action="store_true", help="torch.compile the network")
    timing.add_argument("--rows", action="store_true", help="contiguous features in memory")
    timing.add_argument("--json", action="store_true", help="print one line of JSON")
    tracing = commands.add_parser("trace", parents=[network, data], help="write a trace")
    tracing.set_defaults(run=command_trace)
    tracing.add_argument("--weights", required=True, metavar="FILE")
    tracing.add_argument("--split", choices=("train", "test"), default="test")
    tracing.add_argument("--offset", type=int, default=0)
    tracing.add_argument("--out", required=True, metavar="FILE")

    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
