"""bench/growth.py: the files it writes from minimal measurements, and invalid input. Skipped without
matplotlib."""

import csv
import importlib.util
import os
import re
import signal
import subprocess
import sys
from unittest import mock

import png
import program
from in_process import Script

if not importlib.util.find_spec("matplotlib"):
    print("skipped: matplotlib is not installed")
    sys.exit(77)

SCRIPT = Script("growth.py", folder="bench")
PROCESSORS = len(os.sched_getaffinity(0))
SMALLEST = ["--program", program.PROGRAM, "--steps", 1, "--rounds", 1, "--batches", 1,
            "--iterations", 1, "--threads", 1]


def tables(text):
    """Reads the tables of a Markdown file -> {heading: rows of cells}."""
    found, heading = {}, None
    for line in text.splitlines():
        if line.startswith("## "):
            heading = found[line[3:]] = []
        elif line.startswith("|") and not line.startswith("|-"):
            heading.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


class Growth(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "growth"

    def read(self):
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["growth.csv", "growth.md", "growth.png"])
        with open(f"{self.out}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        with open(f"{self.out}.md") as file:
            return rows, file.read()

    def check_rows(self, rows):
        """The requested points and the published one, which is the same measurement in every series."""
        points = [tuple(row[name] for name in ("varied", "batch", "iterations", "threads"))
                  for row in rows]
        threads = str(PROCESSORS)
        expected = [("batch", "1", "20", threads), ("batch", "50", "20", threads),
                    ("iterations", "50", "1", threads), ("iterations", "50", "20", threads),
                    ("threads", "50", "20", "1"), ("threads", "50", "20", threads)]
        self.assertEqual(points, list(dict.fromkeys(expected)))
        published = [row for row in rows if row["batch"] == "50" and row["iterations"] == "20"
                     and row["threads"] == threads]
        for name in ("train_ms", "test_ms", "train_images_per_s", "train_gflops"):
            self.assertEqual(len({row[name] for row in published}), 1, published)
        for row in rows:
            self.check_row(row, published[0])

    def check_row(self, row, published):
        near = {"rel": 0.01}
        train, test, batch = float(row["train_ms"]), float(row["test_ms"]), int(row["batch"])
        self.near(float(row["train_relative"]), train / float(published["train_ms"]), **near)
        self.near(float(row["test_relative"]), test / float(published["test_ms"]), **near)
        self.near(float(row["train_images_per_s"]), batch / train * 1e3, **near)
        if row["iterations"] == "20":  # 493.7 MFLOP per image, and a little per batch
            self.near(float(row["train_gflops"]) * train, 493.7 * batch, rel=0.02)
        if row["varied"] == "batch":
            self.near(float(row["train_epoch_s"]), 50 * train / batch, **near)
            self.near(float(row["test_epoch_s"]), 10 * test / batch, **near)
        else:
            self.assertEqual((row["train_epoch_s"], row["test_epoch_s"]), ("", ""))

    def near(self, value, expected, rel):
        self.assertLess(abs(value / expected - 1), rel, (value, expected))

    def check_text(self, text, rows):
        self.assertRegex(text, r"(?m)^CPU, \w+, \d+ threads?; nnmf-train [\d.]+, commit: \w+.*"
                               "medians of one round")
        self.assertIn("    growth.py --program", text)
        self.assertIn("](growth.png)", text)
        shown = tables(text)
        self.assertEqual(list(shown), ["Batch size", "Iterations", "Threads"])
        for heading, name in zip(shown, ("batch", "iterations", "threads")):
            header, *lines = shown[heading]
            self.assertEqual(header[1], "training step (ms)")
            self.assertEqual(len({len(line) for line in shown[heading]}), 1, shown[heading])
            expected = [row for row in rows if row["varied"] == name]
            self.assertEqual([line[0] for line in lines], [row[name] for row in expected])
            for line, row in zip(lines, expected):
                self.near(float(line[1]), float(row["train_ms"]), rel=0.01)

    def test_smallest(self):
        error, printed = SCRIPT.run(*SMALLEST, "--out", self.out)
        self.assertIsNone(error)
        self.assertEqual(len(re.findall("(?m)^round 1 of 1: ", printed)), 5 + (PROCESSORS > 1))
        rows, text = self.read()
        self.check_rows(rows)
        self.check_text(text, rows)
        with open(f"{self.out}.png", "rb") as file:
            height, width, _ = png.decode(file.read()).shape
        self.assertGreater(width, 2 * height)  # three panels

    def refuse(self, *changes, mention, arguments=SMALLEST):
        """Prints one line that mentions it, and keeps existing files."""
        for kind in ("csv", "md", "png"):
            (self.folder / f"growth.{kind}").write_text("earlier")
        error, printed = SCRIPT.run(*arguments, "--out", self.out, *changes)
        self.assertRegex(error, r"\Agrowth\.py: [^:\n]+: [^\n]+: [^\n]+\Z")
        for text in mention:
            self.assertIn(text, error)
        self.assertEqual(printed, "")
        self.assertEqual(len(self.read()[1]), len("earlier"))

    def test_bad_lists(self):
        for option in ("--batches", "--iterations", "--threads", "--rounds", "--steps"):
            for text in ("0", "x", "", "1,", "-1", "1.5", "1000000"):
                with self.subTest(option=option, text=text):
                    self.refuse(f"{option}={text}", mention=[option, f"'{text}'"])
        self.refuse("--rounds", "1,2", mention=["--rounds", "'1,2'"])
        self.refuse("--device", "cuda", mention=["--threads"])

    def test_program_that_fails(self):
        self.refuse("--program", "none", mention=["cannot run: none: No such file"])
        self.refuse("--program", "false", mention=["failed: false --version: ended with 1"])
        self.refuse("--program", "true", mention=["unexpected output: true bench"])
        with mock.patch.dict(os.environ, {"CUDA_VISIBLE_DEVICES": ""}):
            self.refuse("--device", "cuda", arguments=SMALLEST[:-2],
                        mention=["nnmf-train bench --device cuda", "nnmf-train: no such device"])

    def test_bad_out(self):
        self.refuse("--out", self.folder / "none" / "growth", mention=["none/growth"])
        self.refuse("--out", "/", mention=["cannot write: /:"])

    def test_interrupted(self):
        command = [sys.executable, SCRIPT.path, *SMALLEST, "--out", self.out]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, env=program.environment()) as running:
            self.assertIn("round 1", running.stdout.readline())
            running.send_signal(signal.SIGTERM)
            _, errors = running.communicate(timeout=program.TIMEOUT)
        self.assertEqual((running.returncode, len(errors.splitlines())), (1, 1), errors)
        self.assertIn("interrupted", errors)
        self.assertEqual(os.listdir(self.folder), [])

    def test_without_matplotlib(self):
        (self.folder / "matplotlib.py").write_text("raise ModuleNotFoundError(name='matplotlib')")
        env = program.environment({"PYTHONPATH": self.folder})
        done = subprocess.run([sys.executable, SCRIPT.path], env=env, capture_output=True,
                              text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "growth.py: missing: matplotlib: "
                                      "install the package python3-matplotlib\n")


if __name__ == "__main__":
    program.main()
