#!/usr/bin/env python3
"""`nnmf-train robustness` on the command line; compares the fast gradient sign attack with the PyTorch
reference on the real CIFAR-10.

Environment, besides program.py's: NNMF_REFERENCE and NNMF_DATA as in test_reference.py; the
comparison is skipped without them or without PyTorch.
"""

import csv
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import unittest

import program
from program import SMALL, ProgramTest

USAGE = 2
KINDS = ("gaussian-noise", "uniform-noise", "salt-and-pepper", "gaussian-blur", "contrast",
         "brightness", "pixelation", "gradient-sign")
REFERENCE, DATA = os.environ.get("NNMF_REFERENCE"), os.environ.get("NNMF_DATA")
HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "safetensors"))


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


class Robustness(ProgramTest):
    def setUp(self):
        """Trains briefly, since noise would not affect untrained weights."""
        super().setUp()
        self.succeed("train", *SMALL, "--data", program.mnist_folder(), "--epochs", 2,
                     "--no-population", "--out", self.folder / "run")
        self.weights = self.folder / "run" / "best.safetensors"

    def arguments(self, *options):
        return ["robustness", *SMALL, "--data", program.mnist_folder(), "--weights", self.weights,
                *options]

    def rows(self, *options):
        out = self.folder / "out.csv"
        self.succeed(*self.arguments("--out", out, *options))
        return rows_of(out)

    def test_all_kinds(self):
        rows = self.rows("--images", 20, "--repetitions", 2)
        self.assertEqual([row["kind"] for row in rows],
                         ["none", *(kind for kind in KINDS for _ in range(6))])
        for row in rows:
            self.assertEqual(row["images"], "20")
            self.assertEqual(row["repetitions"], "2" if "noise" in row["kind"]
                             or row["kind"] == "salt-and-pepper" else "1")
            self.assertTrue(0.0 <= float(row["accuracy_percent"]) <= 100.0, row)

    def test_no_perturbation_is_eval(self):
        result = self.succeed("eval", *SMALL, "--data", program.mnist_folder(), "--weights",
                              self.weights)
        expected = float(re.search(r"Correct=([\d.]+)%", result.out)[1])
        for kind, level in (("gaussian-noise", 0), ("gaussian-blur", 0), ("gradient-sign", 0),
                            ("contrast", 1), ("pixelation", 1)):
            with self.subTest(kind=kind):
                rows = self.rows("--kind", kind, "--levels", level)
                self.assertEqual([row["kind"] for row in rows], ["none", kind])
                for row in rows:
                    self.assertAlmostEqual(float(row["accuracy_percent"]), expected, delta=0.01)

    def test_levels_and_seeds(self):
        options = ["--kind", "uniform-noise", "--levels", "0.5,0.25,1", "--repetitions", 3]
        rows = self.rows(*options)
        self.assertEqual([row["level"] for row in rows], ["0", "0.5", "0.25", "1"])
        self.assertEqual(self.rows(*options), rows)
        one = [self.rows(*options[:4], "--repetitions", 1, "--seed", seed)
               for seed in range(1, 7)]
        self.assertGreater(len({str(rows) for rows in one}), 1)

    def test_table_that_cannot_be_written(self):
        """Reported before any test."""
        self.fail_with(1, *self.arguments("--out", self.folder / "nowhere" / "out.csv"),
                       mention=["nowhere"], out="")

    def test_bad_levels(self):
        for levels in ("", "x", "0.1,", ",0.1", "0.1 0.2", "-1", "2", "nan", "0.1,,0.2",
                       ",".join(["0.1"] * 65)):
            with self.subTest(levels=levels):
                if levels:
                    self.fail_with(USAGE, *self.arguments("--kind", "salt-and-pepper", "--levels",
                                                          levels), mention=["--levels"])
        self.fail_with(USAGE, *self.arguments("--levels", "0.1"), mention=["--kind"])
        self.fail_with(USAGE, *self.arguments("--kind", "fog"), mention=["--kind", "'fog'"])
        self.fail_with(USAGE, *self.arguments("--images", 31), mention=["range outside the data"])


PLOT = program.TESTS.parent / "scripts" / "plot-robustness"


@unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
class Plot(ProgramTest):
    HEADER = "test,kind,level,repetitions,images,accuracy_percent,deviation_percent\n"
    PLAIN = "0,none,0,1,20,85,0\n"

    def plot(self, text):
        self.file = self.folder / "a.csv"
        self.file.write_text(text, encoding="utf-8")
        return subprocess.run([sys.executable, PLOT, f"first={self.file}", self.file, "--out",
                               self.folder / "out.png"], capture_output=True, text=True,
                              check=False)

    def test_picture(self):
        done = self.plot(self.HEADER + self.PLAIN + "1,contrast,0.5,1,20,60,0\n"
                         "2,gaussian-noise,0.1,3,20,50,2\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertEqual((self.folder / "out.png").read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_saved_by_a_spreadsheet(self):
        text = (self.HEADER + self.PLAIN + "1,contrast,0.5,1,20,60,0\n,,,,,,\n").replace("\n", "\r\n")
        done = self.plot("\ufeff" + text)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)

    def test_names(self):
        """Names in the legend and of the picture, which is written to a temporary name and renamed."""
        table = self.folder / "in.csv"
        table.write_text(self.HEADER + self.PLAIN + "1,contrast,0.5,1,20,60,0\n  \n")
        (self.folder / "link.svg").symlink_to(table)
        for name, out, status in ((r"$\bad{$", "out.svg", 0), ("_hidden", "link.svg", 0),
                                  (os.fsdecode(b"caf\xe9"), "out.svg", 0), ("a", "out", 1),
                                  ("a", "out.doc", 1), ("a", "none/out.png", 1)):
            with self.subTest(name=os.fsencode(name), out=out):
                done = subprocess.run([sys.executable, PLOT, f"{name}={table}", "--out",
                                       self.folder / out], capture_output=True, text=True,
                                      check=False)
                self.assertEqual((done.returncode, len(done.stderr.splitlines())),
                                 (status, status), done)
        self.assertEqual(sorted(os.listdir(self.folder)), ["in.csv", "link.svg", "out.svg"])
        self.assertTrue(table.read_text().startswith(self.HEADER))

    def test_bad_input(self):
        for text, expected in (("", "nothing to draw"), (self.HEADER, "nothing to draw"),
                               (self.HEADER + self.PLAIN, "nothing to draw"),
                               (self.HEADER + self.PLAIN + "1,fog,1,1,20,5,0\n", "unknown kind"),
                               (self.HEADER + "1,contrast,x,1,20,5,0\n", "bad row"),
                               (self.HEADER + "1,contrast\n", "bad row")):
            with self.subTest(expected=expected, text=text):
                done = self.plot(text)
                self.assertEqual(done.returncode, 1, done)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                self.assertIn(expected, done.stderr)
                self.assertFalse((self.folder / "out.png").exists())


@unittest.skipUnless(REFERENCE and DATA and HAS_TORCH,
                     "NNMF_REFERENCE or NNMF_DATA is not set, or PyTorch is not installed")
class PyTorchReference(ProgramTest):
    """Checks the gradient of the published network with respect to its input, by the sign attack."""

    IMAGES, LEVELS = 50, (0.001, 0.004, 0.016)

    def correct_of_pytorch(self, path):
        sys.path.insert(0, str(program.TESTS.parent / "bench"))
        import torch
        import torch_nnmf
        from safetensors.torch import load_file

        variant = torch_nnmf.Variant()
        network = torch_nnmf.build_network("cifar10", variant)
        torch_nnmf.load_weights(network, load_file(path))
        images, labels = torch_nnmf.load_batch("cifar10", DATA, "test", 0, self.IMAGES,
                                               torch.float32)
        images.requires_grad_(True)
        loss = torch_nnmf.loss_of(network(images), labels, variant)
        gradient, = torch.autograd.grad(loss, images)
        with torch.no_grad():
            return [int((network((images + level * gradient.sign()).clamp(0, 1)).argmax(1)
                         == labels).sum()) for level in self.LEVELS]

    def test_gradient_sign(self):
        weights = pathlib.Path(REFERENCE).resolve() / "model_8525.safetensors"
        out = self.folder / "out.csv"
        self.succeed("robustness", "--device", "cpu", "--data", DATA, "--weights", weights,
                     "--images", self.IMAGES, "--kind", "gradient-sign", "--levels",
                     ",".join(map(str, self.LEVELS)), "--out", out)
        ours = [float(row["accuracy_percent"]) * self.IMAGES / 100 for row in rows_of(out)][1:]
        theirs = self.correct_of_pytorch(weights)
        print(f"correct under attack: ours {ours}, PyTorch {theirs}", flush=True)
        for have, expected in zip(ours, theirs):
            # Rounding decides the sign of a gradient near 0.
            self.assertAlmostEqual(have, expected, delta=1.01)


if __name__ == "__main__":
    program.main()
