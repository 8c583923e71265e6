#!/usr/bin/env python3
"""`bench`: the numbers in its tables agree with each other, with the layers and with wall time.

Environment, besides program.py's:
    NNMF_TRAIN_EMULATED  the program with the emulated back end; its tests are skipped if not set
"""

import os
import re
import time
import unittest
from unittest import mock

import program
from program import ProgramTest

EMULATED = os.environ.get("NNMF_TRAIN_EMULATED")
BATCH, ITERATIONS = 5, 2
GRAPH = "recorded as a graph"
ROW = re.compile(r"(\S+(?: \S+)*) +([\d.]+) +([\d.]+)%(?: +([\d.]+))?(?: +([\d.]+)%)?")


class Bench(ProgramTest):
    def bench(self, *options, arch="nnmf", **how):
        """-> BLAS's GFLOP/s or None, and for both tables the rows by name and the images/s. A row has
        ms, percent, GFLOP/s or None, percent of BLAS or None. Sets self.blas, the name of the
        BLAS, and self.implementations, the lines on the NNMF layers."""
        started = time.monotonic()
        if arch == "nnmf":
            options = [*options, "--iterations", ITERATIONS]
        out = self.succeed("bench", "--dataset", "mnist", "--arch", arch, "--batch-size", BATCH,
                           "--steps", 1, *options, **how).out
        self.seconds = time.monotonic() - started
        head, training, test, blas = out.split("\n\n")
        head, *self.implementations = head.splitlines()
        self.device, rest = head.split("; ", 1)
        self.assertEqual(rest, f"mnist, batches of {BATCH}; medians of 1 steps")
        rate = re.fullmatch(r"BLAS: ([\d.]+) GFLOP/s, the best of ([^ ,]+)(, kernels for \S+)? on "
                            r"(\d+) x \4 float32 matrices in this run(, 1 thread)?\n", blas)
        if not rate:
            self.assertTrue(blas.startswith("BLAS: none found"), blas)
        self.blas = rate[2] if rate else None
        tables = []
        for title, table in (("training step", training), ("test batch", test)):
            lines = table.splitlines()
            self.assertTrue(lines[0].startswith(f"{title} "), out)
            rows = {}
            for line in lines[1:-1]:
                name, *numbers = ROW.fullmatch(line).groups()
                rows[name] = [None if text is None else float(text) for text in numbers]
            tables.append((rows, float(re.fullmatch(r"([\d.]+) images/s", lines[-1])[1])))
        return float(rate[1]) if rate else None, tables

    def flops(self, arch):
        """-> FLOPs: one product of all NNMF layers, all convolutions, the first convolution."""
        products, convolutions = 0, []
        for line in self.succeed("info", "--dataset", "mnist", "--arch", arch).out.splitlines():
            layer = re.match(r"\d+ +(NNMF|convolution 1x1) +(\d+),(\d+),(\d+) +-> (\d+),", line)
            if layer:
                inputs, height, width, outputs = map(int, layer.groups()[1:])
                flops = 2 * BATCH * height * width * inputs * outputs
                if layer[1] == "NNMF":
                    products += flops
                else:
                    convolutions.append(flops)
        return products, convolutions

    def check_rates(self, rows, expected, blas, last):
        """Checks GFLOP/s and the percentage of BLAS to the precision of the printed digits. BLAS's best
        rate is updated during the run, so the first table may be based on a lower one."""
        for name, flops in expected.items():
            ms, _, rate, share = rows[name]
            self.assertAlmostEqual(rate * ms, flops * 1e-6, delta=0.051 * ms + 0.001 * rate, msg=name)
            self.assertEqual(share is None, blas is None, name)
            if blas:
                error = 5.1 + 0.051 * (share + blas)
                self.assertGreater(share * blas, 100 * rate - error, name)
                if last:
                    self.assertLess(share * blas, 100 * rate + error, name)
        self.assertEqual({name for name in rows if rows[name][2] is not None}, set(expected))

    def check(self, tables, blas, arch="nnmf"):
        products, convolutions = self.flops(arch)
        forward = {"NNMF": 2 * ITERATIONS * products, "convolution": sum(convolutions)}
        backward = {"NNMF backward": 4 * products, "convolution backward": 2 * sum(convolutions)}
        if not products:  # the input of the first convolution is the image, which needs no gradient
            backward["convolution backward"] -= convolutions[0]
        for (rows, images), operations in zip(tables, ({**forward, **backward}, forward)):
            operations = {name: flops for name, flops in operations.items() if flops}
            expected = {**operations, "total": sum(operations.values())}
            last = "total"
            if GRAPH in rows:
                expected[GRAPH], last = expected["total"], GRAPH
            self.check_rates(rows, expected, blas, rows is tables[-1][0])
            total = rows["total"][0]
            for name, (ms, share, *_) in rows.items():
                self.assertAlmostEqual(share, 100 * ms / total, msg=name,
                                       delta=0.051 + 0.1 * (1 + share / 100) / total)
            self.assertEqual(rows["total"][1], 100)
            # A step takes longer than its operations, and the command takes longer than its steps.
            self.assertLess(sum(ms for name, (ms, *_) in rows.items() if name not in ("total", GRAPH)),
                            total + 0.001 * len(rows))
            self.assertLess(total, 1000 * self.seconds)
            self.assertAlmostEqual(images * rows[last][0], 1000 * BATCH,
                                   delta=0.051 * rows[last][0] + 0.001 * images)

    def test_cpu(self):
        blas, tables = self.bench("--threads", 1)
        self.check(tables, blas)
        best = (program.instruction_sets() or [r"\w+"])[0]
        self.assertRegex(self.device, rf"^CPU, {best}, 1 thread$")
        self.assertEqual(self.implementations, [])
        self.assertIn("Adam", tables[0][0])
        self.assertNotIn("Adam", tables[1][0])

    def test_without_blas(self):
        for name in ("libopenblas.so.0", "libblas.so.3"):  # found first, but not libraries
            (self.folder / name).touch()
        blas, tables = self.bench("--threads", 1, env={"LD_LIBRARY_PATH": self.folder})
        self.assertIsNone(blas)
        self.check(tables, blas)

    def test_baseline(self):
        blas, tables = self.bench("--threads", 1, arch="cnn")
        self.check(tables, blas, "cnn")
        self.assertLessEqual({"ReLU backward", "transpose", "convolution backward"}, set(tables[0][0]))

    @unittest.skipUnless(EMULATED, "NNMF_TRAIN_EMULATED is not set")
    def test_cuda(self):
        """Also times the step as one recording, from which the images/s are computed."""
        with mock.patch.object(program, "PROGRAM", os.path.abspath(EMULATED)):
            blas, tables = self.bench("--device", "cuda")
            info = self.succeed("info", "--device", "cuda", "--dataset", "mnist", "--batch-size",
                                BATCH)
        self.assertEqual(self.blas, "cuBLAS")
        self.assertEqual(self.implementations, info.out.splitlines()[-12:])
        for rows, _ in tables:
            self.assertLess(rows[GRAPH][0], 1000 * self.seconds)
        self.check(tables, blas)


if __name__ == "__main__":
    program.main()
