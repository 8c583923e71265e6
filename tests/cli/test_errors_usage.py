#!/usr/bin/env python3
"""Bad commands, options and values: exit status and one-line message. Also --help, --version and info."""

import os

import program
from program import SMALL, ProgramTest, make_fixtures

USAGE = 2


class Usage(ProgramTest):
    def usage(self, *arguments, mention=(), env=None):
        return self.fail_with(USAGE, *arguments, mention=mention, cwd=self.folder, env=env)

    def test_unknown_command(self):
        self.usage("frobnicate", mention="frobnicate")
        self.usage("Train", mention="Train")
        self.usage("", mention="unknown command")

    def test_unknown_option(self):
        self.usage("--frobnicate", mention="--frobnicate")
        self.usage("train", "--frobnicate=3", mention="--frobnicate")
        self.usage("train", "-x", mention="-x")
        self.usage("eval", "--weights", "w", "--frobnicate", mention="--frobnicate")

    def test_option_of_another_command(self):
        self.usage("eval", "--epochs", 3, mention="--epochs")
        self.usage("train", "--weights", "w", mention="--weights")
        self.usage("train", "--offset", 1, mention="--offset")
        self.usage("info", "--data", "d", mention="--data")
        self.usage("trace", "--steps", 1, mention="--steps")

    def test_ambiguous_abbreviation(self):
        self.usage("--lr", "0.1", mention="--lr")
        self.usage("--dat", "d", mention="--dat")

    def test_missing_argument(self):
        self.usage("--epochs", mention="--epochs")
        self.usage("train", "--seed", 3, "--data", mention="--data")

    def test_empty_name(self):
        """An empty value, as from an unset shell variable, is an error and starts no run."""
        for option in ("resume", "init", "out", "data", "log-steps"):
            for words in ([f"--{option}", ""], [f"--{option}="]):
                with self.subTest(words=words):
                    self.usage("--epochs", 1, *SMALL, *words, mention=f"--{option}",
                               env={"NNMF_DATA": program.mnist_folder()})
        self.usage("eval", "--weights", "", mention="--weights")
        self.usage("eval", "--weights", "w", "--probabilities", "", mention="--probabilities")
        self.usage("robustness", "--weights", "w", "--kind", "contrast", "--levels=",
                   mention="--levels")
        self.assertEqual(os.listdir(self.folder), [])

    def test_argument_of_a_flag(self):
        self.usage("--no-shuffle=3", mention="--no-shuffle")

    def test_stray_argument(self):
        self.usage("train", "stray", mention="stray")
        self.usage("train", "--", "stray", mention="stray")

    def check_values(self, options, values):
        for option in options:
            for value in values:
                with self.subTest(option=option, value=value):
                    self.usage(f"--{option}={value}", mention=(f"--{option}", f"'{value}'"))

    def test_bad_whole_numbers(self):
        self.check_values(
            ["epochs", "batch-size", "batches-at-once", "threads", "max-steps", "iterations"],
            ["-1", "", " ", "x", "1x", "0x10", "1.5", "1e3", "99999999999999999999",
             "9223372036854775808", "nan", "+1", " 1", "1 "],
        )

    def test_numbers_out_of_their_range(self):
        for option in ("epochs=0", "batch-size=0", "batch-size=10001", "iterations=0",
                       "threads=1025", "batches-at-once=0", "batches-at-once=65"):
            with self.subTest(option):
                self.usage(f"--{option}", mention=f"--{option.split('=')[0]}")

    def test_bad_seeds(self):
        self.check_values(["seed"], ["-1", "", "0x10", "1.5", "18446744073709551616", "21 "])

    def test_bad_numbers(self):
        self.check_values(
            ["lr-nnmf", "lr-cnn-top", "lr-batchnorm", "lr-limit", "epsilon"],
            ["-1", "", "x", "1x", "0.1 ", "nan", "-nan", "inf", "1e999", "1e30", "0x1p3", "0,1",
             "0.1.2", "1-2", "1e-", "1e1e1", "."],
        )
        self.check_values(["beta", "loss-mse", "loss-kl"],
                          ["nan", "-inf", "1e999", "", "0x1", "1.2.3", "1-", "-"])

    def test_bad_choices(self):
        self.check_values(
            ["dataset", "augment", "positive-function", "local-learning", "loss", "device"],
            ["", "nothing", "CIFAR10", "abs,exp", " none"],
        )

    def test_bad_ranges(self):
        self.check_values(
            ["train-range", "test-range"],
            ["", ":", "5", "5:", ":5", "5:5", "9:3", "-1:5", "0:5:7", "0:5x", "a:b", "0x1:0x5",
             "0:99999999999999999999", "0.5:3", " 0:5"],
        )

    def test_options_without_effect(self):
        data = ["--data", program.mnist_folder(), *SMALL, "--out", "run"]
        self.usage(*data, "--beta", 2, mention="--beta")
        self.usage(*data, "--positive-function", "identity", "--beta", 2, mention="--beta")
        for option in ("--loss-mse", "--loss-kl"):
            self.usage(*data, option, 0.5, "--loss", "cross-entropy", mention=option)
        self.assertEqual(os.listdir(self.folder), [])

    def test_too_long_path(self):
        self.usage("--data", "d" * 5000, mention="--data")

    def test_eval_and_trace_without_required_options(self):
        self.usage("eval", mention="--weights")
        self.usage("trace", "--weights", "w", mention="--out")
        self.usage("trace", "--out", "o", mention="--weights")

    def test_range_beyond_the_data(self):
        run = ["--data", program.mnist_folder(), *SMALL, "--epochs", 1, "--out", "run"]
        self.usage(*run, "--train-range", "0:61", mention=("--train-range 0:61", "60"))
        self.usage(*run, "--train-range", "60:70", mention=("--train-range 60:70", "60"))
        self.usage(*run, "--test-range", "0:31", mention=("--test-range 0:31", "30"))
        self.usage(*run, "--test-range", "3:18446744073709551615", mention="--test-range 3:18446744073709551615")
        self.assertEqual(os.listdir(self.folder), [])

    def test_trace_beyond_the_data(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        for offset in (26, 30, 1000000):
            self.usage("trace", *SMALL, "--weights", weights, "--data", program.mnist_folder(),
                       "--split", "test", "--offset", offset, "--out", "t.safetensors",
                       mention=str(offset))
        self.assertEqual(os.listdir(self.folder), ["w.safetensors"])


class Help(ProgramTest):
    def test_help_and_version(self):
        for command in ("train", "eval", "trace", "info", "bench"):
            result = self.succeed(command, "--help")
            self.assertIn("Usage:", result.out, result)
            self.assertIn(f"nnmf-train {command}", result.out, result)
        self.assertRegex(self.succeed("--version").out, r"\Annmf-train \d+\.\d+\.\d+\n")

    def test_info(self):
        self.assertIn("Parameters: cnn_top 14638, nnmf 173344, batchnorm 576, total 188558",
                      self.succeed("info").out)
        for kind in ("mnist", "fashion-mnist"):
            self.assertIn("18     NNMF", self.succeed("info", "--dataset", kind).out)
        result = self.succeed("info", "--device", "cpu", "--threads", 1, "--batch-size", 7)
        self.assertRegex(result.out, r"\nDevice: CPU, \w+, 1 thread, batches of 7\n\Z")


if __name__ == "__main__":
    program.main()
