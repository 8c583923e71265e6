#!/usr/bin/env python3
"""What a run prints and writes, how it resumes, and that nothing else changes its results."""

import json
import os
import re
import shutil
import signal
import unittest

import numpy as np

import program
from program import SMALL, WRAPPER, ProgramTest, Running, make_fixtures

METRICS = ("epoch,lr_cnn_top,lr_nnmf,lr_batchnorm,train_loss,train_correct,test_correct,"
           "train_seconds,test_seconds").split(",")
EPOCH = re.compile(
    r"^Epoch: (?P<epoch>\d+)\n"
    r"Actual lr:  (?P<lr0>\d\.\d{4}e[-+]\d\d)  (?P<lr1>\d\.\d{4}e[-+]\d\d)"
    r"  (?P<lr2>\d\.\d{4}e[-+]\d\d)\n"
    r"Training: Loss=(?P<loss>\d+\.\d{5}) Correct=(?P<train>\d+\.\d\d)%\n"
    r"Testing: Correct=(?P<test>\d+\.\d\d)%\n"
    r"Time: Training=\d+\.\dsec, Testing=\d+\.\dsec\n",
    re.MULTILINE,
)
OPTIONS = ("data dataset init epochs batch-size seed lr-nnmf lr-cnn-top lr-batchnorm lr-limit "
           "augment no-shuffle train-range test-range iterations epsilon positive-function beta "
           "local-learning loss loss-mse loss-kl device cpu threads batches-at-once").split()


class RunTest(ProgramTest):
    """Small runs: 60 training images in steps of 5, 30 test images."""

    def small(self, name, *options, data=None, epochs=1, **how):
        """-> the run's folder."""
        run = self.folder / name
        self.succeed("train", "--data", data or program.mnist_folder(), *SMALL, "--epochs", epochs,
                     "--out", run, *options, **how)
        return run

    def resume(self, run, *options, epochs=None):
        count = [] if epochs is None else ["--epochs", epochs]
        return self.succeed("--resume", run, *count, *options)

    def check_same_run(self, one, other, ignored=()):
        """`ignored`: metadata."""
        for name in ("last.safetensors", "best.safetensors"):
            self.check_same_checkpoint(one / name, other / name, ("train_seconds", *ignored))
        self.assertEqual(program.metrics_rows(one), program.metrics_rows(other))

    def differ(self, one, other):
        a, b = (make_fixtures.read_safetensors(run / "last.safetensors") for run in (one, other))
        return any((a[name] != b[name]).any() for name in a)


class Smallest(RunTest):
    """Every command that reads data, with a minimum of images, for valgrind."""

    def test_every_command(self):
        data, run = program.mnist_folder(3, 2), self.folder / "run"
        network = ["--dataset", "mnist", "--iterations", 1, "--batch-size", 2]
        self.succeed("train", "--data", data, *network, "--epochs", 1, "--max-steps", 1,
                     "--log-steps", self.folder / "steps.csv", "--threads", 2, "--out", run)
        self.resume(run, "--log-steps", self.folder / "steps.csv")
        common = [*network, "--data", data, "--weights", run / "last.safetensors"]
        self.succeed("eval", *common, "--probabilities", self.folder / "p.npy")
        self.succeed("trace", *common, "--out", self.folder / "t.safetensors")
        self.succeed("info", "--dataset", "mnist")


class Files(RunTest):
    def test_what_a_run_leaves(self):
        run = self.folder / "run"
        result = self.succeed("--data", program.mnist_folder(), *SMALL, "--epochs", 3,
                              "--train-range", "3:50", "--lr-nnmf", "0.02", "--out", run)
        best, config, events, *others = sorted(os.listdir(run))
        self.assertEqual([best, config, *others], ["best.safetensors", "config.json",
                                                   "last.safetensors", "metrics.csv"])
        self.assertRegex(events, r"\Aevents\.out\.tfevents\.\d{10}\.[-\w.]+\Z")

        header, *rows = program.metrics_rows(run, seconds=True)
        self.assertEqual(header, METRICS)
        self.assertEqual([row[0] for row in rows], ["0", "1", "2"])
        self.assertTrue(all(len(row) == len(METRICS) for row in rows))
        printed = list(EPOCH.finditer(result.out))
        self.assertEqual(len(printed), 3, result)
        best = -1
        for row, lines in zip(rows, printed):
            values = dict(zip(METRICS, map(float, row)))
            self.assertEqual(lines["epoch"], row[0])
            for name, group, rate in (("lr_cnn_top", "lr0", 1e-3), ("lr_nnmf", "lr1", 2e-2),
                                      ("lr_batchnorm", "lr2", 1e-3)):
                self.assertEqual(values[name], rate)
                self.assertEqual(lines[group], f"{rate:.4e}")
            self.assertEqual(lines["loss"], f"{values['train_loss']:.5f}")
            self.assertEqual(lines["train"], f"{100 * values['train_correct'] / 47:.2f}")
            self.assertEqual(lines["test"], f"{100 * values['test_correct'] / 30:.2f}")
            best = max(best, int(values["test_correct"]))

        # Testing both files gives the results in the metrics.
        last = int(rows[-1][METRICS.index("test_correct")])
        for name, correct in (("last", last), ("best", best)):
            tested = self.succeed("eval", "--weights", run / f"{name}.safetensors", "--data",
                                  program.mnist_folder(), *SMALL)
            self.assertEqual(tested.out.splitlines()[-1],
                             f"Testing: Correct={100 * correct / 30:.2f}% ({correct} of 30)")
        self.assertIn(f"{100 * best / 30:.2f}%", result.out.splitlines()[-2], result)
        self.assertIn(str(run), result.out.splitlines()[-1], result)

        weights = make_fixtures.weights("mnist")
        arrays, _ = program.read_checkpoint(run / "best.safetensors")
        self.assertEqual({k: v.shape for k, v in arrays.items() if ".running_" not in k},
                         {k: v.shape for k, v in weights.items()})

    def test_best_weights_are_those_of_their_epoch(self):
        """With tiny steps the first of two epochs stays the best. When statistics are added to its
        file at the end, its weights are still those of a run of one epoch."""
        rates = [word for group in ("nnmf", "cnn-top", "batchnorm") for word in (f"--lr-{group}", 1e-6)]
        one, two = (self.small(f"{epochs}", *rates, epochs=epochs) for epochs in (1, 2))
        rows = program.metrics_rows(two)
        correct = [int(row[rows[0].index("test_correct")]) for row in rows[1:]]
        self.assertGreaterEqual(correct[0], correct[1])
        first, best, last = (make_fixtures.read_safetensors(path) for path in (
            one / "last.safetensors", two / "best.safetensors", two / "last.safetensors"))
        for name in best:
            self.assertTrue((best[name] == first[name]).all(), name)
        self.assertTrue(any((best[name] != last[name]).any() for name in best))

    def test_config(self):
        run = self.small("run", "--seed", 18446744073709551615, "--lr-limit", "3e-7",
                         "--no-shuffle", "--train-range", "0:7", "--threads", 3)
        config = json.loads((run / "config.json").read_text())
        version = self.succeed("--version").out.split()[1]
        self.assertEqual(config["version"], version)
        self.assertIn("3 threads", config["device"])
        self.assertEqual(config["data"]["name"], "mnist")
        options = config["options"]
        for name in OPTIONS:
            self.assertIn(name, options)
        for name, value in {
            "data": str(program.mnist_folder()), "dataset": "mnist", "iterations": 2, "epochs": 1,
            "batch-size": 5, "seed": "18446744073709551615", "lr-limit": 3e-7, "lr-nnmf": 0.01,
            "lr-cnn-top": 0.001, "lr-batchnorm": 0.001, "augment": "reference",
            "no-shuffle": True, "train-range": "0:7", "threads": 3, "loss": "sbs",
        }.items():
            self.assertEqual(options[name], value, name)

    def test_default_folder(self):
        self.succeed("--data", program.mnist_folder(), *SMALL, "--epochs", 1, "--train-range",
                     "0:5", "--test-range", "0:5", cwd=self.folder)
        self.assertEqual(os.listdir(self.folder), ["runs"])
        (name,) = os.listdir(self.folder / "runs")
        self.assertRegex(name, r"\Amnist-\d{8}-\d{6}\Z")

    def test_data_folder_of_the_environment(self):
        self.succeed(*SMALL, "--epochs", 1, "--train-range", "0:5", "--out", self.folder / "run",
                     env={"NNMF_DATA": program.mnist_folder()})

    def test_train_needs_no_name(self):
        named = self.small("named")
        self.succeed("--data", program.mnist_folder(), *SMALL, "--epochs", 1, "--out",
                     self.folder / "unnamed")
        self.check_same_run(named, self.folder / "unnamed")

    def test_end_by_the_learning_rate(self):
        run = self.small("run", "--lr-limit", "0.1", epochs=3)
        self.assertEqual(len(program.metrics_rows(run)), 1, "no epoch was to be trained")

    def test_eval_on_train_images(self):
        weights, probabilities = self.folder / "w.safetensors", self.folder / "p.npy"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        result = self.succeed("eval", "--weights", weights, "--data", program.mnist_folder(),
                              *SMALL, "--split", "train", "--probabilities", probabilities)
        line = re.fullmatch(r"Testing: Correct=(\d+\.\d\d)% \((\d+) of 60\)",
                            result.out.splitlines()[-1])
        values = np.load(probabilities)
        self.assertEqual((values.shape, values.dtype), ((60, 10), np.float32))
        correct = int((values.argmax(axis=1) == make_fixtures.labels(0, 60)).sum())
        self.assertEqual(int(line[2]), correct, result)


class Terminal(RunTest):
    def test_no_progress_line_in_a_pipe(self):
        result = self.succeed("--data", program.mnist_folder(), *SMALL, "--epochs", 2, "--out",
                              self.folder / "run")
        self.assertNotIn("\r", result.out)
        self.assertNotIn("\033", result.out)

    def test_progress_line(self):
        data = program.mnist_folder(2000, 30)
        running = Running("--data", data, *SMALL, "--epochs", 1000, "--out", self.folder / "run",
                          terminal=True)
        running.wait_for(b"images/s")
        running.wait_for(b" left")
        line = running.seen.decode().split("\r")[-1]
        self.assertRegex(line, r"Training epoch \d+: \d+ of 400 steps, \d+ images/s, .* left")
        running.signal(signal.SIGTERM)
        self.assertEqual(running.finish().status, 128 + signal.SIGTERM)

    def test_duration(self):
        """After some steps the program prints how long training will take."""
        result = self.succeed("--data", program.mnist_folder(), *SMALL, "--epochs", 1, "--out",
                              self.folder / "run")
        self.assertRegex(result.out, r"\nExpected: about \S.* for 1 epoch \(")


class Determinism(RunTest):
    def test_same_command(self):
        self.check_same_run(self.small("one", epochs=2), self.small("two", epochs=2))

    def test_threads(self):
        whole = self.small("one", "--threads", 1, epochs=2)
        for threads in (2, 3, 5):
            with self.subTest(threads=threads):
                self.check_same_run(whole, self.small(f"with{threads}", "--threads", threads,
                                                      epochs=2))

    def test_threads_on_cifar10(self):
        """The larger network with the default number of iterations and colour augmentation."""
        images = 5 if WRAPPER else 15
        runs = []
        for threads in (1, 2, 5):
            run = self.folder / f"with{threads}"
            self.succeed("--data", program.cifar10_folder(), "--batch-size", 5, "--train-range",
                         f"0:{images}", "--test-range", "0:5", "--epochs", 1, "--augment", "image",
                         "--threads", threads, "--out", run)
            runs.append(run)
        self.check_same_run(runs[0], runs[1])
        self.check_same_run(runs[0], runs[2])

    def test_batches_at_once(self):
        """12 training and 6 test batches; the last of each are smaller."""
        ranges = ["--train-range", "0:58", "--test-range", "0:28"]
        whole = self.small("one", *ranges, epochs=2)
        for number in (2, 4, 64):
            with self.subTest(number=number):
                self.check_same_run(whole, self.small(f"with{number}", *ranges, "--batches-at-once",
                                                      number, epochs=2))

    def test_threads_in_trace_and_eval(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        common = [*SMALL, "--weights", weights, "--data", program.mnist_folder()]
        files = []
        for threads in (1, 2, 3, 5):
            trace, npy = self.folder / f"{threads}.safetensors", self.folder / f"{threads}.npy"
            self.succeed("trace", *common, "--threads", threads, "--out", trace)
            self.succeed("eval", *common, "--threads", threads, "--probabilities", npy)
            files.append((trace.read_bytes(), npy.read_bytes()))
        self.assertTrue(all(one == files[0] for one in files))

    def test_seeds(self):
        self.assertTrue(self.differ(self.small("one", "--seed", 1), self.small("two", "--seed", 2)))

    def test_file_order(self):
        """Without shuffling and augmentation, the seed only determines the initial weights."""
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        options = ["--init", weights, "--no-shuffle", "--augment", "none"]
        logs = []
        for seed in (1, 2):
            log = self.folder / f"{seed}.csv"
            self.small(f"run{seed}", *options, "--seed", seed, "--log-steps", log)
            logs.append(log.read_bytes())
        self.assertEqual(logs[0], logs[1])
        self.check_same_run(self.folder / "run1", self.folder / "run2", ignored=["options"])
        shuffled = self.small("shuffled", "--init", weights, "--augment", "none", "--seed", 1)
        self.assertTrue(self.differ(self.folder / "run1", shuffled))

        # The first step's loss equals that of a trace of the first batch.
        trace = self.folder / "t.safetensors"
        self.succeed("trace", *SMALL, "--weights", weights, "--data", program.mnist_folder(),
                     "--split", "train", "--out", trace)
        loss = make_fixtures.read_safetensors(trace)["loss"].item()
        first = logs[0].decode().splitlines()[1].split(",")
        self.assertEqual(first[0], "0")
        self.assertAlmostEqual(float(first[1]), loss, places=6)


@unittest.skipUnless(program.instruction_sets(), "the kernel does not report the CPU's instruction sets")
class InstructionSets(RunTest):
    """The instruction sets that this processor supports."""

    def test_each(self):
        """Trains with each, prints its name, tests, and resumes with another."""
        data, losses, best = program.mnist_folder(), {}, program.instruction_sets()[0]
        for name in program.instruction_sets():
            with self.subTest(name):
                options = ["--cpu", name, "--device", "cpu", "--threads", 2]
                run, again = (self.small(f"{name}{number}", *options) for number in (1, 2))
                self.check_same_run(run, again)
                config = json.loads((run / "config.json").read_text())
                self.assertEqual(config["device"], f"CPU, {name}, 2 threads")
                self.assertEqual(config["options"]["cpu"], name)
                header, row = program.metrics_rows(run)
                losses[name] = float(row[header.index("train_loss")])
                tested = self.succeed("eval", *options, *SMALL, "--data", data, "--weights",
                                      run / "last.safetensors").out
                self.assertIn(f"({row[header.index('test_correct')]} of 30)", tested)
                self.assertIn(f"\nDevice: CPU, {name}, 2 threads\n",
                              self.resume(run, epochs=2).out)
                other = program.execute("--resume", run, "--cpu", "auto", "--epochs", 3)
                self.assertEqual(other.status, 0, other)
                self.assertIn(f"\nDevice: CPU, {best}, 2 threads\n", other.out)
                self.assertEqual(f"device changed: CPU, {best}:" in other.err,
                                 name != best, other)
        for name, loss in losses.items():  # the same network, with different rounding
            self.assertAlmostEqual(loss, losses[best], delta=1e-3, msg=name)
        if len(losses) > 1:
            self.assertTrue(self.differ(self.folder / f"{best}2", self.folder / "portable2"),
                            "the sets give different results")

    def test_auto_is_the_best(self):
        best = program.instruction_sets()[0]
        for options in ([], ["--cpu", "auto"], ["--cpu", best]):
            out = self.succeed("info", "--device", "cpu", "--threads", 1, *options).out
            self.assertIn(f"CPU, {best}, 1 thread", out)


class StepLog(RunTest):
    def test_content(self):
        log = self.folder / "steps.csv"
        run = self.small("run", "--log-steps", log, "--train-range", "0:58", epochs=2)
        header, *rows = [line.split(",") for line in log.read_text().splitlines()]
        self.assertEqual(header, ["step", "loss", "correct"])
        self.assertEqual([int(row[0]) for row in rows], list(range(24)))
        metrics = program.metrics_rows(run)[1:]
        for epoch in range(2):
            part = rows[12 * epoch : 12 * (epoch + 1)]
            self.assertEqual(sum(int(row[2]) for row in part), int(metrics[epoch][5]))
            self.assertAlmostEqual(sum(float(row[1]) for row in part) / 58,
                                   float(metrics[epoch][4]), places=7)

    def test_does_not_change_the_run(self):
        self.check_same_run(self.small("one"),
                            self.small("two", "--log-steps", self.folder / "steps.csv"))

    def test_continued(self):
        """Replaces rows of epochs after the checkpoint and keeps the others."""
        whole, log = self.folder / "whole.csv", self.folder / "steps.csv"
        self.small("whole", "--log-steps", whole, epochs=2)
        run = self.small("run", "--log-steps", log, "--max-steps", 7, epochs=2)
        self.assertEqual(log.read_text().splitlines(), whole.read_text().splitlines()[:8])
        with open(log, "a") as more:
            more.write("7,9.9,0\n8,9.9,0\n9,9.")
        self.resume(run, "--log-steps", log)
        self.assertEqual(log.read_bytes(), whole.read_bytes())

    def test_begun_in_a_resumed_run(self):
        whole, log = self.folder / "whole.csv", self.folder / "steps.csv"
        self.small("whole", "--log-steps", whole, epochs=1)
        run = self.small("run", "--max-steps", 7, epochs=1)
        self.resume(run, "--log-steps", log)
        lines = whole.read_text().splitlines()
        self.assertEqual(log.read_text().splitlines(), lines[:1] + lines[8:])


class Spreadsheet(RunTest):
    """Files of a run saved by a spreadsheet or an editor: the run resumes, and its files become the
    same as without that."""

    MARK = b"\xef\xbb\xbf"
    SAVED = {
        "ends of lines": lambda text: text.replace(b"\n", b"\r\n"),
        "ends of lines, twice": lambda text: text.replace(b"\n", b"\r\r\n"),
        "old ends of lines": lambda text: text.replace(b"\n", b"\r"),
        "mark": lambda text: Spreadsheet.MARK + text,
        "all of that": lambda text: Spreadsheet.MARK + text.replace(b"\n", b"\r\n"),
        "no last newline": lambda text: text[:-1],
        "quoted": lambda text: b"".join(b'"%s"\n' % line.replace(b",", b'","')
                                        for line in text.splitlines()),
        "quoted names": lambda text: b'"%s"\r\n%s' % (
            text.split(b"\n", 1)[0].replace(b",", b'","'), text.split(b"\n", 1)[1]),
        "empty rows": lambda text: text + b"\n,,,,,,,,\n,,\n",
    }

    def test_metrics(self):
        one, whole = self.small("one"), self.small("whole", epochs=2)
        before = (one / "metrics.csv").read_bytes()
        for name, change in self.SAVED.items():
            with self.subTest(name):
                run = self.folder / name
                shutil.copytree(one, run)
                (run / "metrics.csv").write_bytes(change(before))
                self.resume(run, epochs=2)
                self.check_same_run(whole, run)
                after = (run / "metrics.csv").read_bytes()
                self.assertEqual(after[: len(before)], before)
                self.assertNotIn(b"\r", after)

    def test_steps(self):
        whole, part = self.folder / "whole.csv", self.folder / "part.csv"
        self.small("whole", "--log-steps", whole, "--train-range", "0:15")
        begun = self.small("begun", "--log-steps", part, "--train-range", "0:15", "--max-steps", 2)
        for name, change in self.SAVED.items():
            with self.subTest(name):
                run, log = self.folder / name, self.folder / f"{name}.csv"
                shutil.copytree(begun, run)
                log.write_bytes(change(part.read_bytes()))
                self.resume(run, "--log-steps", log)
                self.assertEqual(log.read_bytes(), whole.read_bytes())

    def test_configuration(self):
        whole, run = self.small("whole", epochs=2), self.small("run")
        config = run / "config.json"
        config.write_bytes(self.MARK + config.read_bytes().replace(b"\n", b"\r\n"))
        self.resume(run, epochs=2)
        self.check_same_run(whole, run)

    def test_what_cannot_be_read_is_named(self):
        run = self.small("run")
        metrics = run / "metrics.csv"
        good = metrics.read_text()
        header, row = good.splitlines()
        for text, mention in ((good.replace(",", ";"), "semicolons"),
                              (good.replace(",", "\t"), "tabs"),
                              (good.encode("utf-16"), "UTF-16"),
                              (good.replace("epoch", "Epoch"), f"should be '{header}'"),
                              (f"{header}\n{row},9\n", "line 2: 9 columns"),
                              (f"{header}\n\n{row.replace('.', ',')}\n", "line 3: 9 columns"),
                              (f"{header}\n0,0.001\n", "line 2: 9 columns"),
                              (f"{header}\nx{row}\n", "line 2: 9 columns")):
            with self.subTest(mention):
                content = text if isinstance(text, bytes) else text.encode()
                metrics.write_bytes(content)
                self.fail_with(1, "--resume", run, "--epochs", 2, mention=[metrics, mention])
                self.assertEqual(metrics.read_bytes(), content)


class Loss(RunTest):
    """An epoch's loss is the mean of the losses of its images, for any batch size."""

    NOTHING_LEARNED = [*(word for group in ("nnmf", "cnn-top", "batchnorm")
                         for word in (f"--lr-{group}", 0)),
                       "--lr-limit", 0, "--no-shuffle", "--augment", "none", "--no-population"]

    BATCHES = (10, 50) if program.is_sanitized() else (1, 10, 50, 60, 100)

    @staticmethod
    def of_images(loss, probabilities, labels):
        p, right = probabilities.astype(float), np.arange(10) == labels[:, None]
        if loss == "cross-entropy":
            return np.log(np.exp(p).sum(axis=1)) - p[right]
        return (0.5 * ((p - right) ** 2).mean(axis=1) - np.log(p[right]) / 10) / 1.5

    def check(self, loss, batch):
        """60 images, with weights that keep their initial values."""
        name, options = f"{loss}-{batch}", [*SMALL, "--loss", loss, "--batch-size", batch]
        data, run, log = program.mnist_folder(), self.folder / name, self.folder / f"{name}.csv"
        out = self.succeed("--data", data, *options, "--epochs", 1, *self.NOTHING_LEARNED,
                           "--log-steps", log, "--log-format", "json", "--out", run).out
        saved = self.folder / f"{name}.npy"
        self.succeed("eval", "--data", data, *options, "--split", "train", "--weights",
                     run / "last.safetensors", "--probabilities", saved)
        images = self.of_images(loss, np.load(saved), make_fixtures.labels(0, 60))
        printed = [json.loads(line).get("train_loss") for line in out.splitlines()][1]
        header, row = program.metrics_rows(run)
        kept = float(row[header.index("train_loss")])
        self.assertAlmostEqual(printed, images.mean(), delta=1e-6, msg=name)
        self.assertAlmostEqual(kept, printed, delta=1e-9)

        # As published, a step's row and the schedules use the loss of the batch.
        batches = [images[i : i + batch] for i in range(0, 60, batch)]
        published = [part.mean() if loss == "cross-entropy" else part.sum() for part in batches]
        steps = [float(line.split(",")[1]) for line in log.read_text().splitlines()[1:]]
        np.testing.assert_allclose(steps, published, rtol=1e-5)
        best = float(program.read_checkpoint(run / "last.safetensors")[1]["schedule_best.nnmf"])
        if 60 % batch == 0:
            self.assertAlmostEqual(best / sum(published), 1.0, delta=1e-5)
        return printed

    def test_cross_entropy(self):
        for batch in self.BATCHES:
            with self.subTest(batch=batch):
                self.assertAlmostEqual(self.check("cross-entropy", batch), np.log(10), delta=0.05)

    def test_sbs(self):
        for batch in self.BATCHES:
            with self.subTest(batch=batch):
                self.check("sbs", batch)

    def test_printed(self):
        out = self.succeed("--data", program.mnist_folder(), *SMALL, "--loss", "cross-entropy",
                           "--epochs", 1, "--out", self.folder / "run").out
        header, row = program.metrics_rows(self.folder / "run")
        printed = EPOCH.search(out)["loss"]
        self.assertEqual(printed, f"{float(row[header.index('train_loss')]):.5f}")
        self.assertAlmostEqual(float(printed), np.log(10), delta=0.2)

    def test_resumed(self):
        """Resumed in the middle of an epoch, before a smaller last batch."""
        options = ["--loss", "cross-entropy", "--train-range", "0:13"]
        whole, run = self.small("whole", *options), self.small("run", *options, "--max-steps", 2)
        self.resume(run)
        self.check_same_run(whole, run)


class Resume(RunTest):
    def test_an_epoch_and_another(self):
        whole = self.small("whole", epochs=2)
        run = self.small("run", epochs=1)
        self.resume(run, epochs=2)
        self.check_same_run(whole, run)

    def test_epochs_of_the_run(self):
        """Without --epochs, training continues to the run's own number."""
        whole = self.small("whole", epochs=2)
        run = self.small("run", "--max-steps", 12, epochs=2)
        self.assertEqual(len(program.metrics_rows(run)), 2)
        self.resume(run)
        self.check_same_run(whole, run)

    def test_finished_run(self):
        run = self.small("run", epochs=1)
        before = {name: (run / name).read_bytes() for name in os.listdir(run)}
        self.resume(run)
        after = {name: (run / name).read_bytes() for name in os.listdir(run)}
        self.assertEqual(after, before)

    def test_middle_of_an_epoch(self):
        """Interrupted at each of several steps, with a smaller last batch."""
        options = ["--train-range", "1:54"]  # 10 steps of 5 and one of 3
        whole = self.small("whole", *options, epochs=2)
        for steps in (1, 10, 11, 12, 21):
            with self.subTest(steps=steps):
                run = self.small(f"run{steps}", *options, "--max-steps", steps, epochs=2)
                self.assertEqual(program.read_checkpoint(run / "last.safetensors")[1]["updates"],
                                 str(steps))
                self.resume(run)
                self.check_same_run(whole, run)

    def test_step_by_step(self):
        whole = self.small("whole", "--train-range", "0:13", epochs=2)
        run = self.small("run", "--train-range", "0:13", "--max-steps", 1, epochs=2)
        for steps in range(2, 7):
            self.resume(run, "--max-steps", steps)
        self.resume(run)
        self.check_same_run(whole, run)

    def test_max_steps_prints_how_to_resume(self):
        run = self.folder / "run"
        result = self.succeed("--data", program.mnist_folder(), *SMALL, "--epochs", 2, "--out",
                              run, "--max-steps", 3)
        self.assertIn(f"nnmf-train --resume {run}", result.out, result)

    def test_other_threads_and_data(self):
        whole = self.small("whole", epochs=2)
        run = self.small("run", "--threads", 1, "--max-steps", 5, epochs=2)
        moved = self.folder / "moved"
        shutil.copytree(program.mnist_folder(), moved)
        self.resume(run, "--threads", 3, "--data", moved, "--max-steps", 9)
        self.assertEqual(json.loads((run / "config.json").read_text())["options"]["data"],
                         str(moved))
        self.resume(run)
        self.check_same_run(whole, run)

    def test_other_batches_at_once(self):
        """The given number, else the stored one; if none is stored, the default, with a warning."""
        whole = self.small("whole", epochs=3)
        run = self.small("run", "--batches-at-once", 3, epochs=1)
        config = run / "config.json"
        self.assertEqual(json.loads(config.read_text())["options"]["batches-at-once"], 3)
        self.resume(run, "--batches-at-once", 4, epochs=2)
        text = config.read_text()
        self.assertIn('"batches-at-once": 4', text)
        options = json.loads(text)
        del options["options"]["batches-at-once"]
        config.write_text(json.dumps(options))
        result = program.execute("--resume", run, "--epochs", 3)
        self.assertEqual(result.status, 0, result)
        self.assertIn("batches-at-once 1", result.err)
        self.check_same_run(whole, run)

    def test_moved_run(self):
        whole = self.small("whole", epochs=2)
        run = self.small("run", epochs=1)
        run.rename(self.folder / "elsewhere")
        self.resume(self.folder / "elsewhere", epochs=2)
        self.check_same_run(whole, self.folder / "elsewhere")
        self.assertFalse(run.exists())

    def test_data_folder_of_the_environment(self):
        """A run whose data folder came from the environment finds it without the variable."""
        run = self.folder / "run"
        self.succeed(*SMALL, "--epochs", 1, "--out", run, env={"NNMF_DATA": program.mnist_folder()})
        self.resume(run, epochs=2)
        self.check_same_run(self.small("whole", epochs=2), run)


class Options(RunTest):
    """Each option that changes the network or training: one step, its file, a resumed step."""

    def check(self, *options, kind="mnist"):
        """Checks that two epochs equal one epoch and a resumed one -> the run's weights."""
        small = [*SMALL, "--dataset", kind, "--train-range", "0:15", *options]
        data = program.mnist_folder() if kind != "cifar10" else program.cifar10_folder()
        whole, run = self.folder / "whole", self.folder / "run"
        for folder in (whole, run):
            shutil.rmtree(folder, ignore_errors=True)
        self.succeed("--data", data, *small, "--test-range", "0:10", "--epochs", 2, "--out", whole)
        self.succeed("--data", data, *small, "--test-range", "0:10", "--epochs", 2, "--out", run,
                     "--max-steps", 4)
        self.resume(run)
        self.check_same_run(whole, run)
        arrays = make_fixtures.read_safetensors(run / "best.safetensors")
        self.assertTrue(all(np.isfinite(value).all() for value in arrays.values()))
        return arrays

    def test_positive_functions(self):
        for function in ("exp", "tanh"):
            with self.subTest(function):
                arrays = self.check("--positive-function", function, "--beta", "0.7")
                betas = {name: value for name, value in arrays.items() if name.endswith(".beta")}
                self.assertEqual(sorted(betas), ["12.beta", "18.beta", "26.beta", "32.beta", "38.beta",
                                                 "4.beta"])
                self.assertTrue(all(value.size == 1 for value in betas.values()))
                self.assertTrue(any(value.item() != np.float32(0.7) for value in betas.values()),
                                "beta is learned")
        arrays = self.check("--positive-function", "identity")
        self.assertNotIn("4.beta", arrays)

    def test_local_learning(self):
        self.check("--local-learning", "kl")
        self.check("--local-learning", "mse")

    def test_epsilon(self):
        self.check("--epsilon", "0.5")

    def test_losses(self):
        self.check("--loss", "cross-entropy")
        self.check("--loss-mse", "1", "--loss-kl", "0.25")

    def test_batch_of_one(self):
        self.check("--batch-size", 1, "--train-range", "0:3")

    def test_batch_larger_than_the_data(self):
        self.check("--batch-size", 50)

    def test_fashion_mnist(self):
        self.check(kind="fashion-mnist")

    def test_cifar10(self):
        self.check("--augment", "reference", kind="cifar10")

    def test_augmentations(self):
        runs = {}
        for kind in ("none", "reference", "image"):
            self.check("--augment", kind)
            runs[kind] = (self.folder / "run").rename(self.folder / kind)
        self.assertTrue(self.differ(runs["none"], runs["reference"]))
        self.assertTrue(self.differ(runs["reference"], runs["image"]))

    def test_gzip(self):
        """The same results from compressed files."""
        for kind in ("mnist", "fashion-mnist"):
            plain = self.small(f"plain-{kind}", "--dataset", kind)
            packed = self.small(f"packed-{kind}", "--dataset", kind,
                                data=program.mnist_folder(compress=True))
            self.check_same_run(plain, packed)

    def test_init(self):
        """Starts from these weights; from a checkpoint it takes only the weights."""
        run = self.small("run", epochs=1)
        one = self.small("one", "--init", run / "last.safetensors")
        two = self.small("two", "--init", run / "best.safetensors")
        self.check_same_run(one, two, ignored=["options"])
        self.assertEqual(len(program.metrics_rows(one)), 2)
        self.assertTrue(self.differ(one, run))


if __name__ == "__main__":
    program.main()
