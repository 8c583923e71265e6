#!/usr/bin/env python3
"""Weights store the options they were trained with, and files derived from them keep these."""

import json
import re
import shutil

import program
from program import SMALL, CopiedRunTest, make_fixtures

USAGE = 2
NETWORK = ["--iterations", 3, "--epsilon", 1, "--batch-size", 20]


def correct(result):
    return int(re.search(r"\((\d+) of \d+\)", result.out)[1])


class WeightsOptions(CopiedRunTest):
    @staticmethod
    def train_options():
        """Trains enough for the options to matter."""
        return ["--dataset", "fashion-mnist", "--data", program.mnist_folder(60, 50), *NETWORK,
                "--device", "cpu", "--augment", "none", "--epochs", 12, "--test-range", "0:40"]

    def setUp(self):
        super().setUp()
        self.data = program.mnist_folder(60, 50)
        self.train = ["--split", "train", "--data", self.data]

    def without_options(self):
        """As from PyTorch or from version 0.1.0."""
        path = self.folder / "plain.safetensors"
        make_fixtures.write_safetensors(path, make_fixtures.read_safetensors(self.best), {})
        return path

    def probabilities(self, *arguments):
        path = self.folder / "p.npy"
        self.succeed("eval", *arguments, *self.train, "--probabilities", path)
        return path.read_bytes()

    def test_every_command_uses_them(self):
        """As if the options had been given again."""
        explicit = ["--dataset", "fashion-mnist", *NETWORK]
        plain = self.without_options()
        self.assertEqual(self.probabilities("--weights", self.best),
                         self.probabilities("--weights", plain, *explicit))
        self.assertNotEqual(self.probabilities("--weights", self.best),
                            self.probabilities("--weights", plain, *explicit[:2]))
        for command, options, out in (
                ("trace", [], "t.safetensors"), ("show", ["--confusion"], "s.png"),
                ("show", ["--reconstruct", 3], "r.png"),
                ("statistics", [], "m.safetensors"),
                ("robustness", ["--kind", "gradient-sign", "--levels", "0.1"], "r.csv")):
            with self.subTest(command):
                contents = []
                for weights in ([self.best], [plain, *explicit]):
                    data = ["--data", self.data]
                    self.succeed(command, "--weights", *weights, *data, *options, "--out",
                                 self.folder / out)
                    contents.append((self.folder / out).read_bytes())
                if command == "statistics":  # which records the options in its metadata
                    contents = [program.split_safetensors(content)[1] for content in contents]
                self.assertTrue(contents[0] == contents[1])

    def test_what_the_run_measured(self):
        rows = program.metrics_rows(self.run_folder)[1:]
        for path, expected in ((self.best, max(int(row[6]) for row in rows)),
                               (self.last, int(rows[-1][6]))):
            result = self.succeed("eval", "--weights", path, "--data", self.cut_test())
            self.assertEqual(correct(result), expected)

    def cut_test(self):
        """Limits the test to the run's 40 test images."""
        return program.write_idx_folder(self.folder / "cut", 60, 40)

    def test_contradictions(self):
        for option, value in (("iterations", 4), ("epsilon", 0), ("positive-function", "exp"),
                              ("loss", "cross-entropy"), ("loss-kl", 0.5), ("arch", "cnn"),
                              ("local-learning", "kl"), ("dataset", "cifar10")):
            with self.subTest(option):
                for path in (self.best, self.last):
                    self.fail_with(USAGE, "eval", "--weights", path, f"--{option}", value,
                                   "--data", self.data, mention=(f"--{option}", path, "--override"))
                self.fail_with(USAGE, "train", "--init", self.best, f"--{option}", value, "--out",
                               self.folder / "new", mention=(f"--{option}", "--override"))
        for option, value in (("iterations", 3), ("epsilon", "1.0"), ("batch-size", 7)):
            self.succeed("eval", "--weights", self.best, f"--{option}", value, "--data", self.data)

    def test_override(self):
        plain = self.without_options()
        other = ["--iterations", 4, "--epsilon", 0.5]
        self.assertEqual(
            self.probabilities("--weights", self.best, *other, "--override"),
            self.probabilities("--weights", plain, *other, "--batch-size", 20, "--dataset",
                               "fashion-mnist"))
        self.fail_with(USAGE, "train", "--override", "--data", self.data, mention="--override")
        self.fail_with(USAGE, "--resume", self.run_folder, "--override", mention="--override")

    def test_train_from_them(self):
        """Takes the network and the data set from them, but not the training options."""
        run = self.folder / "new"
        self.succeed("train", "--init", self.best, "--data", self.data, "--max-steps", 1, "--out",
                     run)
        options = json.loads((run / "config.json").read_text())["options"]
        for name, value in (("dataset", "fashion-mnist"), ("iterations", 3), ("epsilon", 1),
                            ("batch-size", 50), ("augment", "reference")):
            self.assertEqual(options[name], value, name)

    def test_in_the_file(self):
        for path in (self.best, self.last):
            options = json.loads(program.read_checkpoint(path)[1]["options"])
            self.assertEqual(options["iterations"], 3)
            self.assertEqual(options["batch-size"], 20)
            self.assertEqual("seed" in options, path == self.last)

    def test_bad_options(self):
        arrays, metadata = program.read_checkpoint(self.best)
        for text in ("", "[]", "{", '{"iterations": 0}', '{"iterations": "many"}',
                     '{"iterations": 3, "iterations": 4}', '{"dataset": "imagenet"}'):
            with self.subTest(options=text):
                make_fixtures.write_safetensors(self.best, arrays, {**metadata, "options": text})
                self.fail_with(1, "eval", "--weights", self.best, "--data", self.data,
                               mention=self.best)

    def test_unknown_option(self):
        """An option of a later version."""
        arrays, metadata = program.read_checkpoint(self.best)
        options = json.loads(metadata["options"]) | {"sparsity": 2}
        make_fixtures.write_safetensors(self.best, arrays,
                                        {**metadata, "options": json.dumps(options)})
        result = program.execute("eval", "--weights", self.best, "--data", self.data)
        self.assertEqual(result.status, 0, result)
        self.assertIn("'sparsity'", result.err)

    def test_statistics_onto_a_checkpoint(self):
        """Moments and state stay, so the run continues unchanged."""
        whole = self.folder / "whole"
        shutil.copytree(self.run_folder, whole)
        before, _ = program.read_checkpoint(self.last)
        self.succeed("statistics", "--weights", self.last, "--data", self.data, "--out", self.last)
        after, metadata = program.read_checkpoint(self.last)
        self.assertEqual(sorted(before), sorted(after))
        self.assertEqual(metadata, program.read_checkpoint(whole / "last.safetensors")[1])
        for run in (whole, self.run_folder):
            self.succeed("--resume", run, "--epochs", 13)
        self.check_same_checkpoint(whole / "last.safetensors", self.last)

    def test_statistics_of_a_checkpoint_as_another_network(self):
        """The run could not continue with the new options in the file."""
        for out in (self.last, self.folder / "m.safetensors"):
            before = self.last.read_bytes()
            self.fail_with(USAGE, "statistics", "--weights", self.last, "--data", self.data,
                           "--iterations", 5, "--override", "--out", out, mention=self.last)
            self.assertEqual(self.last.read_bytes(), before)
        self.succeed("statistics", "--weights", self.last, "--data", self.data, "--batch-size", 7,
                     "--override", "--out", self.last)
        self.succeed("--resume", self.run_folder, "--epochs", 13)

    def test_statistics_of_other_options(self):
        """From then on the file records the options they were measured with."""
        out = self.folder / "m.safetensors"
        self.succeed("statistics", "--weights", self.without_options(), "--dataset",
                     "fashion-mnist", "--data", self.data, "--iterations", 5, "--out", out)
        options = json.loads(program.read_checkpoint(out)[1]["options"])
        self.assertEqual((options["iterations"], options["batch-size"]), (5, 50))
        self.succeed("statistics", "--weights", self.best, "--data", self.data, "--iterations", 5,
                     "--override", "--out", out)
        options = json.loads(program.read_checkpoint(out)[1]["options"])
        self.assertEqual((options["iterations"], options["batch-size"]), (5, 20))

    def test_beta(self):
        """beta is learned, so weights have their own."""
        exponential = ["--positive-function", "exp", "--beta", 2, "--data", self.data]
        self.succeed(*SMALL, *exponential, "--epochs", 1, "--out", self.folder / "exp")
        weights = self.folder / "exp" / "best.safetensors"
        self.fail_with(USAGE, "eval", "--weights", weights, *exponential[2:], mention="--beta")
        self.fail_with(USAGE, "--init", weights, *exponential, "--out", self.folder / "new",
                       mention=("--beta", weights))
        self.assertFalse((self.folder / "new").exists())

    def test_outputs_onto_the_data(self):
        data = program.write_idx_folder(self.folder / "data", 60, 50)
        images = data / "t10k-images-idx3-ubyte"
        link = self.folder / "link"
        link.symlink_to(images)
        before = {path: path.read_bytes() for path in data.iterdir()}
        common = ["--weights", self.best, "--data", data]
        for command in (["eval", *common, "--probabilities", images],
                        ["eval", *common, "--probabilities", f"{images}.gz"],
                        ["trace", *common, "--out", data / "." / "train-labels-idx1-ubyte"],
                        ["show", *common, "--confusion", "--out", link],
                        ["robustness", *common, "--out", data / "t10k-labels-idx1-ubyte"],
                        ["statistics", *common, "--out", images],
                        [*SMALL, "--data", data, "--out", self.folder / "new", "--log-steps",
                         images]):
            with self.subTest(command[0]):
                self.fail_with(USAGE, *command, mention="data")
        self.fail_with(USAGE, "eval", *common[:2], "--probabilities", images,
                       env={"NNMF_DATA": data}, mention=images)
        cifar10 = self.folder / "cifar10"
        cifar10.mkdir()
        for name in ("data_batch_3.bin", "test_batch.bin"):
            self.fail_with(USAGE, "--data", cifar10, "--out", self.folder / "new", "--log-steps",
                           cifar10 / name, mention=name)
        self.assertEqual({path: path.read_bytes() for path in data.iterdir()}, before)

    def test_outputs_onto_the_weights(self):
        """Output never replaces the weights, whatever name the path uses."""
        link = self.folder / "link.safetensors"
        link.symlink_to(self.best)
        before = self.best.read_bytes()
        common = ["--weights", self.best, "--data", self.data]
        for command in (["trace", *common, "--out", link], ["show", *common, "--out", self.best],
                        ["robustness", *common, "--out", self.run_folder / "." / self.best.name],
                        ["eval", *common, "--probabilities", self.best],
                        ["train", "--init", self.best, "--data", self.data, "--log-steps", link]):
            with self.subTest(command[0]):
                self.fail_with(USAGE, *command, mention="weights")
        for name in ("metrics.csv", "last.safetensors", "config.json", "lock"):
            with self.subTest(name):
                self.fail_with(USAGE, "--resume", self.run_folder, "--epochs", 13, "--log-steps",
                               self.run_folder / name, mention="--log-steps")
                self.fail_with(USAGE, *SMALL, "--data", self.data, "--out", self.folder / "new",
                               "--log-steps", self.folder / "new" / name, mention="--log-steps")
                self.assertFalse((self.folder / "new").exists())
        self.assertEqual(self.best.read_bytes(), before)


if __name__ == "__main__":
    program.main()
