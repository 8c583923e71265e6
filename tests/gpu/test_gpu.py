#!/usr/bin/env python3
"""Tests of the program on a GPU: `--device cuda` with either NNMF kernel.

    test_gpu.py CLASS [CLASS...]

Exits with 77 (skipped) if all tests lack what they need. Environment: as for tests/cli, and
NNMF_REFERENCE and NNMF_DATA as for tests/cli/test_reference.py; NNMF_GPU_OPTIONS replaces
"--device cuda", to try the tests without a GPU.
"""

import csv
import os
import pathlib
import re
import shlex
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
import program  # noqa: E402
import test_fixtures  # noqa: E402
import test_reference  # noqa: E402
import test_runs  # noqa: E402
from program import SMALL, make_fixtures  # noqa: E402

ON_GPU = shlex.split(os.environ.get("NNMF_GPU_OPTIONS", "--device cuda"))
KERNELS = ("fused", "cublas")


def options_for(kernel, precision="fp32"):
    return [*ON_GPU, "--nnmf-kernel", kernel, "--precision", precision]


class OnGpu:
    """Adds `self.options` to every command."""

    options = options_for("fused")

    def succeed(self, *arguments, **how):
        return super().succeed(*arguments, *self.options, **how)


# ---- against reference results ----


class ReferenceFused(OnGpu, test_reference.Reference):
    """Traces, trajectory, and the published model's 8525 correct images; tolerances of the CPU."""


class ReferenceCublas(OnGpu, test_reference.Reference):
    options = options_for("cublas")


class Reference3xtf32(OnGpu, test_reference.Reference):
    """Tensor cores with operands split in two; also with the tolerances of the CPU."""

    options = options_for("fused", "3xtf32")


class FixturesFused(OnGpu, test_fixtures.Fixtures):
    """Every operation and variant, end to end."""


class FixturesCublas(OnGpu, test_fixtures.Fixtures):
    options = options_for("cublas")


class Tf32(OnGpu, test_reference.Reference):
    """Prints how far TF32 is from the float64 traces; the bounds only catch broken results.

    TF32 keeps 11 bits, a rounding error of 5e-4 in each factor of a product, and twenty iterations
    multiply it several times. A gradient also jumps if a value before a ReLU is that close to zero;
    about 1 in 1000 is, so the error of a gradient may be the square root of that. With the fused
    kernel emulated, trace_trained was off by 7e-4 in an output and 2e-2 in a gradient.
    """

    OUTPUT_BOUND, GRADIENT_BOUND = 1e-2, 2e-1

    def check_trace(self, trace):
        weights, split, offset, options = test_reference.TRACES[trace]
        out = self.folder / "trace.safetensors"
        self.succeed("trace", "--weights", self.reference(f"{weights}.safetensors"), "--data",
                     test_reference.DATA, "--split", split, "--offset", offset, "--out", out,
                     *options)
        ours, _ = program.read_checkpoint(out)
        expected, _ = program.read_checkpoint(self.reference(f"trace_{trace}.safetensors"))
        worst = {"gradient": (0.0, ""), "output": (0.0, "")}
        no_effect = test_reference.ZERO_GRADIENTS | test_reference.UNDONE_GRADIENTS
        for name, value in expected.items():
            if name in no_effect:
                continue
            kind = "gradient" if name.endswith(".grad") else "output"
            mine = ours[name][:4] if name.endswith(".output") else ours[name]
            worst[kind] = max(worst[kind], (test_reference.relative(mine, value), name))
        for kind, (error, name) in worst.items():
            print(f"tf32 {trace}: worst {kind} {error:.1e} ({name})", flush=True)
        self.assertLess(worst["output"][0], self.OUTPUT_BOUND, worst)
        self.assertLess(worst["gradient"][0], self.GRADIENT_BOUND, worst)

    def test_eval_of_the_published_model(self):
        result = self.succeed("eval", "--weights", self.reference("model_8525.safetensors"),
                              "--data", test_reference.DATA)
        correct = int(re.search(r"\((\d+) of 10000\)", result.out)[1])
        print(f"tf32 eval: {correct} correct, 8525 published", flush=True)
        self.assertLessEqual(abs(correct - 8525), 30, result)

    def test_trajectory(self):
        log = self.folder / "steps.csv"
        self.succeed("train", "--init", self.reference("init_21.safetensors"), "--data",
                     test_reference.DATA, "--train-range", "0:2000", "--no-shuffle", "--augment",
                     "none", "--epochs", 1, "--test-range", "0:50", "--log-steps", log, "--out",
                     self.folder / "run")
        with open(log) as ours, open(self.reference("trajectory.csv")) as expected:
            ours, expected = list(csv.DictReader(ours)), list(csv.DictReader(expected))
        errors = [abs(float(o["loss"]) / float(e["loss"]) - 1) for o, e in zip(ours, expected)]
        print(f"tf32 trajectory: first 6 {max(errors[:6]):.1e}, all {max(errors):.1e}", flush=True)
        self.assertEqual(len(ours), 40)
        self.assertLess(max(errors[:6]), 1e-2, errors)
        self.assertLess(max(errors), 1e-1, errors)


def tf32_of(name, kernel):
    """The tests of test_reference, with those that it adds one by one, but without its class."""
    return type(name, (Tf32,), {"options": options_for(kernel, "tf32"), "__module__": __name__})


Tf32Fused, Tf32Cublas = tf32_of("Tf32Fused", "fused"), tf32_of("Tf32Cublas", "cublas")


# ---- against the CPU ----


class Agreement(test_runs.RunTest):
    """The same 200 steps on the GPU and on the CPU.

    Rounding differs, and training amplifies it step by step. A third run measures by how much: the
    CPU with initial weights that are off by one float32 rounding. The GPU rounds differently in
    every operation of every step, so it may deviate further, but in the same way.
    """

    STEPS, FIRST = 200, 5
    FIRST_BOUND = 1e-5
    MIN_BOUND, FACTOR = 1e-3, 10.0

    def losses(self, name, weights, options):
        log = self.folder / f"{name}.csv"
        self.succeed("train", "--data", program.mnist_folder(500, 30), "--dataset", "mnist",
                     "--iterations", 5, "--batch-size", 5, "--epochs", 2, "--init", weights,
                     "--log-steps", log, "--out", self.folder / name, *options)
        with open(log) as rows:
            losses = np.array([float(row["loss"]) for row in csv.DictReader(rows)])
        self.assertEqual(len(losses), self.STEPS)
        return losses

    def weights(self, name, arrays):
        path = self.folder / f"{name}.safetensors"
        make_fixtures.write_safetensors(path, arrays, {})
        return path

    def test_200_steps(self):
        arrays = make_fixtures.weights("mnist")
        random = np.random.default_rng(0)
        near = {name: np.nextafter(a, random.choice([-np.inf, np.inf], a.shape)
                                   .astype(a.dtype)).astype(a.dtype)
                for name, a in arrays.items()}
        start = self.weights("start", arrays)
        cpu = self.losses("cpu", start, ["--device", "cpu"])
        deviation = np.abs(self.losses("near", self.weights("near", near), ["--device", "cpu"]) / cpu
                         - 1).max()
        bound = max(self.MIN_BOUND, self.FACTOR * deviation)
        print(f"200 steps: the CPU deviates by {deviation:.1e} when its weights are rounded "
              f"differently", flush=True)
        for kernel in KERNELS:
            with self.subTest(kernel=kernel):
                gpu = self.losses(kernel, start, options_for(kernel))
                errors = np.abs(gpu / cpu - 1)
                print(f"200 steps, {kernel}: first {self.FIRST} losses off by "
                      f"{errors[: self.FIRST].max():.1e}, all {errors.max():.1e}", flush=True)
                self.assertLess(errors[0], 2e-6, errors)
                self.assertLess(errors[: self.FIRST].max(), self.FIRST_BOUND, errors)
                self.assertLess(errors.max(), bound, errors)


# ---- bit for bit ----


class Repeated(OnGpu, test_runs.RunTest):
    def check_twice(self, kernel, *options, data=None):
        runs = []
        for number in (1, 2):
            runs.append(self.small(f"{kernel}{number}", "--nnmf-kernel", kernel, *options,
                                   data=data, epochs=2))
        self.check_same_run(*runs)

    options = ON_GPU

    def test_two_runs(self):
        for kernel in KERNELS:
            with self.subTest(kernel=kernel):
                self.check_twice(kernel)

    def test_a_smaller_last_batch(self):
        for kernel in KERNELS:
            with self.subTest(kernel=kernel):
                self.check_twice(kernel, "--train-range", "0:58", "--test-range", "0:23")

    def test_cifar10_with_the_usual_batch(self):
        """The published network as it is trained, with a separate augmentation for every image."""
        for kernel in KERNELS:
            runs = []
            for number in (1, 2):
                run = self.folder / f"{kernel}{number}"
                self.succeed("train", "--data", program.cifar10_folder(), "--train-range", "0:2000",
                             "--test-range", "0:500", "--epochs", 2, "--augment", "image",
                             "--nnmf-kernel", kernel, "--out", run)
                runs.append(run)
            with self.subTest(kernel=kernel):
                self.check_same_run(*runs)

    def test_eval_and_trace(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        common = [*SMALL, "--weights", weights, "--data", program.mnist_folder()]
        for kernel in KERNELS:
            files = []
            for number in (1, 2):
                trace, npy = self.folder / f"{number}.safetensors", self.folder / f"{number}.npy"
                self.succeed("trace", *common, "--nnmf-kernel", kernel, "--out", trace)
                self.succeed("eval", *common, "--nnmf-kernel", kernel, "--probabilities", npy)
                files.append((trace.read_bytes(), npy.read_bytes()))
            with self.subTest(kernel=kernel):
                self.assertTrue(files[0] == files[1])

    def test_log_steps_does_not_change_the_run(self):
        self.check_same_run(self.small("one"),
                            self.small("two", "--log-steps", self.folder / "steps.csv"))


class Resumed(OnGpu, test_runs.RunTest):
    options = ON_GPU

    def check_resumed(self, kernel, *first):
        whole = self.small(f"whole-{kernel}", "--nnmf-kernel", kernel, epochs=3)
        run = self.small(f"run-{kernel}", "--nnmf-kernel", kernel, *first, epochs=3)
        self.resume(run)
        self.check_same_run(whole, run)

    def test_in_the_middle_of_an_epoch(self):
        for kernel in KERNELS:
            with self.subTest(kernel=kernel):
                self.check_resumed(kernel, "--max-steps", 17)

    def test_after_an_epoch(self):
        whole = self.small("whole", epochs=2)
        run = self.small("run", epochs=1)
        self.resume(run, epochs=2)
        self.check_same_run(whole, run)


def main():
    run = unittest.main(verbosity=2, exit=False).result
    if not run.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if run.testsRun and len(run.skipped) == run.testsRun else 0)


if __name__ == "__main__":
    main()
