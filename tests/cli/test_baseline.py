#!/usr/bin/env python3
"""The CNN baseline (--arch cnn) and population statistics (--bn-statistics) on the command line;
both are also compared with the PyTorch reference on the real CIFAR-10.

Environment, besides program.py's: NNMF_DATA, the folder with the official CIFAR-10 files. The
comparison is skipped without it or without PyTorch.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import unittest

import numpy as np

import program
from program import ProgramTest, Running, make_fixtures

USAGE = 2
DATA = os.environ.get("NNMF_DATA")
REFERENCE = program.TESTS.parent / "bench" / "torch_nnmf.py"
HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "safetensors"))
SMALL = ["--dataset", "mnist", "--batch-size", "5"]
ARCHITECTURES = {"nnmf": ["--iterations", "2"], "cnn": ["--arch", "cnn"]}

OUTPUT_TOLERANCE = 2e-5
GRADIENT_TOLERANCE = 1e-4
# Inputs of ReLUs. Rounding decides the sign of a value near 0, where a gradient jumps.
BEFORE_RELU = {"cnn": ("5", "8", "14", "21", "24", "30", "36", "38"),
               "nnmf": ("7", "13", "21", "27", "33")}
JUMP_TOLERANCE = 1e-2
# A bias in front of a batch norm with the batch's statistics has no effect.
ZERO_GRADIENTS = {"7.bias.grad", "23.bias.grad"}
ZERO_TOLERANCE = 1e-7


def correct_of(result):
    return int(re.search(r"\((\d+) of \d+\)", result.out)[1])


def statistics_of(path):
    return {k: v for k, v in make_fixtures.read_safetensors(path).items() if ".running_" in k}


class SmallTest(ProgramTest):
    """Small runs: 60 training images in steps of 5, 30 test images."""

    def train(self, name, *options, arch="cnn", epochs=1):
        """-> the run's folder."""
        run = self.folder / name
        self.succeed("train", *SMALL, *ARCHITECTURES[arch], "--data", program.mnist_folder(),
                     "--epochs", epochs, "--out", run, *options)
        return run

    def eval(self, weights, *options, arch="cnn"):
        return self.succeed("eval", *SMALL, *ARCHITECTURES[arch], "--data", program.mnist_folder(),
                            "--weights", weights, *options)


class Baseline(SmallTest):
    def test_info(self):
        result = self.succeed("info", "--arch", "cnn")
        self.assertIn("\nParameters: cnn_top 14528, nnmf 173344, batchnorm 576, total 188448\n",
                      result.out)
        self.assertRegex(result.out, r"(?m)^4 +convolution 1x1 +75,24,24 +-> 32,24,24 +2400  nnmf$")
        self.assertNotIn("NNMF", result.out, result)

    def test_training_is_resumed_bit_for_bit(self):
        whole = self.train("whole", epochs=2)
        part = self.train("part", "--max-steps", 17, epochs=2)
        self.succeed("--resume", part)
        for name in ("last.safetensors", "best.safetensors"):
            self.check_same_checkpoint(whole / name, part / name)
        weights = make_fixtures.read_safetensors(whole / "best.safetensors")
        self.assertEqual(weights["4.weight"].shape, (32, 25, 1, 1))
        self.assertEqual(weights["43.weight"].shape, (10, 96, 1, 1))
        self.assertNotIn("43.bias", weights)

    @unittest.skipIf(program.is_sanitized(), "each epoch runs the same code")
    def test_it_learns(self):
        """Checks the best epoch: with so few images and this learning rate, rounding decides
        whether a late epoch gets worse."""
        rows = program.metrics_rows(self.train("run", "--augment", "none", epochs=40))[1:]
        losses = [float(row[4]) for row in rows]
        best = losses.index(min(losses))
        self.assertLess(losses[best], 0.8 * losses[0], rows)
        self.assertGreater(int(rows[best][5]), 2 * int(rows[0][5]), rows)

    def test_weights_of_the_other_architecture(self):
        """With the architecture in the file's metadata, and without, as in files from other programs."""
        weights = {arch: self.train(arch, arch=arch) / "best.safetensors" for arch in ARCHITECTURES}
        plain = {arch: self.folder / f"{arch}.safetensors" for arch in weights}
        for arch, path in weights.items():
            make_fixtures.write_safetensors(plain[arch], make_fixtures.read_safetensors(path), {})
        for arch, other in (("nnmf", "cnn"), ("cnn", "nnmf")):
            common = [*SMALL[:2], "--arch", arch, "--data", program.mnist_folder()]
            for status, path, mention in (
                    (1, plain[other], f"it is of --arch {other}, not {arch}"),
                    (USAGE, weights[other], f"--arch {arch}: {weights[other]} was trained with {other}")):
                self.fail_with(status, "eval", *common, "--weights", path, mention=(path, mention))
                self.fail_with(status, "train", *common, "--init", path, "--out",
                               self.folder / "none", mention=(path, mention))
            self.assertFalse((self.folder / "none").exists())
            self.succeed("eval", "--weights", weights[arch], "--data", program.mnist_folder())

    def test_options_of_nnmf(self):
        for option, value in (("iterations", 3), ("epsilon", 0.5), ("positive-function", "exp"),
                              ("beta", 1), ("local-learning", "kl"), ("nnmf-kernel", "cublas")):
            self.fail_with(USAGE, "info", f"--{option}", value, "--arch", "cnn",
                           mention=(f"--{option}", "--arch cnn"))
        self.fail_with(USAGE, "info", "--arch", "rnn", mention="nnmf, cnn")
        run = self.train("run", arch="cnn")
        self.fail_with(USAGE, "--resume", run, "--nnmf-kernel", "cublas",
                       mention=("--nnmf-kernel", "--arch cnn"))


class Population(SmallTest):
    def test_of_a_run(self):
        """A run measures them at its end for the best and last weights; the command measures the same."""
        for arch in ARCHITECTURES:
            with self.subTest(arch=arch):
                run = self.train(arch, arch=arch, epochs=3)
                for name in ("best", "last"):
                    path = run / f"{name}.safetensors"
                    measured = self.folder / f"{name}.safetensors"
                    self.succeed("statistics", *SMALL, *ARCHITECTURES[arch], "--data",
                                 program.mnist_folder(), "--weights", path, "--out", measured)
                    expected, ours = statistics_of(measured), statistics_of(path)
                    self.assertEqual(len(ours), 12)
                    for key, value in expected.items():
                        self.assertTrue((ours[key] == value).all(), key)
                    # The weights and their metadata stay.
                    before, metadata = program.read_checkpoint(path)
                    after, kept = program.read_checkpoint(measured)
                    self.assertEqual(kept, metadata)
                    for key, value in after.items():
                        self.assertTrue((before[key] == value).all(), key)

    def test_an_image_has_a_result_of_its_own(self):
        run = self.train("run", arch="nnmf")
        probabilities = {}
        for statistics in ("batch", "population"):
            for size in (5, 7, 30):
                path = self.folder / f"{statistics}{size}.npy"
                self.eval(run / "best.safetensors", "--bn-statistics", statistics,
                          "--probabilities", path, "--batch-size", size, arch="nnmf")
                probabilities[statistics, size] = np.load(path)
        for size in (7, 30):
            np.testing.assert_allclose(probabilities["population", size],
                                       probabilities["population", 5], rtol=1e-6)
            self.assertGreater(np.abs(probabilities["batch", size]
                                      - probabilities["batch", 5]).max(), 1e-6)

    def test_statistics_are_those_of_the_images(self):
        """Those of layer 5 agree with traces of all batches."""
        run = self.train("run", arch="nnmf")
        seen = []
        for offset in range(0, 60, 5):
            out = self.folder / "trace.safetensors"
            self.succeed("trace", *SMALL, *ARCHITECTURES["nnmf"], "--data", program.mnist_folder(),
                         "--split", "train", "--offset", offset, "--out", out, "--weights",
                         run / "best.safetensors")
            seen.append(make_fixtures.read_safetensors(out))
        statistics = statistics_of(run / "best.safetensors")
        for before, index in (("4", "5"), ("20", "21")):
            values = np.concatenate([x[f"{before}.output"] for x in seen]).astype(np.float64)
            for name, expected in (("mean", values.mean(axis=(0, 2, 3))),
                                   ("var", values.var(axis=(0, 2, 3)))):
                np.testing.assert_allclose(statistics[f"{index}.running_{name}"], expected,
                                           rtol=2e-5, err_msg=f"{index} {name}")

    def test_training_goes_on_without_them(self):
        """Statistics are only valid for the weights they were measured with."""
        run = self.train("run")
        self.assertEqual(len(statistics_of(run / "last.safetensors")), 12)
        self.succeed("--resume", run, "--epochs", 3, "--max-steps", 14)
        self.assertEqual(statistics_of(run / "last.safetensors"), {})
        self.succeed("--resume", run, "--epochs", 3)
        whole = self.train("whole", epochs=3)
        for name in ("last.safetensors", "best.safetensors"):
            self.check_same_checkpoint(whole / name, run / name)

    def test_not_wanted(self):
        run = self.train("run", "--no-population")
        for name in ("best.safetensors", "last.safetensors"):
            self.assertEqual(statistics_of(run / name), {})
        self.fail_with(1, "eval", *SMALL, "--arch", "cnn", "--data", program.mnist_folder(),
                       "--weights", run / "best.safetensors", "--bn-statistics", "population",
                       mention=(run / "best.safetensors", "no population statistics"))

    def test_errors(self):
        run = self.train("run")
        arguments = [*SMALL, "--arch", "cnn", "--data", program.mnist_folder()]
        self.fail_with(USAGE, "statistics", *arguments, "--weights", run / "best.safetensors",
                       mention="--out")
        self.fail_with(USAGE, "statistics", *arguments, "--out", self.folder / "out",
                       mention="--weights")
        arrays, metadata = program.read_checkpoint(run / "best.safetensors")
        broken = self.folder / "broken.safetensors"
        for change, mention in ((lambda a: a.pop("8.running_var"), "8.running_var"),
                                (lambda a: a.update({"8.running_var": -a["8.running_var"]}),
                                 "cannot be a variance"),
                                (lambda a: a.update({"5.running_mean": a["5.running_mean"][1:]}),
                                 "5.running_mean")):
            changed = dict(arrays)
            change(changed)
            make_fixtures.write_safetensors(broken, changed, metadata)
            self.fail_with(1, "eval", *arguments, "--weights", broken, mention=(broken, mention))

    def test_a_signal_ends_the_measuring(self):
        """The run is complete except for the statistics, which are measured when it is resumed."""
        run = self.folder / "run"
        training = Running("train", "--dataset", "mnist", "--iterations", 300, "--batch-size", 5,
                           "--threads", 1, "--data", program.mnist_folder(), "--epochs", 1,
                           "--test-range", "0:5", "--out", run)
        training.wait_for(b"Testing: Correct=")
        training.signal(signal.SIGINT)
        result = training.finish()
        self.check_clean(result)
        if result.status == 0:
            self.skipTest("the signal came too late")
        self.assertEqual(result.status, 128 + signal.SIGINT, result)
        self.assertIn(f"nnmf-train --resume {run}", result.out, result)
        self.assertEqual(len(program.metrics_rows(run)), 2)
        self.succeed("--resume", run)
        self.assertEqual(len(statistics_of(run / "best.safetensors")), 12)
        self.assertEqual(len(statistics_of(run / "last.safetensors")), 12)


@unittest.skipIf(program.is_sanitized(), "the build without sanitizers compares the numbers")
@unittest.skipUnless(DATA, "NNMF_DATA is not set")
@unittest.skipUnless(HAS_TORCH, "PyTorch or safetensors for Python is not installed")
class PyTorchReference(ProgramTest):
    """Outputs and gradients of one batch of 50."""

    def weights_of(self, arch):
        """Random weights close to the initial ones, with the statistics of 1000 images. Trained
        weights would depend on rounding, and so on the compiler."""
        weights = self.folder / f"{arch}.safetensors"
        if not weights.exists():
            start, drawn = self.folder / "start", self.folder / "drawn.safetensors"
            self.succeed("train", "--arch", arch, "--data", DATA, "--train-range", "0:50",
                         "--test-range", "0:50", "--max-steps", 1, "--no-population", "--out", start)
            arrays, metadata = program.read_checkpoint(start / "last.safetensors")
            draws = np.random.default_rng(6)
            arrays = {name: value * draws.uniform(0.5, 1.5, value.shape).astype(np.float32)
                      + draws.normal(0.0, 0.05, value.shape).astype(np.float32) * (value.ndim != 2)
                      for name, value in arrays.items() if "optimiser" not in name}
            make_fixtures.write_safetensors(drawn, arrays, metadata)
            self.succeed("statistics", "--arch", arch, "--weights", drawn, "--data", DATA,
                         "--train-range", "0:1000", "--out", weights)
        return weights

    def trace_both(self, arch, statistics):
        weights = self.weights_of(arch)
        options = ["--arch", arch, "--weights", weights, "--bn-statistics", statistics, "--data",
                   DATA, "--offset", "100"]
        ours, theirs = self.folder / f"{statistics}.ours", self.folder / f"{statistics}.pytorch"
        self.succeed("trace", *options, "--out", ours)
        done = subprocess.run([sys.executable, "-B", REFERENCE, "trace", *map(str, options), "--float64",
                               "--out", theirs], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return make_fixtures.read_safetensors(ours), make_fixtures.read_safetensors(theirs)

    def check(self, arch, statistics):
        ours, theirs = self.trace_both(arch, statistics)
        self.assertEqual(sorted(ours), sorted(theirs))
        flipped = sum(int(((ours[f"{i}.output"] > 0) != (theirs[f"{i}.output"] > 0)).sum())
                      for i in BEFORE_RELU[arch])
        wrong, worst = [], {}
        for name, value in theirs.items():
            value = value.astype(np.float64)
            error = np.linalg.norm(ours[name] - value) / max(np.linalg.norm(value), 1e-30)
            kind, tolerance = "output", OUTPUT_TOLERANCE
            if name in ZERO_GRADIENTS and statistics == "batch":
                kind, tolerance, error = "zero", ZERO_TOLERANCE, np.abs(ours[name]).max()
            elif name.endswith(".grad"):
                kind, tolerance = "gradient", JUMP_TOLERANCE if flipped else GRADIENT_TOLERANCE
            worst[kind] = max(worst.get(kind, (0.0, "")), (error, name))
            if not error <= tolerance:  # also true for NaN
                wrong.append(f"{name}: {error:.2e}, at most {tolerance:.0e} was expected")
        figures = ", ".join(f"{kind} {error:.1e} ({name})" for kind, (error, name) in worst.items())
        print(f"{arch}, {statistics}: {figures}, {flipped} signs differ", flush=True)
        self.assertEqual(wrong, [])

    def test_baseline(self):
        for statistics in ("batch", "population"):
            with self.subTest(statistics=statistics):
                self.check("cnn", statistics)

    def test_population_statistics_of_nnmf(self):
        self.check("nnmf", "population")


if __name__ == "__main__":
    program.main()
