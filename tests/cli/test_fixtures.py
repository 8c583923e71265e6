#!/usr/bin/env python3
"""`trace` against the expected results in tests/fixtures: every operation and variant, end to end."""

import subprocess
import sys

import program
from program import FIXTURES, ProgramTest, make_fixtures

OPTIONS = {
    "dataset": "--dataset",
    "split": "--split",
    "offset": "--offset",
    "batch": "--batch-size",
    "iterations": "--iterations",
    "epsilon": "--epsilon",
    "positive_function": "--positive-function",
    "local_learning": "--local-learning",
    "loss": "--loss",
}


class Fixtures(ProgramTest):
    def check(self, expected):
        _, case = program.read_checkpoint(expected)
        kind = case["dataset"]
        weights, trace = self.folder / "weights.safetensors", self.folder / "trace.safetensors"
        beta = None if case["beta"] == "none" else float(case["beta"])
        arrays = make_fixtures.weights(
            kind, beta, int(case["weight_scale"]), float(case["weight_shift"])
        )
        make_fixtures.write_safetensors(weights, arrays, {})
        last = int(case["offset"]) + int(case["batch"])
        data = program.cifar10_folder() if kind == "cifar10" else program.mnist_folder(last, last)
        options = [f"{o}={case[k]}" for k, o in OPTIONS.items() if case[k] != "none"
                   or k == "local_learning"]
        result = self.succeed("trace", "--weights", weights, "--data", data, "--out", trace,
                              *options)
        compared = subprocess.run(
            [sys.executable, "-B", make_fixtures.__file__, "compare", trace, expected],
            capture_output=True, text=True, check=False,
        )
        self.assertEqual(compared.returncode, 0, f"{compared.stdout}{compared.stderr}{result}")


def add_cases():
    for path in sorted(FIXTURES.glob("expected_*.safetensors")):
        name = "test_" + path.stem.removeprefix("expected_")
        setattr(Fixtures, name, lambda self, path=path: self.check(path))


add_cases()
if __name__ == "__main__":
    program.main()
