#!/usr/bin/env python3
"""The real Fashion-MNIST, if Debian's package dataset-fashion-mnist is installed."""

import pathlib
import unittest

import program
from program import ProgramTest

FASHION_MNIST = pathlib.Path("/usr/share/datasets/fashion-mnist")


@unittest.skipUnless(FASHION_MNIST.is_dir(), "dataset-fashion-mnist is not installed")
class FashionMnist(ProgramTest):
    def test_training(self):
        run = self.folder / "run"
        result = self.succeed("train", "--dataset", "fashion-mnist", "--data", FASHION_MNIST,
                              "--train-range", "0:200", "--test-range", "0:100", "--epochs", 1,
                              "--out", run)
        self.assertIn("200 training and 100 test images", result.out, result)
        (row,) = program.metrics_rows(run)[1:]
        self.assertGreater(float(row[4]), 0.0)

    def test_whole_data_set(self):
        """60000 training and 10000 test images."""
        weights = self.folder / "w.safetensors"
        arrays = program.make_fixtures.weights("mnist")
        program.make_fixtures.write_safetensors(weights, arrays, {})
        common = ["--dataset", "fashion-mnist", "--data", FASHION_MNIST, "--weights", weights,
                  "--iterations", 1, "--batch-size", 5, "--out", self.folder / "t.safetensors"]
        for split, images in (("train", 60000), ("test", 10000)):
            self.succeed("trace", *common, "--split", split, "--offset", images - 5)
            self.fail_with(2, "trace", *common, "--split", split, "--offset", images - 4,
                           mention=str(images))


if __name__ == "__main__":
    program.main()
