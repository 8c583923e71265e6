"""scripts/plot: pictures of runs, and invalid input. Skipped without matplotlib."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
import warnings
import xml.etree.ElementTree

import program
from in_process import Script
from program import SMALL

if not importlib.util.find_spec("matplotlib"):
    print("skipped: matplotlib is not installed")
    sys.exit(77)

SCRIPT = Script("plot")
PUBLISHED = pathlib.Path(os.environ.get("NNMF_REFERENCE", "/nowhere")) / "training_curve.csv"
HEADER = ("epoch,lr_cnn_top,lr_nnmf,lr_batchnorm,train_loss,train_correct,test_correct,"
          "train_seconds,test_seconds")
CURVE = """epoch,train_loss,train_correct,test_correct,wall_time_s
0,0.15,17926,4431,0
1,0.13,23391,5222,14.2
"""


class Plot(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.write_run("one", 3)
        (self.folder / "curve.csv").write_text(CURVE)

    def write_run(self, name, epochs, images=(60, 30)):
        run = self.folder / name
        run.mkdir()
        rows = [f"{k},0.001,0.01,0.001,{0.2 / (k + 1)},{30 + k},{12 + k},1.5,0.25"
                for k in range(epochs)]
        (run / "metrics.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        data = {"train_images": images[0], "test_images": images[1]}
        (run / "config.json").write_text(json.dumps({"data": data}))
        return run

    def plot(self, *arguments):
        self.assertEqual(SCRIPT.run(*arguments), (None, ""))

    def test_as_a_program(self):
        for run, status in (("one", 0), ("none", 1)):
            done = subprocess.run([sys.executable, SCRIPT.path, run, "--out", "out.png"],
                                  stderr=subprocess.PIPE, check=False)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (status, status))

    def curves(self, *arguments):
        """-> for each line in the SVG, its number of points and whether it is dashed."""
        self.plot(*arguments, "--out", "out.svg")
        tree = xml.etree.ElementTree.parse(self.folder / "out.svg")
        svg = "{http://www.w3.org/2000/svg}"
        lines = []
        for group in tree.iter(svg + "g"):
            path = group.find(svg + "path")
            if "line2d" in group.get("id", "") and path is not None and path.get("clip-path"):
                points = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d"))
                dashes = re.search(r"stroke-dasharray: ([\d.]+)", path.get("style"))
                lines.append((len(points), dashes is not None and float(dashes[1]) > 2))
        return lines

    def test_png(self):
        self.plot("one", "--out", "out.png")
        content = (self.folder / "out.png").read_bytes()
        self.assertEqual(content[:8], b"\x89PNG\r\n\x1a\n")
        self.assertGreaterEqual(int.from_bytes(content[16:20], "big"), 1000)  # width in pixels

    def test_svg(self):
        self.write_run("two", 7)
        alone = self.curves("one")
        self.assertGreaterEqual(alone.count((3, False)), 5, alone)
        both = self.curves("one", "two/metrics.csv", "--published", "curve.csv")
        self.assertEqual(both.count((3, False)), alone.count((3, False)))
        self.assertGreaterEqual(both.count((7, False)), 5, both)
        self.assertGreaterEqual(both.count((2, True)), 3, both)  # two errors, the loss
        self.assertEqual(alone.count((2, True)), 0)

    def test_real_run(self):
        options = [*SMALL, "--data", program.mnist_folder(), "--epochs", 3, "--quiet"]
        self.succeed(*options, "--out", self.folder / "real")
        self.plot("real", "--out", "out.png")
        events = list((self.folder / "real").glob("events.out.tfevents.*"))
        if importlib.util.find_spec("tensorboard") and events:
            # Compare curves, not grid lines (two points each): metrics.csv rounds the seconds,
            # which can add or remove a tick.
            of_events, of_metrics = ([line for line in self.curves(source) if line[0] > 2]
                                     for source in (events[0], "real"))
            self.assertEqual(of_events, of_metrics)
            self.assertGreaterEqual(len(of_metrics), 8)  # 2 errors, the loss, 3 rates, 2 seconds

    def test_one_epoch_and_no_errors(self):
        self.write_run("short", 1)
        self.plot("short", "--out", "out.png")
        perfect = self.write_run("perfect", 2, images=(31, 12))  # 0 % has no logarithm
        self.plot(perfect, "--out", "out.png")

    @unittest.skipUnless(PUBLISHED.exists(), "NNMF_REFERENCE does not name the reference files")
    def test_published(self):
        self.plot("--published", PUBLISHED, "--out", "out.png")

    def refuse(self, *arguments, mention=(), out="out.png"):
        before = sorted(os.listdir(self.folder))
        error, printed = SCRIPT.run(*arguments, "--out", out)
        self.assertRegex(error, r"\Aplot: [^:\n]+: [^\n]+: [^\n]+\Z")
        self.assertEqual(printed, "")
        for text in (mention,) if isinstance(mention, str) else mention:
            self.assertIn(text, error)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_bad_runs(self):
        self.refuse("none", mention="none")
        (self.folder / "empty").mkdir()
        self.refuse("empty", mention="empty")
        self.refuse(mention="nothing to draw")
        run = self.folder / "one"
        good = (run / "metrics.csv").read_text()
        for text, mention in (("", "missing column"), (HEADER + "\n", "no epochs"),
                              (good + "3,x\n", "line 5"), (good.replace("0.2", "nan"), "line 2"),
                              (good.replace("epoch", "time"), "'epoch'")):
            (run / "metrics.csv").write_text(text)
            self.refuse("one", mention=("metrics.csv", mention))
        (run / "metrics.csv").write_bytes(b"\xff\xfe\x00")
        self.refuse("one", mention="one")
        (run / "metrics.csv").write_text(good)
        for text in ("", "[]", '{"data": {}}', '{"data": {"train_images": "x", "test_images": 1}}'):
            (run / "config.json").write_text(text)
            self.refuse("one", mention="config.json")
        (run / "config.json").unlink()
        self.refuse("one", mention="config.json")

    def test_saved_by_a_spreadsheet(self):
        expected = self.curves("one", "--published", "curve.csv")
        for path in (self.folder / "one" / "metrics.csv", self.folder / "curve.csv",
                     self.folder / "one" / "config.json"):
            end = b"\r\n,,,,,,,,\r\n" if path.suffix == ".csv" else b""
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + end)
        self.assertEqual(self.curves("one", "--published", "curve.csv"), expected)
        metrics = self.folder / "one" / "metrics.csv"
        good = metrics.read_text(encoding="utf-8-sig")
        for separator, name in ((";", "semicolons"), ("\t", "tabs")):
            metrics.write_text(good.replace(",", separator))
            self.refuse("one", mention=("metrics.csv", name))

    def test_no_rows(self):
        metrics = self.folder / "one" / "metrics.csv"
        for rows in ("", ",,,,,,,,\n", "  \n"):
            metrics.write_text(f"{HEADER}\n{rows}")
            self.refuse("one", mention=("metrics.csv", "no epochs"))

    def test_not_text(self):
        """The error names the file."""
        self.write_run("two", 2)
        metrics = self.folder / "two" / "metrics.csv"
        metrics.write_text(metrics.read_text(), encoding="utf-16")
        self.refuse("one", "two", mention=f"not text: two{os.sep}metrics.csv: ")
        metrics.write_text(f'{HEADER}\n"{"a" * 200000}"\n')
        self.refuse("one", "two", mention=f"two{os.sep}metrics.csv")

    def test_strange_configurations(self):
        for text in ('{"data": {"train_images": 1e400, "test_images": 1}}', "[" * 100000):
            (self.folder / "one" / "config.json").write_text(text)
            self.refuse("one", mention="config.json")

    def test_strange_names(self):
        """Names are not parsed as formulas, and each has a curve in the legend."""
        for name in (r"$\bad{$", "_hidden", os.fsdecode(b"caf\xe9")):
            with self.subTest(name=os.fsencode(name)), warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                with self.assertNoLogs("matplotlib"):
                    self.plot(self.write_run(name, 2), "--out", "out.svg")

    def test_bad_published(self):
        self.refuse("--published", "none.csv", mention="none.csv")
        self.refuse("--published", "one/metrics.csv", mention="wall_time_s")

    @unittest.skipUnless(importlib.util.find_spec("tensorboard"), "tensorboard is not installed")
    def test_bad_events(self):
        (self.folder / "events.out.tfevents.1").write_bytes(b"junk")
        self.refuse("events.out.tfevents.1", mention="events.out.tfevents.1")

    def test_bad_name(self):
        self.refuse("one", out="out.doc", mention="out.doc: a name ending in .png or .svg")
        self.refuse("one", out="out", mention="out: a name ending in .png or .svg")
        self.refuse("one", out="none/out.png", mention="none")


if __name__ == "__main__":
    program.main()
