#!/usr/bin/env python3
"""A run's event files, read by TensorBoard itself; skipped if it is not installed.

Environment, besides program.py's:
    NNMF_TRAIN_EMULATED  the program with the emulated back end; its test is skipped if not set
"""

import csv
import io
import json
import logging
import os
import signal
import time
import unittest
from unittest import mock

import numpy as np

import program
from program import SMALL, ProgramTest, Running, make_fixtures

try:
    from PIL import Image  # TensorBoard needs it, too
    from tensorboard.backend.event_processing import event_accumulator, event_file_loader
except ImportError as missing:
    event_accumulator, reason = None, f"no TensorBoard: {missing}"
    print(f"skipped: {reason}: pip install tensorboard")
else:
    reason = ""
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it logs every restart

GROUPS = ("cnn_top", "nnmf", "batchnorm")
SCALARS = {"loss/train", "accuracy/train", "accuracy/test", "speed/images_per_second",
           "seconds/train", "seconds/test", *(f"learning_rate/{group}" for group in GROUPS)}
EMULATED = os.environ.get("NNMF_TRAIN_EMULATED")


def event_files(run):
    return sorted(run.glob("*tfevents*"))


def metrics(run):
    """-> the rows of metrics.csv by epoch."""
    with open(run / "metrics.csv", newline="", encoding="ascii") as file:
        return {int(row["epoch"]): {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file)}


def expected_scalars(row, train, test):
    """-> tag: value, tolerance for the digits that metrics.csv leaves out."""
    seconds = row["train_seconds"]
    return {
        "loss/train": (row["train_loss"], 1e-9),
        "accuracy/train": (row["train_correct"] / train, 0),
        "accuracy/test": (row["test_correct"] / test, 0),
        "seconds/train": (seconds, 5e-4),
        "seconds/test": (row["test_seconds"], 5e-4),
        # The effect of an error of 0.0005 s.
        "speed/images_per_second": (train / seconds, 1e-3 * train / seconds**2),
        **{f"learning_rate/{group}": (row[f"lr_{group}"], 0) for group in GROUPS},
    }


def load(run):
    """Reads all steps of the run with TensorBoard."""
    everything = {"scalars": 0, "images": 0, "tensors": 0}
    accumulator = event_accumulator.EventAccumulator(str(run), size_guidance=everything)
    return accumulator.Reload()


def pixels(event):
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))


def shows(sheet, patch, scale):
    """Whether the picture `patch` (height, width, channels) is on the sheet, enlarged."""
    wanted = np.broadcast_to(patch, (*patch.shape[:2], 3)).repeat(scale, 0).repeat(scale, 1)
    height, width = wanted.shape[:2]
    corners = np.argwhere((sheet == wanted[0, 0]).all(axis=2))
    return any((sheet[y : y + height, x : x + width].shape == wanted.shape and
                (sheet[y : y + height, x : x + width] == wanted).all()) for y, x in corners)


@unittest.skipUnless(event_accumulator, reason)
class TensorBoardTest(ProgramTest):
    """Small runs: 60 training images in steps of 5, 30 test images."""

    def small(self, name, *options, epochs=1, **how):
        """-> the run's folder."""
        run = self.folder / name
        self.succeed("train", "--data", program.mnist_folder(), *SMALL, "--epochs", epochs,
                     "--out", run, *options, **how)
        return run

    def check_scalars(self, run, epochs, train=60, test=30):
        """Checks that every scalar of metrics.csv occurs once, in the order of the epochs."""
        rows, accumulator = metrics(run), load(run)
        self.assertEqual(sorted(rows), list(range(epochs)))
        self.assertEqual(set(accumulator.Tags()["scalars"]), SCALARS)
        for tag in SCALARS:
            events = accumulator.Scalars(tag)
            self.assertEqual([event.step for event in events], list(range(epochs)), tag)
            for event in events:
                value, tolerance = expected_scalars(rows[event.step], train, test)[tag]
                self.assertAlmostEqual(event.value, value, delta=tolerance + 1e-6 * abs(value),
                                       msg=f"{tag} of epoch {event.step}")
        return accumulator

    def check_nothing_twice(self, run):
        """Checks all files together, whatever a reader would discard."""
        seen = set()
        for path in event_files(run):
            for event in event_file_loader.LegacyEventFileLoader(str(path)).Load():
                for value in event.summary.value:
                    self.assertNotIn((value.tag, event.step), seen, run)
                    seen.add((value.tag, event.step))


class Content(TensorBoardTest):
    def test_scalars(self):
        run = self.small("run", "--train-range", "1:54", "--lr-nnmf", "0.02", epochs=3)
        self.check_scalars(run, 3, train=53)
        self.assertEqual(len(event_files(run)), 1)

    def test_loss_is_that_of_an_image(self):
        """For any batch size: nearly equal probabilities have a cross-entropy of ln 10."""
        rates = [word for group in ("nnmf", "cnn-top", "batchnorm") for word in (f"--lr-{group}", 1e-6)]
        run = self.small("run", "--loss", "cross-entropy", "--batch-size", 50, *rates)
        (event,) = self.check_scalars(run, epochs=1).Scalars("loss/train")
        self.assertAlmostEqual(event.value, np.log(10), delta=0.05)

    def test_time(self):
        before = time.time()
        accumulator = load(self.small("run"))
        for event in accumulator.Scalars("loss/train"):
            self.assertTrue(before <= event.wall_time <= time.time())

    def test_options(self):
        run = self.small("a|b_c *d* <e>", "--seed", 7, "--no-shuffle")
        (event,) = load(run).Tensors("options")
        self.assertEqual(load(run).SummaryMetadata("options").plugin_data.plugin_name, "text")
        self.assertEqual(event.step, 0)
        (text,) = event.tensor_proto.string_val
        lines = text.decode().splitlines()
        self.assertEqual(lines[:2], ["| name | value |", "|---|---|"])
        table = {}
        for line in lines[2:]:
            cells = line.replace("\\|", "\0").split("|")
            self.assertEqual(len(cells), 4, line)
            name, value = (cell.strip().replace("\\", "").replace("\0", "|") for cell in cells[1:3])
            table[name] = value
        config = json.loads((run / "config.json").read_text())
        expected = {"version": config["version"], "device": config["device"],
                    **{f"data.{name}": value for name, value in config["data"].items()},
                    **{f"--{name}": value for name, value in config["options"].items()}}
        self.assertEqual(set(table), set(expected))
        for name, value in expected.items():
            if isinstance(value, bool):
                value = str(value).lower()
            elif isinstance(value, float):
                self.assertEqual(float(table[name]), value, name)
                continue
            self.assertEqual(table[name], str(value), name)

    def test_samples(self):
        """Without augmentation and shuffling, the centre crops of the first images in the files."""
        run = self.small("run", "--augment", "none", "--no-shuffle", "--train-range", "3:60")
        (event,) = load(run).Images("samples/train")
        sheet = pixels(event)
        self.assertEqual(event.step, 0)
        self.assertEqual((event.height, event.width), sheet.shape[:2])
        images = make_fixtures.images("mnist", 0, 60)[:, 0, 2:26, 2:26, None]
        for number in (3, 4, 7, 8, 42):  # five from each of eight batches
            self.assertTrue(shows(sheet, images[number], 3), number)
        self.assertFalse(shows(sheet, images[2], 3))
        self.assertFalse(shows(sheet, images[43], 3))

    def test_samples_in_colour_are_augmented(self):
        common = ["--data", program.cifar10_folder(), "--train-range", "0:4", "--batch-size", 4,
                  "--test-range", "0:4", "--iterations", 1, "--epochs", 1, "--no-shuffle"]
        images = make_fixtures.images("cifar10", 0, 4)[:, :, 2:30, 2:30].transpose(0, 2, 3, 1)
        for kind in ("none", "image"):
            run = self.folder / kind
            self.succeed(*common, "--augment", kind, "--out", run)
            (event,) = load(run).Images("samples/train")
            for number, image in enumerate(images):
                self.assertEqual(shows(pixels(event), image, 3), kind == "none", number)

    def test_weights(self):
        """The last epoch's weights are those in last.safetensors: non-negative and in colour."""
        run = self.folder / "run"
        self.succeed("--data", program.cifar10_folder(), "--train-range", "0:8", "--test-range",
                     "0:4", "--batch-size", 4, "--iterations", 1, "--epochs", 2, "--out", run)
        first, last = load(run).Images("weights/layer_4")
        self.assertEqual((first.step, last.step), (0, 1))
        self.assertNotEqual(first.encoded_image_string, last.encoded_image_string)
        weights = program.read_checkpoint(run / "last.safetensors")[0]["4.weight"]
        self.check_patches(pixels(last), np.abs(weights).reshape(32, 3, 5, 5))

    def test_weights_of_either_sign(self):
        """For the CNN baseline the minimum is black; here with one channel."""
        run = self.folder / "run"
        self.succeed("--data", program.mnist_folder(), "--dataset", "mnist", "--arch", "cnn",
                     "--batch-size", 5, "--epochs", 1, "--out", run)
        (event,) = load(run).Images("weights/layer_4")
        weights = program.read_checkpoint(run / "last.safetensors")[0]["4.weight"]
        weights = weights.reshape(32, 1, 5, 5)
        self.assertLess(weights.min(), 0)
        self.check_patches(pixels(event), weights - weights.min(axis=(1, 2, 3), keepdims=True))

    def check_patches(self, sheet, weights):
        """Checks the patch of each output, where white is its maximum weight. Bytes may differ by
        rounding."""
        size, scale = 60, 12
        for number, w in enumerate(weights.transpose(0, 2, 3, 1)):
            patch = np.floor(w / w.max() * 255 + 0.5).astype(int)
            corners = np.argwhere((abs(sheet.astype(int) - patch[0, 0]) <= 1).all(axis=2))
            squares = (sheet[y : y + size : scale, x : x + size : scale] for y, x in corners
                       if y + size <= sheet.shape[0] and x + size <= sheet.shape[1])
            self.assertTrue(any((abs(square.astype(int) - patch) <= 1).all()
                                for square in squares), f"patch {number}")

    def test_when_weights_are_shown(self):
        accumulator = load(self.small("run", "--train-range", "0:5", "--test-range", "0:5",
                                      epochs=21))
        self.assertEqual([event.step for event in accumulator.Images("weights/layer_4")],
                         [0, 1, 2, 5, 10, 20])


class Resume(TensorBoardTest):
    def test_a_run_that_goes_on(self):
        run = self.small("run", epochs=2)
        first = event_files(run)[0].read_bytes()
        self.succeed("--resume", run, "--epochs", 4)
        self.check_scalars(run, 4)
        self.check_nothing_twice(run)
        files = event_files(run)
        self.assertEqual(len(files), 2)
        self.assertEqual(files[0].read_bytes(), first)
        accumulator = load(run)
        self.assertEqual([event.step for event in accumulator.Tensors("options")], [0, 2])
        self.assertEqual([event.step for event in accumulator.Images("samples/train")], [0])

    def test_a_finished_run(self):
        run = self.small("run", epochs=1)
        before = {path: path.read_bytes() for path in event_files(run)}
        self.succeed("--resume", run)
        self.assertEqual({path: path.read_bytes() for path in event_files(run)}, before)

    def test_interrupted_again_and_again(self):
        """In the first and second epoch. A run without a finished epoch only leaves its last file."""
        run = self.small("run", "--max-steps", 1, epochs=2)
        for steps in (5, 11, 12, 13, 20):
            self.succeed("--resume", run, "--max-steps", steps)
            self.check_nothing_twice(run)
            self.assertLessEqual(len(event_files(run)), 3)
        self.succeed("--resume", run)
        self.check_scalars(run, 2)
        self.check_nothing_twice(run)
        self.assertEqual(len(event_files(run)), 3)
        self.assertEqual([event.step for event in load(run).Images("samples/train")], [0])

    def test_events_after_the_checkpoint(self):
        """Killed between writing the event file and the checkpoint, or in the middle of an event."""
        for rest in (b"", b"\x20", b"\0" * 40):
            with self.subTest(rest=rest):
                run = self.small(f"run{len(rest)}", epochs=1)
                kept = {name: (run / name).read_bytes()
                        for name in ("last.safetensors", "best.safetensors")}
                follower = load(run)
                self.succeed("--resume", run, "--epochs", 2)
                with open(event_files(run)[-1], "ab") as file:
                    file.write(rest)
                follower.Reload()
                self.assertEqual([e.step for e in follower.Scalars("loss/train")], [0, 1])
                for name, content in kept.items():
                    (run / name).write_bytes(content)
                self.succeed("--resume", run, "--epochs", 3)
                self.check_scalars(run, 3)
                self.check_nothing_twice(run)
                # A TensorBoard that was running all the time reads the same.
                follower.Reload()
                self.assertEqual([e.step for e in follower.Scalars("loss/train")], [0, 1, 2])
                self.assertEqual([e.value for e in follower.Scalars("seconds/train")],
                                 [e.value for e in load(run).Scalars("seconds/train")])

    def test_files_of_others(self):
        """Event files of other programs in the folder stay."""
        run = self.small("run", epochs=1)
        other = run / "events.out.tfevents.1000000000.elsewhere"
        other.write_bytes(b"something")
        self.succeed("--resume", run, "--epochs", 2)
        self.assertEqual(other.read_bytes(), b"something")


class Killed(TensorBoardTest):
    def test_in_the_second_epoch(self):
        data = program.mnist_folder(2000, 30)
        run = self.folder / "run"
        running = Running("--data", data, *SMALL, "--epochs", 2, "--out", run)
        running.wait_for(b"Epoch: 0")
        deadline = time.monotonic() + program.TIMEOUT
        while program.read_checkpoint(run / "last.safetensors")[1]["epoch"] == "0":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        time.sleep(0.1)
        running.signal(signal.SIGKILL)
        result = running.finish()
        self.assertEqual(result.status, -signal.SIGKILL, result)
        self.check_scalars(run, 1, train=2000)
        self.succeed("--resume", run)
        self.check_scalars(run, 2, train=2000)
        self.check_nothing_twice(run)


@unittest.skipUnless(EMULATED, "NNMF_TRAIN_EMULATED is not set")
class Emulated(TensorBoardTest):
    def test_the_same_on_a_gpu(self):
        """The samples to one level of a byte, the weights as far as two devices agree."""
        options = ["--train-range", "0:13", "--test-range", "0:7"]
        sheets = []
        for name, device in (("host", "cpu"), ("cuda", "cuda")):
            with mock.patch.object(program, "PROGRAM", os.path.abspath(EMULATED)):
                run = self.small(name, *options, "--device", device, epochs=2)
            accumulator = self.check_scalars(run, 2, train=13, test=7)
            (samples,) = accumulator.Images("samples/train")
            weights = accumulator.Images("weights/layer_4")
            self.assertEqual([event.step for event in weights], [0, 1])
            sheets.append([pixels(event).astype(int) for event in (samples, *weights)])
        for host, cuda in zip(*sheets):
            self.assertEqual(host.shape, cuda.shape)
            self.assertLessEqual(abs(host - cuda).max(), 2)


if __name__ == "__main__":
    program.main()
