#!/usr/bin/env python3
"""Resumed runs: what they read from the folder, which options may be edited or given, warnings and
errors."""

import json
import os
import re
import shlex
import shutil

import numpy as np

import program
from program import SMALL, CopiedRunTest, make_fixtures

FAILED, USAGE = 1, 2
RATES = ("lr_cnn_top", "lr_nnmf", "lr_batchnorm")


class ResumeTest(CopiedRunTest):
    """Resumes a run after the first of two epochs: 60 training images in steps of 5, 30 test images."""

    @staticmethod
    def train_options():
        return ["--data", program.mnist_folder(), *SMALL, "--device", "cpu", "--epochs", 2,
                "--max-steps", 12]

    def options(self):
        return json.loads(self.config.read_text())["options"]

    def edit(self, change):
        """Edits config.json with change(config)."""
        config = json.loads(self.config.read_text())
        change(config)
        self.config.write_text(json.dumps(config, indent=2))

    def edit_option(self, name, value):
        self.edit(lambda config: config["options"].update({name: value}))

    def warned(self, *options, **how):
        """Resumes a run -> its only warning."""
        result = program.execute("--resume", self.run_folder, *options, **how)
        self.assertEqual(result.status, 0, result)
        self.assertEqual(len(result.error_lines()), 1, result)
        return result.error_lines()[0]

    def rows(self):
        header, *rows = program.metrics_rows(self.run_folder)
        return [dict(zip(header, row)) for row in rows]

    def rates(self):
        return [[float(row[name]) for name in RATES] for row in self.rows()]


class Edits(ResumeTest):
    """Options that --resume accepts may be edited; all others are refused."""

    def test_options_of_the_run(self):
        for name, value in (("iterations", 3), ("epsilon", 0.5), ("batch-size", 10), ("seed", "22"),
                            ("augment", "none"), ("no-shuffle", True), ("train-range", "0:50"),
                            ("lr-limit", 1e-3), ("loss", "cross-entropy"), ("loss-kl", 2.0),
                            ("dataset", "fashion-mnist"), ("positive-function", "identity"),
                            ("arch", "cnn"), ("init", "w.safetensors")):
            with self.subTest(name):
                shutil.copy(self.original / "config.json", self.config)
                self.edit_option(name, value)
                self.refused(self.config, name, self.run_folder / "last.safetensors")

    def test_options_that_resume_accepts(self):
        self.edit_option("epochs", 3)
        self.edit_option("threads", 1)
        self.edit_option("no-population", True)
        self.succeed("--resume", self.run_folder)
        self.assertEqual(len(self.rows()), 3)
        arrays, _ = program.read_checkpoint(self.run_folder / "best.safetensors")
        self.assertFalse([name for name in arrays if "running" in name])

    def test_edited_back(self):
        """A number may be written in any form."""
        self.edit_option("lr-limit", 0.000000001)
        self.edit_option("epsilon", 0)
        self.succeed("--resume", self.run_folder)

    def test_unknown_options(self):
        self.edit_option("momentum", 0.9)
        self.edit_option("max-steps", 3)
        warning = self.warned()
        self.assertIn(str(self.config), warning)
        self.assertIn("momentum, max-steps", warning)

    def test_missing_option(self):
        """A run of this version has every option, so a missing one is an error."""
        self.edit(lambda config: config["options"].pop("seed"))
        self.refused(self.config, "seed")

    def test_older_version_without_an_option(self):
        def age(config):
            config["version"] = "0.1.9"
            del config["options"]["lr-limit"], config["options"]["threads"]
        self.edit(age)
        warning = self.warned()
        for text in (self.config, "0.1.9", "lr-limit 1e-9", "threads 0"):
            self.assertIn(str(text), warning)
        self.assertEqual(self.options()["lr-limit"], 1e-9)

    def test_options_of_the_checkpoint(self):
        last = self.run_folder / "last.safetensors"
        arrays, metadata = program.read_checkpoint(last)
        for text in ("", "[]", "{", "iterations 2", '{"seed": 1, "seed": 2}', '{"seed": [21]}'):
            with self.subTest(options=text):
                make_fixtures.write_safetensors(last, arrays, {**metadata, "options": text})
                self.refused(last)


class Rates(ResumeTest):
    def test_given(self):
        self.succeed("--resume", self.run_folder, "--lr-nnmf", 0.002, "--lr-batchnorm", 0.5)
        self.assertEqual(self.rates(), [[0.001, 0.01, 0.001], [0.001, 0.002, 0.5]])
        self.assertEqual(self.options()["lr-nnmf"], 0.002)
        self.succeed("--resume", self.run_folder, "--epochs", 3, "--lr-cnn-top", 0)
        self.assertEqual(self.rates()[2], [0, 0.002, 0.5])

    def test_edited(self):
        self.edit_option("lr-cnn-top", 0.25)
        self.succeed("--resume", self.run_folder)
        self.assertEqual(self.rates(), [[0.001, 0.01, 0.001], [0.25, 0.01, 0.001]])

    def test_given_then_interrupted(self):
        """Interrupted before the next checkpoint: the option is already in the configuration."""
        last = (self.run_folder / "last.safetensors").read_bytes()
        self.succeed("--resume", self.run_folder, "--lr-nnmf", 0.002)
        (self.run_folder / "last.safetensors").write_bytes(last)
        self.succeed("--resume", self.run_folder)
        self.assertEqual(self.rates()[1][1], 0.002)

    def test_reduced_rate_continues(self):
        """The schedule continues however often the run is resumed; an option restarts it."""
        last = self.run_folder / "last.safetensors"
        arrays, metadata = program.read_checkpoint(last)
        make_fixtures.write_safetensors(last, arrays, metadata | {"learning_rate.nnmf": "0.001"})
        self.succeed("--resume", self.run_folder)
        self.succeed("--resume", self.run_folder, "--epochs", 3)
        self.assertEqual([row[1] for row in self.rates()], [0.01, 0.001, 0.001])
        self.succeed("--resume", self.run_folder, "--epochs", 4, "--lr-nnmf", 0.01)
        self.assertEqual(self.rates()[3][1], 0.01)


class Data(ResumeTest):
    def test_relative_folder(self):
        """The folder is found from any working directory, whether given or not."""
        shutil.copytree(program.mnist_folder(), self.folder / "data" / "mnist")
        for name, options in (("given", ["--data", "data/mnist"]), ("default", [])):
            with self.subTest(name):
                run = self.folder / name
                self.succeed(*SMALL, *options, "--epochs", 1, "--out", run, cwd=self.folder)
                config = json.loads((run / "config.json").read_text())
                self.assertEqual(config["data"]["folder"], str(self.folder / "data" / "mnist"))
                self.succeed("--resume", run, "--epochs", 2, cwd="/")
                self.assertEqual(len(program.metrics_rows(run)), 3)

    def test_relative_folder_of_the_environment(self):
        run = self.folder / "again"
        self.succeed(*SMALL, "--epochs", 1, "--out", run, cwd=program.mnist_folder().parent,
                     env={"NNMF_DATA": program.mnist_folder().name})
        self.succeed("--resume", run, "--epochs", 2, cwd="/")

    def test_other_images(self):
        """Changed images or another number of them cause one warning; then they belong to the run."""
        other = program.write_idx_folder(self.folder / "other", 60, 30)
        pixels = other / "train-images-idx3-ubyte"
        content = bytearray(pixels.read_bytes())
        content[-1] ^= 1
        pixels.write_bytes(content)
        warning = self.warned("--data", other)
        for text in (other, "60 train images", "checksum"):
            self.assertIn(str(text), warning)
        self.succeed("--resume", self.run_folder, "--epochs", 3)
        fewer = program.write_idx_folder(self.folder / "fewer", 60, 20)
        self.assertIn("data changed", program.execute("--resume", self.run_folder, "--data",
                                                    fewer, "--epochs", 4).err)

    def test_other_labels(self):
        other = program.write_idx_folder(self.folder / "other", 60, 30)
        labels = other / "t10k-labels-idx1-ubyte"
        content = bytearray(labels.read_bytes())
        content[-1] = (content[-1] + 1) % 10
        labels.write_bytes(content)
        self.assertIn("30 test images", self.warned("--data", other))

    def test_same_images_elsewhere(self):
        """The same images, compressed and in another folder."""
        other = program.write_idx_folder(self.folder / "other", 60, 30, compress=True)
        self.succeed("--resume", self.run_folder, "--data", other)


    def test_unknown(self):
        """The configuration does not record the images, so there is no warning."""
        self.edit(lambda config: config.pop("data"))
        result = program.execute("--resume", self.run_folder, "--data", program.mnist_folder())
        self.assertEqual(result.status, 0, result)
        self.assertEqual(len(result.error_lines()), 2, result)
        for line in result.error_lines():
            self.assertIn("unknown data", line)
        self.succeed("--resume", self.run_folder)

    def test_too_long_a_name(self):
        self.edit_option("data", "d" * 5000)
        self.refused(self.config, "data", "longer than")


class Files(ResumeTest):
    """Files of the run that were removed or damaged."""

    def setUp(self):
        super().setUp()
        self.last = self.run_folder / "last.safetensors"
        self.best = self.run_folder / "best.safetensors"

    def weights(self, path):
        arrays, _ = program.read_checkpoint(path)
        return {name: array.tobytes() for name, array in arrays.items()
                if not name.startswith("optimiser.")}

    def test_no_best_weights(self):
        """The last epoch's weights replace them, whether any epochs remain or not."""
        for epochs in (1, 2):
            with self.subTest(epochs=epochs):
                self.best.unlink(missing_ok=True)
                warning = self.warned("--epochs", epochs)
                for text in (self.best, f"after epoch {epochs - 1} ", "No such file"):
                    self.assertIn(str(text), warning)
                self.assertTrue(self.best.is_file())
                if epochs == 1:
                    self.assertEqual(self.weights(self.best), self.weights(self.last))
                self.succeed("--resume", self.run_folder, "--epochs", 2)

    def test_no_best_weights_within_an_epoch(self):
        """The next epoch's weights replace them, even if more images were correct before."""
        self.succeed("--resume", self.run_folder, "--max-steps", 15)
        arrays, metadata = program.read_checkpoint(self.last)
        make_fixtures.write_safetensors(self.last, arrays, metadata | {"best_correct": "31"})
        self.best.unlink()
        self.assertIn("after epoch 1 ", self.warned())
        self.assertEqual(self.weights(self.best), self.weights(self.last))

    def test_bad_best_weights(self):
        """Reported before training continues, not after it."""
        self.best.write_bytes(b"")
        self.refused(self.best)

    def test_rows(self):
        metrics = self.run_folder / "metrics.csv"
        header, row = metrics.read_text().splitlines()
        for lines in (None, [header], [header, row, row]):
            with self.subTest(lines=lines):
                shutil.rmtree(self.run_folder)
                shutil.copytree(self.original, self.run_folder)
                if lines is None:
                    metrics.unlink()
                else:
                    metrics.write_text("".join(f"{line}\n" for line in lines))
                count = len(lines or [0]) - 1
                warning = self.warned()
                for text in (metrics, f"it has {count} ", ", 1 were expected"):
                    self.assertIn(str(text), warning)

    def test_run_without_a_checkpoint(self):
        """Killed before its first checkpoint."""
        self.last.unlink()
        self.refused(self.last, "start the run again")


class Device(ResumeTest):
    def test_other_instruction_set(self):
        device = json.loads(self.config.read_text())["device"]
        self.edit(lambda config: config.update(device=re.sub("CPU, .*?,", "CPU, sse9,", device)))
        warning = self.warned("--max-steps", 13)
        self.assertIn("CPU, sse9:", warning)
        self.assertIn(device.rsplit(",", 1)[0], warning)
        self.succeed("--resume", self.run_folder)  # has been reported before

    def test_other_threads(self):
        self.succeed("--resume", self.run_folder, "--threads", 1)


class Names(ResumeTest):
    """JSON is UTF-8: names that it cannot store are refused before any file is written."""

    NAME = os.fsdecode(b"caf\xe9")

    def test_folder_of_the_run(self):
        """The name is not stored in any file; only --log-format json cannot print it."""
        folder = self.folder / self.NAME
        common = ["--data", program.mnist_folder(), *SMALL, "--epochs", 1, "--out", folder]
        self.fail_with(USAGE, *common, "--log-format", "json", mention=("--out", "UTF-8"))
        self.assertFalse(folder.exists())
        self.succeed(*common)
        self.fail_with(USAGE, "--resume", folder, "--epochs", 2, "--log-format", "json",
                       mention=("--resume", "UTF-8"))
        self.succeed("--resume", folder, "--epochs", 2)
        self.assertEqual(len(program.metrics_rows(folder)), 3)

    def test_how_to_resume(self):
        """The printed command is quoted for a shell."""
        for name in ("plain-1.0", "a b", "it's", "--dashes", "$HOME", "two\nlines"):
            with self.subTest(name):
                result = self.succeed("--data", program.mnist_folder(), *SMALL, f"--out={name}",
                                      "--max-steps", 1, cwd=self.folder)
                command = result.out.rpartition("To resume: nnmf-train ")[2]
                if name == "plain-1.0":
                    self.assertEqual(command, "--resume plain-1.0\n")
                self.succeed(*shlex.split(command), "--max-steps", 2, cwd=self.folder)

    def test_data(self):
        folder = self.folder / self.NAME
        shutil.copytree(program.mnist_folder(), folder)
        common = [*SMALL, "--epochs", 1, "--out", self.folder / "new"]
        self.fail_with(USAGE, "--data", folder, *common, mention=("data", "UTF-8"))
        self.fail_with(USAGE, *common, env={"NNMF_DATA": os.fspath(folder)},
                       mention=("data", "UTF-8"))
        self.fail_with(USAGE, "--data", ".", *common, cwd=folder, mention=("data", "UTF-8"))
        self.fail_with(USAGE, "--resume", self.run_folder, "--data", folder,
                       mention=("data", "UTF-8"))
        self.assertFalse((self.folder / "new").exists())

    def test_init(self):
        weights = self.folder / f"{self.NAME}.safetensors"
        shutil.copy(self.run_folder / "best.safetensors", weights)
        self.fail_with(USAGE, "--data", program.mnist_folder(), *SMALL, "--init", weights, "--out",
                       self.folder / "new", mention=("--init", "UTF-8"))

    def test_other_commands(self):
        """Other commands do not write JSON and accept any name."""
        weights = self.folder / f"{self.NAME}.safetensors"
        shutil.copy(self.run_folder / "best.safetensors", weights)
        common = [*SMALL, "--weights", weights, "--data", program.mnist_folder()]
        self.succeed("eval", *common, "--probabilities", self.folder / f"{self.NAME}.npy")
        self.succeed("statistics", *common, "--out", self.folder / f"{self.NAME}.2")
        self.succeed("show", *SMALL[:2], "--weights", weights, "--out",
                     self.folder / f"{self.NAME}.png")


class Refused(CopiedRunTest):
    """A run of one epoch: damaged files and wrong options are refused, and leave the run untouched."""

    @staticmethod
    def train_options():
        return ["--data", program.mnist_folder(), *SMALL, "--epochs", 1, "--train-range", "0:20"]

    def refused(self, *mention, status=FAILED, options=()):
        super().refused(*mention, status=status, options=["--epochs", 2, *options])

    def test_good_run(self):
        self.succeed("--resume", self.run_folder, "--epochs", 2)

    def test_with_out(self):
        self.refused("--resume", "--out", status=USAGE, options=["--out", self.folder / "x"])

    def test_with_an_option_of_the_run(self):
        for option, value in (("dataset", "mnist"), ("seed", 21), ("batch-size", 5),
                              ("lr-limit", 1e-9), ("augment", "none"), ("train-range", "0:20"),
                              ("test-range", "0:10"), ("iterations", 2), ("epsilon", 0.5),
                              ("positive-function", "abs"), ("beta", 1), ("init", "w"),
                              ("local-learning", "kl"), ("loss", "sbs"), ("loss-mse", 0.5),
                              ("loss-kl", 1)):
            with self.subTest(option):
                self.refused(f"--{option}", self.config, status=USAGE,
                             options=[f"--{option}", value])
        self.refused("--no-shuffle", status=USAGE, options=["--no-shuffle"])

    def test_no_folder(self):
        shutil.rmtree(self.run_folder)
        self.fail_with(FAILED, "--resume", self.run_folder, mention=self.run_folder)
        self.assertFalse(self.run_folder.exists())

    def test_without_config(self):
        self.config.unlink()
        self.refused(self.config)

    def test_without_last(self):
        self.last.unlink()
        self.refused(self.last)

    def test_bad_config(self):
        text = self.config.read_text()
        cases = [
            "", "{", "null", "[]", "3", "{}", '{"options": 3}', '{"options": {}}', text[:-20],
            text[: len(text) // 2], text + "x", "\0" * 100, text.replace('"seed"', '"seeds"'),
            text.replace('"seed": "21"', '"seed": "x"'), text.replace('"seed": "21"', '"seed": []'),
            text.replace('"batch-size": 5', '"batch-size": -5'),
            text.replace('"batch-size": 5', '"batch-size": 5e400'),
            text.replace('"batch-size": 5', '"batch-size": 5, "batch-size": 6'),
            text.replace('"train-range": "0:20"', '"train-range": "0:21x"'),
            text.replace('"augment": "reference"', '"augment": "none of them"'),
            text.replace('"dataset": "mnist"', '"dataset": "imagenet"'),
            text.replace('"no-shuffle": false', '"no-shuffle": "perhaps"'),
            text.replace('"init": ""', f'"init": "{4096 * "x"}"'),
            "[" * 100000,
        ]
        for case in cases:
            with self.subTest(config=case[:60]):
                self.assertNotEqual(case, text)
                self.config.write_text(case)
                self.refused(self.config)
        self.config.write_bytes(text.encode().replace(b"mnist", b"\xff\xfe"))
        self.refused(self.config)

    def test_config_of_another_network(self):
        """With a checkpoint that does not record its options, as version 0.1.0 wrote it."""
        text = self.config.read_text()
        self.change_last(lambda a, m: m.pop("options"))
        self.config.write_text(text.replace('"positive-function": "abs"',
                                            '"positive-function": "exp"'))
        self.refused(self.last, "4.beta")
        self.config.write_text(text.replace('"dataset": "mnist"', '"dataset": "cifar10"'))
        self.refused(self.last, options=["--data", program.cifar10_folder()])

    def test_cut_last(self):
        content = self.last.read_bytes()
        for length in (0, 4, 8, 1000, len(content) // 3, len(content) // 2, len(content) - 1):
            with self.subTest(length=length):
                self.last.write_bytes(content[:length])
                self.refused(self.last)

    def test_bit_flips_in_the_header(self):
        content = self.last.read_bytes()
        name, offsets = content.index(b'"18.weight"'), content.index(b"data_offsets")
        for position in (0, 3, 7, 8, 9, name, name + 2, offsets + 3):
            changed = bytearray(content)
            changed[position] ^= 0x40
            with self.subTest(position=position):
                self.last.write_bytes(changed)
                self.refused(self.last)

    def change_last(self, change):
        arrays, metadata = program.read_checkpoint(self.original / "last.safetensors")
        change(arrays, metadata)
        make_fixtures.write_safetensors(self.last, arrays, metadata)

    def test_moments(self):
        for prefix in ("optimiser.first.", "optimiser.second."):
            name = f"{prefix}18.weight"
            self.change_last(lambda a, m: a.pop(name))
            self.refused(self.last, name)
            self.change_last(lambda a, m: a.update({name: a[name][:, 1:]}))
            self.refused(self.last, name)
            self.change_last(lambda a, m: a.update({name: a[name] * np.float32(np.nan)}))
            self.refused(self.last, name)

    def test_weights(self):
        self.change_last(lambda a, m: a.pop("18.weight"))
        self.refused(self.last, "18.weight")
        self.change_last(lambda a, m: a.update({"18.weight": a["18.weight"].T}))
        self.refused(self.last, "18.weight")
        self.change_last(lambda a, m: a.update({"optimiser.third.4.weight": a["4.weight"]}))
        self.refused(self.last, "optimiser.third.4.weight")

    def test_best_instead_of_last(self):
        shutil.copy(self.run_folder / "best.safetensors", self.last)
        self.refused(self.last)

    def test_metadata(self):
        _, good = program.read_checkpoint(self.last)
        self.assertIn("epoch", good)
        for key in good:
            if key in ("version", "options"):  # version 0.1.0 wrote no options
                continue
            with self.subTest(missing=key):
                self.change_last(lambda a, m: m.pop(key))
                self.refused(self.last, key)
        for key, value in (("options", "{"), ("epoch", ""), ("epoch", "x"), ("epoch", "-1"), ("epoch", "1.5"),
                           ("epoch", "4294967296"), ("step", "5"), ("step", "1x"),
                           ("updates", "18446744073709551616"), ("learning_rate.nnmf", "nan"),
                           ("learning_rate.nnmf", "inf"), ("learning_rate.nnmf", "-1"),
                           ("learning_rate.nnmf", ""), ("schedule_bad_epochs.nnmf", "3000000000"),
                           ("train_loss_sum", "1,5"), ("train_loss_sum", "inf")):
            with self.subTest(key=key, value=value):
                self.assertIn(key, good)
                self.change_last(lambda a, m: m.update({key: value}))
                self.refused(self.last)

    def test_broken_logs(self):
        (self.run_folder / "metrics.csv").write_text("something else\n0,1\n")
        self.refused(self.run_folder / "metrics.csv")

    def test_missing_or_smaller_data(self):
        self.refused(self.folder / "gone", options=["--data", self.folder / "gone"])
        small = program.write_idx_folder(self.folder / "small", 10, 30)
        self.fail_with(USAGE, "--resume", self.run_folder, "--epochs", 2, "--data", small,
                       mention="0:20")


if __name__ == "__main__":
    program.main()
