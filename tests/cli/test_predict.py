#!/usr/bin/env python3
"""`predict`: the same results as `eval` on the same images with population statistics, for any type
of PNG; and invalid pictures.

Environment, besides program.py's:
    NNMF_TRAIN_EMULATED  the program with the emulated back end; its test is skipped if not set
"""

import os
import struct
import unittest
from unittest import mock

import numpy as np

import png
import program
from program import ProgramTest, make_fixtures

FAILED, USAGE = 1, 2
EMULATED = os.environ.get("NNMF_TRAIN_EMULATED")
FAST = ["--iterations", "2"]
NAMES = {"mnist": [str(i) for i in range(10)], "cifar10": make_fixtures.CIFAR10_NAMES}


_weights = {}


def data_folder(kind):
    return program.cifar10_folder() if kind == "cifar10" else program.mnist_folder(60, 60)


def weights_with_statistics(test, kind):
    """The formula's weights with their population statistics; the last layer is changed to depend on
    features that differ between images."""
    if kind not in _weights:
        folder = program.temporary_folder()
        plain, measured, trace = (folder / f"{name}.safetensors" for name in "pmt")
        tensors = make_fixtures.weights(kind)
        make_fixtures.write_safetensors(plain, tensors, {})
        options = ["--dataset", kind, "--data", data_folder(kind), *FAST, "--batch-size", 30]
        test.succeed("statistics", "--weights", plain, *options, "--train-range", "0:60", "--out",
                     measured)
        test.succeed("trace", "--weights", measured, "--bn-statistics", "population", *options,
                     "--out", trace)
        h = make_fixtures.read_safetensors(trace)["38.output"][..., 0, 0]
        tensors = dict(make_fixtures.read_safetensors(measured))
        tensors["39.weight"] = np.diag(1 / h.std(axis=0)).reshape(10, 10, 1, 1)
        tensors["39.bias"] = -h.mean(axis=0) / h.std(axis=0)
        _weights[kind] = folder / f"{kind}.safetensors"
        make_fixtures.write_safetensors(_weights[kind], tensors, {})
    return _weights[kind]


class PredictTest(ProgramTest):
    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def weights(self, kind):
        return weights_with_statistics(self, kind)

    def options(self, kind):
        return ["--dataset", kind, "--weights", self.weights(kind), *FAST]

    def predict(self, kind, *paths, device="auto"):
        """-> a list of [(class, percent)] for each path."""
        result = self.succeed("predict", *self.options(kind), "--device", device, *paths)
        lines = result.out.splitlines()
        self.assertEqual(len(lines), len(paths), result)
        answers = []
        for path, line in zip(paths, lines):
            self.assertTrue(line.startswith(f"{path}: "), line)
            best = [part.rsplit(" ", 1) for part in line.removeprefix(f"{path}: ").split(", ")]
            answers.append([(name, float(share.removesuffix("%"))) for name, share in best])
            self.assertEqual(len(best), 5, line)
        return answers

    def images(self, kind, first=0, count=1):
        """Test images: count x height x width x channels."""
        return make_fixtures.images(kind, make_fixtures.TEST_FIRST + first,
                                    count).transpose(0, 2, 3, 1)

    def write(self, kind, images, **how):
        colour = {"mnist": png.GREY, "cifar10": png.RGB}[kind]
        return [self.file(f"{kind}{i}.png", png.encode(image, colour, **how))
                for i, image in enumerate(images)]


class Answers(PredictTest):
    def test_as_eval(self):
        table = self.folder / "p.npy"
        self.succeed("eval", *self.options("mnist"), "--data", data_folder("mnist"),
                     "--bn-statistics", "population", "--probabilities", table)
        probabilities = np.load(table)
        answers = self.predict("mnist", *self.write("mnist", self.images("mnist", 0, 60)))
        for expected, answer in zip(probabilities, answers):
            shares = dict(zip(NAMES["mnist"], 100 * expected))
            for (name, share), best in zip(answer, sorted(shares.values(), reverse=True)):
                self.assertAlmostEqual(share, shares[name], delta=0.0051)
                self.assertAlmostEqual(share, best, delta=0.0051)
            self.assertEqual(len({name for name, _ in answer}), 5)
        self.assertGreater(len({answer[0][0] for answer in answers}), 2)

    def test_alone_and_among_others(self):
        """More than a batch of 50."""
        paths = self.write("mnist", self.images("mnist", 0, 53))
        together = self.predict("mnist", *paths)
        for number in (0, 7, 50, 52):
            self.assertEqual(self.predict("mnist", paths[number]), [together[number]])
        self.assertEqual(self.predict("mnist", *paths[::-1]), together[::-1])

    def test_every_kind_of_file(self):
        (image,) = self.images("cifar10", 3)
        (plain,) = self.predict("cifar10", *self.write("cifar10", [image]))
        opaque = np.concatenate([image, np.full((32, 32, 1), 255)], axis=2)
        kinds = {
            "interlaced": png.encode(image, interlace=True),
            "sixteen": png.encode(image.astype(int) * 257, depth=16),
            "alpha": png.encode(opaque, png.RGB_ALPHA),
            "all": png.encode(opaque * 257, png.RGB_ALPHA, depth=16, interlace=True),
        }
        for name, content in kinds.items():
            with self.subTest(name):
                self.assertEqual(self.predict("cifar10", self.file("k.png", content)), [plain])

    def test_palette(self):
        (image,) = self.images("cifar10", 4)
        few = image // 64 * 85  # four levels: 64 colours
        numbers = few[..., 0] // 85 * 16 + few[..., 1] // 85 * 4 + few[..., 2] // 85
        palette = [[i // 16 * 85, i // 4 % 4 * 85, i % 4 * 85] for i in range(64)]
        content = png.encode(numbers[..., None], png.PALETTE, palette=palette)
        self.assertEqual(self.predict("cifar10", self.file("p.png", content)),
                         self.predict("cifar10", *self.write("cifar10", [few])))

    def test_transparent_is_white(self):
        (image,) = self.images("cifar10", 5)
        hidden = np.concatenate([image, np.full((32, 32, 1), 255)], axis=2)
        hidden[:, 10:20, 3] = 0
        white = image.copy()
        white[:, 10:20] = 255
        self.assertEqual(
            self.predict("cifar10", self.file("t.png", png.encode(hidden, png.RGB_ALPHA))),
            self.predict("cifar10", *self.write("cifar10", [white])))

    def test_sizes(self):
        """Larger images, with margins on two sides, give the same result after scaling and cropping."""
        (image,) = self.images("mnist", 6)
        (plain,) = self.predict("mnist", *self.write("mnist", [image]))
        larger = image.repeat(3, axis=0).repeat(3, axis=1)
        wide = np.pad(larger, ((0, 0), (50, 50), (0, 0)), constant_values=255)
        high = np.pad(image, ((9, 9), (0, 0), (0, 0)))
        answers = self.predict("mnist", *self.write("mnist", [larger, wide, high]))
        self.assertEqual(answers, [plain] * 3)

    def test_colour_and_grey(self):
        (grey,) = self.images("mnist", 2)
        path = self.file("rgb.png", png.encode(grey.repeat(3, axis=2)))
        self.assertEqual(self.predict("mnist", path),
                         self.predict("mnist", *self.write("mnist", [grey])))
        (image,) = self.images("cifar10", 2)
        only = image[..., :1]
        path = self.file("grey.png", png.encode(only, png.GREY))
        self.assertEqual(self.predict("cifar10", path),
                         self.predict("cifar10", *self.write("cifar10", [only.repeat(3, axis=2)])))

    def test_smallest(self):
        one = np.full((1, 1, 3), 77)
        even = np.full((32, 32, 3), 77)
        self.assertEqual(*(self.predict("cifar10", *self.write("cifar10", [p]))
                           for p in (one, even)))
        self.predict("mnist", self.file("bit.png", png.encode([[[1]]], png.GREY, depth=1)))

    def test_a_trained_file_has_what_is_needed(self):
        run = self.folder / "run"
        self.succeed("train", *program.SMALL, "--data", program.mnist_folder(), "--train-range",
                     "0:10", "--test-range", "0:5", "--epochs", 1, "--out", run)
        (path,) = self.write("mnist", self.images("mnist"))
        result = self.succeed("predict", "--dataset", "mnist", *FAST, "--weights",
                              run / "last.safetensors", path)
        self.assertEqual(result.out.count("%"), 5, result)


class Wrong(PredictTest):
    def wrong(self, status, *arguments, mention, **how):
        self.fail_with(status, "predict", *arguments, mention=mention, **how)

    def test_usage(self):
        self.wrong(USAGE, *self.options("mnist"), mention="at least one PNG")
        self.wrong(USAGE, "a.png", mention="--weights")
        self.wrong(USAGE, *self.options("mnist"), "--data", "d", "a.png", mention="--data")

    def refused(self, content, *mention):
        """Prints nothing about the valid picture before it."""
        good, = self.write("mnist", self.images("mnist"))
        bad = self.file("bad.png", content)
        self.wrong(FAILED, *self.options("mnist"), good, bad, mention=(bad, *mention))

    def test_truncated(self):
        content = png.encode(self.images("mnist")[0], png.GREY)
        for size in (0, 7, 8, 20, 33, 60, len(content) - 20):
            with self.subTest(size=size):
                self.refused(content[:size], "PNG")

    def test_corrupt(self):
        content = bytearray(png.encode(self.images("mnist")[0], png.GREY))
        content[60] ^= 1
        self.refused(bytes(content), "corrupt")

    def test_no_png(self):
        self.refused(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(100), "not a PNG")
        self.refused(b"GIF89a" + bytes(100), "not a PNG")

    def test_bigger_than_memory(self):
        for width, height, why in ((2**31 - 1, 2**31 - 1, "PNG"), (2**31, 2**31, "PNG"),
                                   (2**32 - 1, 1, "PNG"), (0, 7, "PNG"),
                                   (999999, 999999, "999999 x 999999"),
                                   (50000, 2001, "at most 100000000")):
            with self.subTest(width=width, height=height):
                header = png.chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                self.refused(png.SIGNATURE + header + png.chunk(b"IDAT", bytes(10))
                             + png.chunk(b"IEND", b""), why)

    def test_no_file(self):
        self.wrong(FAILED, *self.options("mnist"), self.folder / "no.png",
                   mention=self.folder / "no.png")
        self.wrong(FAILED, *self.options("mnist"), self.folder, mention="folder")

    def test_without_statistics(self):
        path = self.folder / "plain.safetensors"
        make_fixtures.write_safetensors(path, make_fixtures.weights("mnist"), {})
        good, = self.write("mnist", self.images("mnist"))
        self.wrong(FAILED, "--dataset", "mnist", "--weights", path, good,
                   mention=(path, "nnmf-train statistics"))

    def test_weights_of_another_network(self):
        good, = self.write("mnist", self.images("mnist"))
        self.wrong(FAILED, "--dataset", "cifar10", "--weights", self.weights("mnist"), good,
                   mention=self.weights("mnist"))
        self.wrong(FAILED, "--dataset", "mnist", "--weights", self.weights("mnist"), "--arch",
                   "cnn", good, mention=self.weights("mnist"))


@unittest.skipUnless(EMULATED, "NNMF_TRAIN_EMULATED is not set")
class Emulated(PredictTest):
    def test_the_same_on_a_gpu(self):
        paths = self.write("mnist", self.images("mnist", 0, 3))
        host = self.predict("mnist", *paths)
        with mock.patch.object(program, "PROGRAM", os.path.abspath(EMULATED)):
            cuda = self.predict("mnist", *paths, device="cuda")
        for one, other in zip(host, cuda):
            self.assertEqual([name for name, _ in one], [name for name, _ in other])
            for (_, share), (_, also) in zip(one, other):
                self.assertAlmostEqual(share, also, delta=0.011)


if __name__ == "__main__":
    program.main()
