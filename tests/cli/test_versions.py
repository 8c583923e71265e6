#!/usr/bin/env python3
"""Reads runs, weights and configurations of older versions, and resumes their runs.

tests/fixtures/versions/VERSION holds files written by that version's program, with random images
(program.mnist_folder(60, 50)) instead of Fashion-MNIST:
    run.tar.xz     a run of 2 epochs of 4, --iterations 2 --batch-size 10 --seed 7
    metrics.csv    of the same run after that program had finished it
    config_*.json  of other runs
"""

import csv
import json
import shutil
import tarfile

import program
from program import ProgramTest

VERSIONS = sorted((program.FIXTURES / "versions").iterdir())
NETWORK = ["--iterations", 2, "--batch-size", 10]


def read_rows(path):
    with open(path, newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


class Versions(ProgramTest):
    def unpack(self, version):
        """-> the run's folder."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        with tarfile.open(version / "run.tar.xz") as archive:
            if hasattr(tarfile, "data_filter"):  # Python 3.12 and later warn without it
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(self.folder)
        return self.folder / "run"

    def resume(self, run, *options):
        """Resumes a run -> its warnings."""
        result = program.execute("--resume", run, "--device", "cpu", "--data",
                                 program.mnist_folder(60, 50), *options)
        self.assertEqual(result.status, 0, result)
        return result.err

    def test_runs_go_on(self):
        for version in VERSIONS:
            with self.subTest(version=version.name):
                run = self.unpack(version)
                warnings = self.resume(run)
                self.assertIn(f"version {version.name} did not write them", warnings)
                self.check_rows(version, read_rows(run / "metrics.csv"))
                config = json.loads((run / "config.json").read_text())
                self.assertNotEqual(config["version"], version.name)
                self.assertEqual(config["options"]["iterations"], 2)
                self.succeed("--resume", run)  # from now on it is a run of this version

    def test_best_loss_of_cross_entropy(self):
        """The schedules continue from it, although a smaller last batch has a smaller weight now."""
        run = self.unpack(VERSIONS[0])
        config, last = run / "config.json", run / "last.safetensors"
        config.write_text(config.read_text().replace('"batch-size": 10', '"batch-size": 16')
                          .replace('"sbs"', '"cross-entropy"'))
        arrays, metadata = program.read_checkpoint(last)
        for name in ("cnn_top", "nnmf", "batchnorm"):  # the loss of one of the four batches
            metadata[f"schedule_best.{name}"] = str(4 * 2.29)
            metadata[f"schedule_bad_epochs.{name}"] = "1"
        program.make_fixtures.write_safetensors(last, arrays, metadata)
        self.resume(run, "--epochs", 3)
        self.assertGreater(float(read_rows(run / "metrics.csv")[-1]["train_loss"]), 2.29)
        metadata = program.read_checkpoint(last)[1]
        self.assertEqual(metadata["schedule_bad_epochs.nnmf"], "2")
        self.assertAlmostEqual(float(metadata["schedule_best.nnmf"]), 60 / 16 * 2.29)

    def test_statistics_onto_a_checkpoint(self):
        """It remains a checkpoint of its version: losses and learning rates continue unchanged."""
        for version in VERSIONS:
            with self.subTest(version=version.name):
                run = self.unpack(version)
                last = run / "last.safetensors"
                arrays, metadata = program.read_checkpoint(last)
                program.make_fixtures.write_safetensors(
                    last, arrays, metadata | {"learning_rate.nnmf": "0.001"})
                self.succeed("statistics", "--weights", last, "--dataset", "fashion-mnist",
                             "--data", program.mnist_folder(60, 50), "--out", last)
                self.assertNotIn("options", program.read_checkpoint(last)[1])
                self.resume(run, "--epochs", 3)
                self.assertEqual(read_rows(run / "metrics.csv")[-1]["lr_nnmf"], "0.001")

    def check_rows(self, version, rows):
        """The program and maybe the processor differ, so losses agree to rounding."""
        expected = read_rows(version / "metrics.csv")
        self.assertEqual(rows[:2], expected[:2])
        self.assertEqual(len(rows), len(expected))
        for row, other in zip(rows, expected):
            for name in ("epoch", "lr_cnn_top", "lr_nnmf", "lr_batchnorm"):
                self.assertEqual(row[name], other[name])
            self.assertAlmostEqual(float(row["train_loss"]), float(other["train_loss"]), places=5)
            for name in ("train_correct", "test_correct"):
                self.assertAlmostEqual(int(row[name]), int(other[name]), delta=2)

    def test_learning_rates(self):
        """Those in the configuration are the initial rates of the schedule, unless they were edited."""
        for version in VERSIONS:
            for rate in (0.01, 0.005):
                with self.subTest(version=version.name, rate=rate):
                    run = self.unpack(version)
                    config = run / "config.json"
                    text = config.read_text()
                    config.write_text(text.replace('"lr-nnmf": 0.01', f'"lr-nnmf": {rate}'))
                    self.resume(run, "--epochs", 3)
                    rows = read_rows(run / "metrics.csv")
                    self.assertEqual([float(row["lr_nnmf"]) for row in rows], [0.01, 0.01, rate])

    def test_weights(self):
        for version in VERSIONS:
            with self.subTest(version=version.name):
                run = self.unpack(version)
                best = max(int(row["test_correct"]) for row in read_rows(run / "metrics.csv"))
                for name in ("best", "last"):
                    weights = ["--weights", run / f"{name}.safetensors", "--dataset",
                               "fashion-mnist", "--data", program.mnist_folder(60, 50)]
                    result = self.succeed("eval", *weights, *NETWORK)
                    correct = int(result.out.split("(")[1].split()[0])
                    self.assertAlmostEqual(correct, best, delta=1)
                    self.succeed("statistics", *weights, *NETWORK, "--out",
                                 self.folder / "m.safetensors")
                self.succeed("train", "--init", run / "best.safetensors", *weights[2:], *NETWORK,
                             "--max-steps", 1, "--out", self.folder / version.name)

    def test_configurations(self):
        """Each is accepted: the error is about the next file, which is missing."""
        for version in VERSIONS:
            for config in sorted(version.glob("config_*.json")):
                with self.subTest(version=version.name, config=config.name):
                    run = self.folder / config.stem
                    run.mkdir()
                    shutil.copy(config, run / "config.json")
                    result = program.execute("--resume", run)
                    self.assertEqual(result.status, 1, result)
                    *warnings, last = result.error_lines()
                    self.assertIn("last.safetensors: No such file", last)
                    self.assertEqual(len(warnings), 1, result)
                    self.assertIn(f"version {version.name} did not write them", warnings[0])


if __name__ == "__main__":
    program.main()
