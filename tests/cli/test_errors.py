#!/usr/bin/env python3
"""Errors of a run: missing device, out of memory, non-finite numbers. Checks the exit status, the one-line
message, and that no partial files remain."""

import gzip
import resource
import shutil
import unittest

import numpy as np

import program
from program import SMALL, WRAPPER, ProgramTest, make_fixtures

FAILED, USAGE = 1, 2


class Device(ProgramTest):
    def test_cuda_without_a_device(self):
        result = program.execute("--device", "cuda", "--data", program.mnist_folder(), *SMALL,
                                 "--epochs", 1, "--train-range", "0:5", "--test-range", "0:5",
                                 "--out", self.folder / "run")
        if result.status == 0:
            self.skipTest("there is a CUDA device")
        self.check_failure(result, FAILED, "--device cuda")
        self.assertFalse((self.folder / "run").exists())

    @unittest.skipUnless(program.instruction_sets(), "the kernel does not list the CPU's instruction sets")
    def test_missing_instruction_set(self):
        available = program.instruction_sets()
        for name in {"avx512", "avx2", "portable"} - set(available):
            with self.subTest(name):
                self.fail_with(FAILED, "info", "--device", "cpu", "--cpu", name, out=None,
                               mention=[f"--cpu {name}", f"has: {', '.join(available)}"])
        self.fail_with(USAGE, "info", "--cpu", "sse2",
                       mention="is not one of auto, avx512, avx2, portable")

    def test_options_of_another_device(self):
        for device, options in (("cuda", (("cpu", "portable"), ("cpu", "auto"), ("threads", 2))),
                                ("cpu", (("precision", "tf32"), ("nnmf-kernel", "cublas")))):
            for name, value in options:
                with self.subTest(device=device, option=name):
                    self.fail_with(USAGE, "info", "--device", device, f"--{name}", value,
                                   mention=[f"--{name}", f"--device {device}"])
                    self.fail_with(USAGE, "--data", program.mnist_folder(), *SMALL, "--device", device,
                                   f"--{name}", value, "--out", self.folder / "run",
                                   mention=f"--device {device}")
                    self.assertFalse((self.folder / "run").exists())


@unittest.skipIf(WRAPPER or program.is_sanitized(), "the memory checker needs address space")
class Memory(ProgramTest):
    """Running out of memory is reported, and leaves nothing or a run that can be resumed."""

    def check_limits(self, kind, data, options, minimum, maximum, step):
        statuses = set()
        for megabytes in range(minimum, maximum, step):
            run = self.folder / f"run-{megabytes}"
            with self.subTest(megabytes=megabytes):
                result = program.execute(
                    "--dataset", kind, "--data", data, *options, "--out", run,
                    prepare=program.limit(resource.RLIMIT_AS, megabytes << 20))
                if result.status == 127 and "shared librar" in result.err:
                    continue  # the program was not even loaded
                statuses.add(result.status)
                if result.status == 0:
                    self.check_success(result)
                    continue
                self.check_failure(result, FAILED)
                self.assertRegex(result.err, "memory|thread", result)
                self.check_no_leftovers(self.folder)
                if run.exists():
                    self.succeed("--resume", run)
        return statuses

    def test_small_limits(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1, "--train-range", "0:5",
                   "--test-range", "0:5", "--threads", 2]
        statuses = self.check_limits("mnist", program.mnist_folder(), options, 6, 40, 2)
        self.assertEqual(statuses, {0, 1})

    def test_many_threads(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1, "--train-range", "0:5",
                   "--test-range", "0:5", "--threads", 16]
        self.check_limits("mnist", program.mnist_folder(), options, 20, 200, 60)

    def test_data_larger_than_memory(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1, "--train-range", "0:5",
                   "--test-range", "0:5"]
        statuses = self.check_limits("cifar10", program.cifar10_folder(), options, 50, 350, 100)
        self.assertIn(1, statuses)

    def test_unpacking(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1]
        data = program.write_idx_folder(self.folder / "data", 60, 30)
        (data / "train-images-idx3-ubyte").unlink()
        (data / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1 << 28), 1))
        self.check_limits("mnist", data, options, 20, 220, 100)

    def test_huge_batch(self):
        self.fail_with(FAILED, *SMALL, "--data", program.mnist_folder(), "--batch-size", 10000,
                       "--epochs", 1, "--out", self.folder / "run", mention="memory",
                       prepare=program.limit(resource.RLIMIT_AS, 1 << 29))
        self.assertFalse((self.folder / "run").exists())


class NotFinite(ProgramTest):
    """Training with numbers that a float cannot hold."""

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.weights = self.folder / "w.safetensors"
        self.arrays = make_fixtures.weights("mnist")
        self.common = ["--data", program.mnist_folder(), *SMALL]

    def write_huge(self, *names):
        huge = {name: np.full_like(self.arrays[name], 3e38) for name in names}
        make_fixtures.write_safetensors(self.weights, self.arrays | huge, {})

    def check_last(self):
        """The last checkpoint is finite: it can be tested and resumed."""
        last = self.run_folder / "last.safetensors"
        arrays, _ = program.read_checkpoint(last)
        self.assertTrue(all(np.isfinite(value).all() for value in arrays.values()))
        self.check_no_leftovers(self.run_folder)

    def test_loss(self):
        """The message names the step, with and without --log-steps."""
        self.write_huge("39.weight", "39.bias")  # their sum is infinite
        for options in ([], ["--log-steps", self.folder / "steps.csv"]):
            result = self.fail_with(FAILED, *self.common, "--init", self.weights, "--epochs", 1,
                                    "--out", self.run_folder, *options, out=None,
                                    mention=("not finite", "epoch 0", "step 0"))
            self.assertIn("last.safetensors", result.err, result)
            self.check_last()
            shutil.rmtree(self.run_folder)

    def test_each_layer(self):
        """An overflow in any layer reaches the loss: no ReLU turns NaN into 0."""
        for names in (["5.weight"], ["7.weight"], ["6.weight", "6.bias"], ["13.weight"],
                      ["20.weight", "20.bias"], ["27.weight"], ["33.weight", "33.bias"]):
            with self.subTest(names):
                self.write_huge(*names)
                self.fail_with(FAILED, "eval", *self.common, "--weights", self.weights,
                               mention="not finite", out=None)
                shutil.rmtree(self.run_folder, ignore_errors=True)
                self.fail_with(FAILED, *self.common, "--init", self.weights, "--epochs", 1,
                               "--out", self.run_folder, out=None,
                               mention=("not finite", "epoch 0", "step 0"))
                self.check_last()

    def test_after_a_good_epoch(self):
        """After a later overflow the last good checkpoint is unchanged."""
        self.succeed(*self.common, "--lr-cnn-top", "1e6", "--lr-nnmf", "1e6", "--lr-batchnorm",
                     "1e6", "--epochs", 1, "--out", self.run_folder)
        last = self.run_folder / "last.safetensors"
        arrays, metadata = program.read_checkpoint(last)
        for name in ("39.weight", "39.bias"):
            arrays[name] = np.full_like(arrays[name], 3e38)
        make_fixtures.write_safetensors(last, arrays, metadata)
        before = last.read_bytes()
        self.fail_with(FAILED, "--resume", self.run_folder, "--epochs", 3, out=None,
                       mention=("not finite", "epoch 1", "step 0", last))
        self.assertTrue(last.read_bytes() == before)
        self.succeed("--resume", self.run_folder, "--epochs", 1)


if __name__ == "__main__":
    program.main()
