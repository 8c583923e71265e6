#!/usr/bin/env python3
"""Runs the program with three threads under ThreadSanitizer: reading data, training, and every
other command that computes."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
import png  # noqa: E402
import program  # noqa: E402
from program import ProgramTest, make_fixtures  # noqa: E402

THREE = ["--threads", 3]
NNMF = ["--dataset", "mnist", "--iterations", 2]
CNN = ["--dataset", "mnist", "--arch", "cnn"]
BATCH = ["--batch-size", 5]


class Threads(ProgramTest):
    def train(self, network):
        """Trains two epochs with the population pass, then one more. Returns the weights."""
        run, data = self.folder / "run", program.mnist_folder(30, 15, compress=True)
        log = ["--log-steps", self.folder / "steps.csv"]
        self.succeed("train", *network, *BATCH, "--data", data, "--epochs", 2, *log, "--out", run,
                     *THREE)
        self.succeed("--resume", run, "--epochs", 3, *log, *THREE)
        # ThreadSanitizer does not see the accesses of the wider instruction sets.
        self.assertEqual(json.loads((run / "config.json").read_text())["device"],
                         "CPU, portable, 3 threads")
        return run / "best.safetensors"

    def use(self, network, weights):
        data = program.mnist_folder(30, 15)
        common = [*network, *BATCH, "--data", data, "--weights", weights, *THREE]
        measured, picture = self.folder / "measured.safetensors", self.folder / "digit.png"
        self.succeed("eval", *common, "--probabilities", self.folder / "p.npy")
        self.succeed("trace", *common, "--out", self.folder / "trace.safetensors")
        self.succeed("statistics", *common, "--out", measured)
        for kind in ("gaussian-noise", "gradient-sign"):
            self.succeed("robustness", *common, "--kind", kind, "--levels", "0.1", "--repetitions",
                         1, "--out", self.folder / f"{kind}.csv")
        digit = make_fixtures.images("mnist", 0, 1)[0].transpose(1, 2, 0)
        picture.write_bytes(png.encode(digit, png.GREY))
        self.succeed("predict", *network, "--weights", measured, *THREE, picture)

    def test_nnmf(self):
        self.use(NNMF, self.train(NNMF))

    def test_baseline(self):
        self.use(CNN, self.train(CNN))


if __name__ == "__main__":
    program.main()
