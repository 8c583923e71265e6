#!/usr/bin/env python3
"""The whole program on the emulated CUDA device (tests/cuda_host): traces against the digests in
tests/fixtures, and small runs.

Environment, besides program.py's:
    NNMF_TRAIN_EMULATED  the program with the emulated back end; skipped if not set
"""

import os
import re
import subprocess
import sys
import unittest

import numpy as np

EMULATED = os.environ.get("NNMF_TRAIN_EMULATED")
if EMULATED:
    os.environ["NNMF_TRAIN"] = EMULATED  # before program.py reads it

import program  # noqa: E402
from program import FIXTURES, SMALL, ProgramTest, make_fixtures  # noqa: E402
from test_fixtures import OPTIONS  # noqa: E402

KERNELS = ("fused", "cublas")
CUDA = ["--device", "cuda"]
# NNMF kernel, precision, and maximum relative difference of a few losses from the CPU's.
WAYS = ((("--nnmf-kernel", "fused"), 1e-4), (("--nnmf-kernel", "cublas"), 1e-4),
        (("--precision", "3xtf32"), 1e-4), (("--precision", "tf32"), 1e-2))
# Emulating tensor cores is slow, and slower with sanitizers, where only the operation checker tests
# them.
SANITIZED = EMULATED and program.is_sanitized()
if SANITIZED:
    WAYS = WAYS[:2]


@unittest.skipUnless(EMULATED, "NNMF_TRAIN_EMULATED is not set")
class EmulatedTest(ProgramTest):
    pass


class Traces(EmulatedTest):
    """One step of the published network, with a batch of 5."""

    def check(self, case_name, *options, **how):
        expected = FIXTURES / f"expected_{case_name}.safetensors"
        _, case = program.read_checkpoint(expected)
        kind, last = case["dataset"], int(case["offset"]) + int(case["batch"])
        weights, trace = self.folder / "weights.safetensors", self.folder / "trace.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights(kind), {})
        data = program.cifar10_folder() if kind == "cifar10" else program.mnist_folder(last, last)
        options = [*options, *(f"{o}={case[k]}" for k, o in OPTIONS.items()
                               if case[k] != "none" or k == "local_learning")]
        result = self.succeed("trace", *CUDA, "--weights", weights, "--data", data, "--out", trace,
                              *options, **how)
        compared = subprocess.run(
            [sys.executable, "-B", make_fixtures.__file__, "compare", trace, expected],
            capture_output=True, text=True, check=False,
        )
        self.assertEqual(compared.returncode, 0, f"{compared.stdout}{compared.stderr}{result}")
        return trace.read_bytes()

    def test_cifar10(self):
        for way, _ in WAYS[:3]:
            with self.subTest(way=way):
                self.check("cifar10", *way)

    def test_mnist(self):
        for kernel in KERNELS:
            with self.subTest(kernel=kernel):
                self.check("mnist", "--nnmf-kernel", kernel)

    def test_mnist_epsilon(self):
        self.check("mnist_epsilon")

    @unittest.skipIf(SANITIZED, "each order runs the same code")
    def test_order(self):
        """Results do not depend on the order of blocks, threads and lanes."""
        traces = [self.check("mnist", env={"CUDA_HOST_SEED": seed}) for seed in (0, 2, 3)]
        self.assertTrue(all(trace == traces[0] for trace in traces))


class Info(EmulatedTest):
    """The kernel of each NNMF layer on a GPU with 32 multiprocessors, 99 KB and no clusters."""

    def kernels(self, *options, device="fused, fp32, batches of 50"):
        """-> by layer and direction"""
        out = self.succeed("info", *CUDA, *options).out
        lines = out.splitlines()
        at = lines.index(f"Device: host emulation, CUDA, {device}")
        self.assertTrue(lines[at - 1].startswith("Parameters: "), out)
        kernels = {}
        for line in lines[at + 1:]:
            layer, nnmf, direction, name = line.split(maxsplit=3)
            self.assertEqual(nnmf, "NNMF")
            kernels[int(layer), direction] = name
        return kernels

    def test_layers(self):
        kernels = self.kernels()
        self.assertEqual([layer for layer, direction in kernels if direction == "forward"],
                         [4, 12, 18, 26, 32, 38])
        self.assertEqual(kernels[4, "forward"],
                         "fused fp32, 64 rows x 32 outputs, 128 threads, w on chip")
        self.assertEqual(kernels[18, "forward"], "fused fp32, 32 rows x 64 outputs, 128 threads")
        self.assertEqual(kernels[32, "backward"], "fused fp32, 24 rows x 96 outputs, 192 threads")

    def test_batch_size(self):
        kernels = self.kernels("--batch-size", 1, device="fused, fp32, batches of 1")
        self.assertEqual(kernels[4, "forward"],
                         "fused fp32, 64 rows x 32 outputs, 512 threads, w on chip")

    def test_precision(self):
        for precision in ("3xtf32", "tf32"):
            kernels = self.kernels("--precision", precision, device=f"fused, {precision}, batches of 50")
            self.assertEqual(kernels[26, "forward"], f"tensor cores {precision}, 16 rows x 64 outputs, "
                             "256 threads, w on chip")
            self.assertEqual(kernels[26, "backward"], "fused fp32, 32 rows x 64 outputs, 128 threads")

    def test_cublas(self):
        kernels = self.kernels("--nnmf-kernel", "cublas", device="cublas, fp32, batches of 50")
        self.assertEqual(len(kernels), 12)
        self.assertEqual(set(kernels.values()), {"cuBLAS, product by product"})


class Runs(EmulatedTest):
    """Small runs: 13 training images in steps of 5 (the last one is smaller), 7 test images."""

    def small(self, name, *options, dataset=(), epochs=2, **how):
        """-> the run's folder."""
        run, log = self.folder / name, self.folder / f"{name}.csv"
        data = dataset or [*SMALL, "--data", program.mnist_folder()]
        self.succeed("train", *CUDA, *data, "--train-range", "0:13", "--test-range", "0:7",
                     "--epochs", epochs, "--log-steps", log, "--out", run, *options, **how)
        return run

    def log(self, name):
        header, *rows = (self.folder / f"{name}.csv").read_text().splitlines()
        self.assertEqual(header, "step,loss,correct")
        return rows

    def check_same(self, one, other):
        for name in ("last.safetensors", "best.safetensors"):
            self.check_same_checkpoint(self.folder / one / name, self.folder / other / name)
        self.assertEqual(*(program.metrics_rows(self.folder / run) for run in (one, other)))
        self.assertEqual(self.log(one), self.log(other))

    def test_resume(self):
        """Resumes within an epoch, and after its end, when the last step was smaller."""
        self.small("whole")
        for steps in (3,) if SANITIZED else (1, 3, 5):
            with self.subTest(steps=steps):
                name = f"in{steps}"
                run = self.small(name, "--max-steps", steps)
                self.assertEqual(len(self.log(name)), steps)
                self.succeed("--resume", run, "--log-steps", self.folder / f"{name}.csv")
                self.check_same("whole", name)

    def test_kernels_and_devices(self):
        """The CPU and all kernels and precisions use the same images and agree."""
        self.small("cpu", "--device", "cpu")
        expected = [list(map(float, row.split(","))) for row in self.log("cpu")]
        self.assertEqual(len(expected), 6)
        for way, allowed in WAYS:
            with self.subTest(way=way):
                self.small(way[1], *way)
                rows = [list(map(float, row.split(","))) for row in self.log(way[1])]
                self.assertEqual([row[0] for row in rows], [row[0] for row in expected])
                for (_, have, _), (_, loss, _) in zip(rows, expected):
                    self.assertAlmostEqual(have / loss, 1.0, delta=allowed)

    @unittest.skipIf(SANITIZED, "each order runs the same code")
    def test_order(self):
        """Results do not depend on the order of blocks, threads and lanes."""
        self.small("seed0", env={"CUDA_HOST_SEED": 0})
        for seed in (1, 5):
            self.small(f"seed{seed}", env={"CUDA_HOST_SEED": seed})
            self.check_same("seed0", f"seed{seed}")

    def test_cifar10(self):
        """Three channels: flips and colours."""
        data = ["--data", program.cifar10_folder(), "--iterations", 1, "--batch-size", 5,
                "--augment", "image"]
        self.small("cuda", dataset=data, epochs=1)
        self.small("cpu", "--device", "cpu", dataset=data, epochs=1)
        for one, other in zip(self.log("cuda"), self.log("cpu")):
            self.assertAlmostEqual(float(one.split(",")[1]), float(other.split(",")[1]), delta=1e-4)

    def test_baseline(self):
        """The CNN baseline agrees with the CPU, also in its statistics, and resumes bit for bit."""
        data = ["--arch", "cnn", "--dataset", "mnist", "--batch-size", "5", "--data",
                program.mnist_folder()]
        cuda, cpu = (self.small(device, "--device", device, dataset=data, epochs=2)
                     for device in ("cuda", "cpu"))
        for one, other in zip(self.log("cuda"), self.log("cpu")):
            self.assertAlmostEqual(float(one.split(",")[1]), float(other.split(",")[1]), delta=1e-4)
        ours, expected = (make_fixtures.read_safetensors(run / "best.safetensors")
                          for run in (cuda, cpu))
        for name in (name for name in expected if ".running_" in name):
            difference = np.linalg.norm(ours[name] - expected[name])
            self.assertLess(difference / np.linalg.norm(expected[name]), 1e-2, name)
        part = self.small("part", "--max-steps", 4, dataset=data, epochs=2)
        self.succeed("--resume", part, "--log-steps", self.folder / "part.csv")
        self.check_same("cuda", "part")
        for statistics in ("batch", "population"):
            arguments = ["eval", *data, "--bn-statistics", statistics, "--weights",
                         cuda / "best.safetensors"]
            results = [self.succeed(*arguments, "--device", device).out
                       for device in ("cuda", "cpu")]
            self.assertEqual(*results)

    def test_eval(self):
        """Testing the file gives the best result of the training."""
        run = self.small("run")
        rows = program.metrics_rows(run)
        best = max(int(row[rows[0].index("test_correct")]) for row in rows[1:])
        result = self.succeed("eval", *CUDA, *SMALL, "--data", program.mnist_folder(7, 7),
                              "--weights", run / "best.safetensors")
        self.assertIn(f"({best} of 7)", result.out)

    @unittest.skipIf(SANITIZED, "test_at_once has sanitizers")
    def test_batches_at_once(self):
        """The test and statistics of a run, and a test of the file, recorded and replayed."""
        ranges = ["--test-range", "0:28", "--batches-at-once"]
        found = []
        for number in (1, 3):
            run = self.small(f"with{number}", *ranges, number)
            table = self.folder / f"{number}.npy"
            self.succeed("eval", *CUDA, *SMALL, "--data", program.mnist_folder(7, 28), "--weights",
                         run / "best.safetensors", "--batches-at-once", number, "--probabilities",
                         table)
            found.append(table.read_bytes())
        self.check_same("with1", "with3")
        self.assertEqual(*found)

    def test_robustness(self):
        """The attack needs the gradient of the pixels. One of 7 images may be classified differently."""
        weights = self.small("run", epochs=1) / "best.safetensors"
        rows = {}
        for device in ("cuda", "cpu"):
            out = self.folder / f"{device}.csv"
            self.succeed("robustness", "--device", device, *SMALL, "--data",
                         program.mnist_folder(7, 7), "--weights", weights, "--repetitions", 1,
                         "--kind", "gradient-sign", "--levels", "0.01,0.1", "--out", out)
            rows[device] = [line.split(",") for line in out.read_text().splitlines()[1:]]
        self.assertEqual(len(rows["cuda"]), 3)
        for ours, expected in zip(rows["cuda"], rows["cpu"]):
            self.assertEqual(ours[:5], expected[:5])
            self.assertAlmostEqual(float(ours[5]), float(expected[5]), delta=100 / 7 + 0.1)

    def test_automatic_device(self):
        result = self.succeed("--device", "auto", *SMALL, "--data", program.mnist_folder(2, 2),
                              "--epochs", 1, "--out", self.folder / "run")
        self.assertIn("\nDevice: host emulation, CUDA, fused, fp32\n", result.out)

    def test_options_of_the_cpu(self):
        """An error if the device cannot be the CPU; accepted if it might have been."""
        for name, value in (("--cpu", "portable"), ("--threads", 2)):
            with self.subTest(name):
                self.fail_with(2, "info", "--device", "cuda", name, value, mention=[name, "--device cuda"])
                self.assertIn("host emulation",
                              self.succeed("info", "--device", "auto", name, value).out)
        run = self.small("run", "--max-steps", 1)
        self.fail_with(2, "--resume", run, "--threads", 2, mention=["--threads", "--device cuda"])


class Memory(EmulatedTest):
    """Too little GPU memory: an error with what was asked for and what is free; no folder is left."""

    def refuse(self, megabytes, what, *options):
        run = self.folder / "run"
        result = self.fail_with(1, "train", "--device", "cuda", "--out", run, *options,
                                mention=("out of GPU memory: ", what, "bytes were asked for", "are free",
                                         "--batch-size"),
                                env={"CUDA_HOST_MEMORY": megabytes << 20})
        self.assertFalse(run.exists())
        return result

    def test_of_the_network(self):
        self.refuse(34, "", *SMALL, "--data", program.mnist_folder())

    def test_of_the_images(self):
        """50000 images of 3 x 32 x 32 bytes."""
        result = self.refuse(128, "the images: 153600000 bytes", "--batch-size", 2, "--iterations", 1,
                             "--data", program.cifar10_folder())
        free, total = re.search(r"(\d+) of (\d+) are free", result.err).groups()
        self.assertEqual(int(total), 128 << 20)
        self.assertLess(int(free), 153600000)


if __name__ == "__main__":
    program.main()
