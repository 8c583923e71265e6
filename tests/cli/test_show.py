#!/usr/bin/env python3
"""`show`: decodes every picture, compares it with the numbers that it shows, and reads its texts.

Environment, besides program.py's:
    NNMF_TRAIN_EMULATED  the program with the emulated back end; its tests are skipped if not set
"""

import os
import re
import unittest
from unittest import mock

import numpy as np

import png
import program
from program import SMALL, ProgramTest, make_fixtures

FAILED, USAGE = 1, 2
EMULATED = os.environ.get("NNMF_TRAIN_EMULATED")
# src/pictures/layout.h, and the scales of the sheets.
MARGIN, LINE, GAP = 16, 16, 8
CAPTION = MARGIN + LINE + GAP
SCALE = 3
PATCH = 12
CROP = 24  # of MNIST's 28
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
PAPER, INK, FAINT = (255, 255, 255), (32, 32, 32), (128, 128, 128)
TEXT_WIDTH, TEXT_HEIGHT = 8, 13
# The characters as rows of eight pixels, from the font's source.
GLYPHS = {bytes(int(row, 16) for row in rows.split(", ")): chr(ord(" ") + number)
          for number, rows in enumerate(re.findall(
              r"\{((?:0x[0-9a-f]{2}(?:, )?){13})\}",
              (program.TESTS.parent / "src" / "pictures" / "font.c").read_text()))}


def bytes_of(numbers, white=1.0):
    """Converts numbers to bytes as the sheets do: adds half a level, then truncates."""
    return np.clip(np.asarray(numbers) / white * 255 + 0.5, 0, 255).astype(np.uint8)


def read(pixels, x, y, length, colour=INK):
    """Reads text of one colour; None for unknown characters."""
    cells = (pixels[y:y + TEXT_HEIGHT, x:x + length * TEXT_WIDTH] == colour).all(axis=2)
    rows = np.packbits(cells, axis=1)
    return "".join(str(GLYPHS.get(rows[:, i].tobytes())) for i in range(rows.shape[1]))


class ShowTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.weights = self.folder / "weights.safetensors"
        make_fixtures.write_safetensors(self.weights, make_fixtures.weights("mnist"), {})

    def show(self, *options, name="sheet.png", **how):
        """-> the picture as height x width x 3, standard output."""
        path = self.folder / name
        result = self.succeed("show", *options, "--out", path, **how)
        pixels = png.decode(path.read_bytes())
        height, width, channels = pixels.shape
        self.assertEqual(channels, 3)
        self.assertIn(f"{path}: {width} x {height} pixels\n", result.out)
        self.check_frame(pixels)
        self.check_no_leftovers(self.folder)
        return pixels, result.out

    def check_frame(self, pixels):
        """Checks white margins and the caption."""
        for edge in (pixels[:MARGIN], pixels[-MARGIN:], pixels[:, :MARGIN], pixels[:, -MARGIN:]):
            self.assertTrue((edge == 255).all())
        self.assertTrue((pixels[MARGIN:MARGIN + LINE] < 64).any())

    def check_text(self, pixels, x, y, text, colour=INK):
        self.assertEqual(read(pixels, x, y, len(text), colour), text)

    def check_centred(self, pixels, x, y, width, text, colour=INK):
        """C division truncates towards 0."""
        self.check_text(pixels, x + int((width - len(text) * TEXT_WIDTH) / 2), y, text, colour)

    def check_caption(self, pixels, text):
        """Checks the text, and that nothing follows it."""
        self.check_text(pixels, MARGIN, MARGIN, text)
        behind = pixels[MARGIN:MARGIN + LINE, MARGIN + len(text) * TEXT_WIDTH:]
        self.assertTrue((behind == 255).all())

    def squares(self, pixels, x, y, count_x, count_y, scale):
        """-> the colours of single-coloured squares: count_y x count_x x 3."""
        part = pixels[y:y + count_y * scale, x:x + count_x * scale]
        part = part.reshape(count_y, scale, count_x, scale, 3)
        first = part[:, 0, :, 0]
        self.assertTrue((part == first[:, None, :, None]).all(), "not squares of one colour")
        return first

    def mnist(self, *options):
        return [*SMALL, "--data", program.mnist_folder(), *options]

    def use(self, *options):
        return [*self.mnist("--weights", self.weights), *options]


class Samples(ShowTest):
    def sheet_images(self, pixels, count, columns, crop=CROP):
        """-> the images of a sheet: count x crop x crop x 3."""
        step_x, step_y = crop * SCALE + GAP, LINE + crop * SCALE + LINE + GAP
        return np.stack([
            self.squares(pixels, MARGIN + i % columns * step_x,
                         CAPTION + LINE + i // columns * step_y, crop, crop, SCALE)
            for i in range(count)])

    def check_row_text(self, pixels, row, text):
        """Checks the text, and that nothing follows it."""
        y = CAPTION + row * (LINE + CROP * SCALE + LINE + GAP)
        self.assertEqual(read(pixels, MARGIN, y, 60, FAINT).rstrip(), text)

    def check_labels(self, pixels, names, columns, crop=CROP):
        for i, name in enumerate(names):
            x = MARGIN + i % columns * (crop * SCALE + GAP)
            y = CAPTION + LINE + i // columns * (LINE + crop * SCALE + LINE + GAP)
            self.check_centred(pixels, x, y + crop * SCALE + 2, crop * SCALE, str(name))

    def test_in_file_order(self):
        """Centre crops of grey images, five from each step."""
        pixels, _ = self.show(*self.mnist("--samples", 13, "--augment", "none", "--no-shuffle"))
        shown = self.sheet_images(pixels, 13, 5)
        images = make_fixtures.images("mnist", 0, 13)[:, 0, 2:-2, 2:-2]
        self.assertTrue((shown == images[..., None]).all())
        self.check_caption(pixels, "mnist: training images as the network sees them, the first of each "
                                   "step of epoch 0 (seed 21)")
        for row in range(3):
            self.check_row_text(pixels, row, f"step {row}: centre crop")
        self.check_labels(pixels, make_fixtures.labels(0, 13), 5)

    def test_in_colour(self):
        options = ["--data", program.cifar10_folder(), "--augment", "none", "--no-shuffle"]
        pixels, _ = self.show("--samples", 20, *options, "--train-range", "9995:10100")
        shown = self.sheet_images(pixels, 20, 10, crop=28)
        # Ten from each step of 50.
        numbers = [9995 + i % 10 + i // 10 * 50 for i in range(20)]
        images = np.concatenate([make_fixtures.images("cifar10", i, 1) for i in numbers])
        self.assertTrue((shown == images[:, :, 2:-2, 2:-2].transpose(0, 2, 3, 1)).all())
        self.check_labels(pixels, [CIFAR10[make_fixtures.labels(i, 1)[0]] for i in numbers], 10,
                          crop=28)
        # No larger than necessary.
        height, width = 2 * (LINE + 28 * SCALE + LINE + GAP) - GAP, 10 * (28 * SCALE + GAP) - GAP
        self.assertEqual(pixels.shape[:2], (CAPTION + height + MARGIN, width + 2 * MARGIN))

    def test_augmented_images_are_crops_of_training_images(self):
        pixels, _ = self.show(*self.mnist("--samples", 10))
        shown = self.sheet_images(pixels, 10, 5)[..., 0]
        images = make_fixtures.images("mnist", 0, 60)[:, 0]
        crops = {images[i, y:y + CROP, x:x + CROP].tobytes(): (i, y, x)
                 for i in range(60) for y in range(5) for x in range(5)}
        places = [crops[image.tobytes()] for image in shown]
        self.assertEqual(len({image for image, _, _ in places}), 10)
        for step in range(2):  # one draw per batch
            self.assertEqual(len({place[1:] for place in places[5 * step:5 * step + 5]}), 1)
            _, y, x = places[5 * step]
            self.check_row_text(pixels, step, f"step {step}: crop at row {y}, column {x}")

    def test_what_was_done_to_the_colours(self):
        """Factors, and for the hue a fraction of a turn, in the order of application."""
        pixels, _ = self.show("--data", program.cifar10_folder(), "--samples", 40)
        orders, flipped = set(), 0
        for row in range(4):
            y = CAPTION + row * (LINE + 28 * SCALE + LINE + GAP)
            text = read(pixels, MARGIN, y, 110, FAINT).rstrip()
            done = re.fullmatch(
                rf"step {row}: crop at row [0-4], column [0-4](, flipped)?((?:, [a-z]+ \S+){{4}})", text)
            self.assertTrue(done, text)
            changes = [change.split() for change in done[2][2:].split(", ")]
            orders.add(tuple(name for name, _ in changes))
            flipped += done[1] is not None
            found = dict(changes)
            for name, pattern, low, high in (("brightness", r"x(\d\.\d\d)", 0.5, 1.5),
                                               ("contrast", r"x(\d\.\d\d)", 0.9, 1.1),
                                               ("saturation", r"x(\d\.\d\d)", 0.9, 1.1),
                                               ("hue", r"([+-]\d\.\d\d)", -0.15, 0.15)):
                number = re.fullmatch(pattern, found.pop(name))
                self.assertTrue(number and low <= float(number[1]) <= high, text)
            self.assertFalse(found)
        self.assertGreater(len(orders), 1)
        self.assertIn(flipped, (1, 2, 3))
        pixels, _ = self.show("--data", program.cifar10_folder(), "--samples", 1, "--augment", "image")
        self.check_row_text(pixels, 0, "step 0: an augmentation for each image")

    def test_seed(self):
        one, again, other = (self.show(*self.mnist("--samples", 10, "--seed", seed))[0]
                             for seed in (3, 3, 4))
        self.assertTrue((one == again).all())
        self.assertFalse((self.sheet_images(one, 10, 5) == self.sheet_images(other, 10, 5)).all())

    def test_more_than_there_are(self):
        self.show(*self.mnist("--samples", 60))
        out = ["--out", self.folder / "none.png"]
        self.fail_with(USAGE, "show", *self.mnist("--samples", 61, *out), mention=("61", "60"))
        # Three batches; the last one has one image.
        some = [*self.mnist("--train-range", "0:11"), *out]
        self.fail_with(USAGE, "show", *some, "--samples", 12, mention=("12", "11"))
        self.fail_with(USAGE, "show", *some, "--samples", 1001, mention="--samples")
        self.assertFalse((self.folder / "none.png").exists())


class Weights(ShowTest):
    def test_first_layer(self):
        pixels, _ = self.show("--dataset", "mnist", "--weights", self.weights, "--layer", 4)
        w = np.abs(make_fixtures.weights("mnist")["4.weight"])
        for i, row in enumerate(w):
            x, y = i % 8 * (5 * PATCH + GAP), i // 8 * (5 * PATCH + GAP + LINE)
            patch = self.squares(pixels, MARGIN + x, CAPTION + LINE + y, 5, 5, PATCH)
            expected = bytes_of(row.reshape(5, 5, 1), row.max())
            self.assertLessEqual(np.abs(patch.astype(int) - expected).max(), 1)
            self.check_centred(pixels, MARGIN + x, CAPTION + LINE + y + 5 * PATCH + 2, 5 * PATCH, str(i),
                               FAINT)
        self.check_text(pixels, MARGIN, CAPTION, "Layer 4: 32 patches of 5 x 5 ")

    def test_first_layer_in_colour(self):
        weights = make_fixtures.weights("cifar10", shift=0.25)
        make_fixtures.write_safetensors(self.weights, weights, {})
        pixels, _ = self.show("--weights", self.weights, "--layer", 4)
        for i, row in enumerate(np.abs(weights["4.weight"])):
            x, y = i % 8 * (5 * PATCH + GAP), i // 8 * (5 * PATCH + GAP + LINE)
            patch = self.squares(pixels, MARGIN + x, CAPTION + LINE + y, 5, 5, PATCH)
            expected = bytes_of(row.reshape(3, 5, 5).transpose(1, 2, 0), row.max())
            self.assertLessEqual(np.abs(patch.astype(int) - expected).max(), 1)
        self.check_text(pixels, MARGIN, CAPTION, "Layer 4: 32 patches of 5 x 5 in colour")

    def check_table(self, pixels, w, kernel, scale):
        """w: outputs x channels x kernel x kernel."""
        step = kernel * scale + 1
        for output, row in enumerate(w):
            for channel, window in enumerate(row):
                x, y = MARGIN + 28 + channel * step, CAPTION + 2 * LINE + output * step
                shown = self.squares(pixels, x, y, kernel, kernel, scale)
                expected = bytes_of(window[..., None], row.max())
                self.assertLessEqual(np.abs(shown.astype(int) - expected).max(), 1)
        # Lines around all windows, and a number at every eighth.
        outputs, channels = w.shape[:2]
        left, top = MARGIN + 28, CAPTION + 2 * LINE
        right, bottom = left + channels * step, top + outputs * step
        for lines in (pixels[top - 1:bottom:step, left - 1:right],
                      pixels[top - 1:bottom, left - 1:right:step]):
            self.assertTrue((lines == (72, 72, 112)).all())
        for i in range(0, channels, 8):
            self.check_text(pixels, left + i * step, top - LINE + 1, str(i), FAINT)
        for i in range(0, outputs, 8):
            self.check_text(pixels, MARGIN, top + i * step - 1, f"{i:3}", FAINT)

    def test_tables(self):
        for layer, channels, kernel, scale in ((12, 32, 2, 4), (18, 32, 5, 3), (38, 96, 1, 8)):
            with self.subTest(layer=layer):
                pixels, _ = self.show("--dataset", "mnist", "--weights", self.weights, "--layer",
                                      layer)
                w = np.abs(make_fixtures.weights("mnist")[f"{layer}.weight"])
                self.check_table(pixels, w.reshape(-1, channels, kernel, kernel), kernel, scale)
                self.check_text(pixels, MARGIN, CAPTION,
                                f"Layer {layer}: {len(w)} outputs (down) x {channels} channels "
                                f"(across), windows of {kernel} x {kernel}")

    def test_positive_function(self):
        weights = make_fixtures.weights("mnist", beta=0.7)
        make_fixtures.write_safetensors(self.weights, weights, {})
        pixels, _ = self.show("--dataset", "mnist", "--weights", self.weights, "--layer", 38,
                              "--positive-function", "exp")
        w = np.exp((np.tanh(0.7) + 1) / 2 * weights["38.weight"])
        self.check_table(pixels, w.reshape(10, 96, 1, 1), 1, 8)

    def test_all_layers(self):
        pixels, _ = self.show("--dataset", "mnist", "--weights", self.weights)
        one, _ = self.show("--dataset", "mnist", "--weights", self.weights, "--layer", 4,
                           name="one.png")
        height, width = 4 * (5 * PATCH + GAP + LINE) - GAP, 8 * (5 * PATCH + GAP) - GAP
        first = np.s_[CAPTION:CAPTION + LINE + height, MARGIN:MARGIN + width]
        self.assertTrue((pixels[first] == one[first]).all())
        # Windows, each with the line after it: layers 12, 18, 26, 32, 38.
        tables = sum(outputs * channels * step**2 for outputs, channels, step in (
            (32, 32, 9), (64, 32, 16), (64, 64, 9), (96, 64, 10), (10, 96, 9)))
        drawn = (pixels != 255).any(axis=2).sum()
        self.assertGreater(drawn, 0.9 * tables + height * width / 2)

    def test_a_name_of_one_letter(self):
        self.succeed("show", "--dataset", "mnist", "--weights", self.weights, "--layer", 38, "--out",
                     "p", cwd=self.folder)
        png.decode((self.folder / "p").read_bytes())

    def test_no_such_layer(self):
        out = ["--out", self.folder / "none.png"]
        for layer in (5, 999):
            self.fail_with(USAGE, "show", "--dataset", "mnist", "--weights", self.weights,
                           "--layer", layer, *out, mention=("--layer", str(layer)))
        self.assertFalse((self.folder / "none.png").exists())


class Reconstructions(ShowTest):
    FIRST, COUNT = 7, 4

    def expected(self):
        """-> images and reconstructions from the h of `trace`: count x 24 x 24."""
        trace = self.folder / "trace.safetensors"
        self.succeed("trace", "--dataset", "mnist", "--iterations", 2, "--weights", self.weights,
                     "--data", program.mnist_folder(), "--batch-size", self.COUNT,
                     "--offset", self.FIRST, "--out", trace)
        h = make_fixtures.read_safetensors(trace)["4.output"].astype(float)
        w = np.abs(make_fixtures.weights("mnist")["4.weight"].astype(float))
        w /= w.sum(axis=1, keepdims=True)
        images = make_fixtures.images("mnist", make_fixtures.TEST_FIRST + self.FIRST, self.COUNT)
        images = images[:, 0, 2:-2, 2:-2] / 255
        sums, counts = np.zeros_like(images), np.zeros_like(images)
        for y in range(CROP - 4):
            for x in range(CROP - 4):
                window = np.s_[:, y:y + 5, x:x + 5]
                norm = images[window].sum(axis=(1, 2))
                r = (h[:, :, y, x] @ w).reshape(-1, 5, 5)
                sums[window] += r * norm[:, None, None]
                counts[window] += 1
        return images, sums / counts

    def test_numbers_and_pictures(self):
        images, others = self.expected()
        pixels, out = self.show(*self.use("--reconstruct", self.COUNT, "--offset", self.FIRST))
        errors = np.sqrt(((images - others) ** 2).mean(axis=(1, 2)))
        rows = re.findall(r"^ +(\d+)  (\S+) +(\d\.\d{5})$", out, re.MULTILINE)
        labels = make_fixtures.labels(make_fixtures.TEST_FIRST + self.FIRST, self.COUNT)
        self.assertEqual([(int(number), int(name)) for number, name, _ in rows],
                         [(self.FIRST + i, label) for i, label in enumerate(labels)])
        for (_, _, error), expected in zip(rows, errors):
            self.assertAlmostEqual(float(error), expected, delta=2e-5)
        mean = float(re.search(r"from 0 to 1: (\S+)", out)[1])
        self.assertAlmostEqual(mean, errors.mean(), delta=2e-5)
        for i in range(self.COUNT):
            x = MARGIN + i % 3 * (3 * CROP * SCALE + 4 + 24)
            y = CAPTION + LINE + i // 3 * (CROP * SCALE + LINE + GAP)
            difference = np.abs(images[i] - others[i]) * 4
            for part, numbers in enumerate((images[i], others[i], difference)):
                left = x + part * (CROP * SCALE + 2)
                shown = self.squares(pixels, left, y, CROP, CROP, SCALE)
                expected = bytes_of(numbers)[..., None].astype(int)
                self.assertLessEqual(np.abs(shown.astype(int) - expected).max(), 1)
            text = f"{self.FIRST + i} {labels[i]}, error {float(rows[i][2]):.4f}"
            shown = read(pixels, x, y + CROP * SCALE + 2, len(text))
            self.assertEqual(shown[:-1], text[:-1])  # rounded twice
        self.check_caption(pixels, "mnist: test images and their reconstructions from NNMF layer 4")
        self.check_text(pixels, MARGIN, MARGIN + LINE,
                        "Each: image, reconstruction, 4 x the difference. Error: root mean square, "
                        "pixels from 0 to 1.", FAINT)

    def test_beyond_the_data(self):
        self.show(*self.use("--reconstruct", 1, "--offset", 29))
        self.fail_with(USAGE, "show", *self.use("--reconstruct", 2, "--offset", 29), "--out",
                       self.folder / "none.png", mention=("29:31", "30"))

    def test_training_images(self):
        _, out = self.show(*self.use("--reconstruct", 3, "--split", "train"))
        names = re.findall(r"^ +\d+  (\S+) ", out, re.MULTILINE)
        self.assertEqual([int(name) for name in names], list(make_fixtures.labels(0, 3)))


class Confusion(ShowTest):
    CELL, HEIGHT = len("precision") * TEXT_WIDTH + 8, 40

    def counts(self, out):
        rows = re.findall(r"^(\d)((?: +\d+){10})$", out, re.MULTILINE)
        self.assertEqual([name for name, _ in rows], list("0123456789"))
        return np.array([row.split() for _, row in rows], int)

    def check(self, *options, images, labels):
        pixels, out = self.show(*self.use("--confusion", *options))
        probabilities = self.folder / "p.npy"
        tested = self.succeed("eval", *self.use("--probabilities", probabilities, *options))
        expected = np.zeros((10, 10), int)
        np.add.at(expected, (labels, np.load(probabilities).argmax(axis=1)), 1)
        counts = self.counts(out)
        self.assertTrue((counts == expected).all(), out)
        self.assertEqual(counts.sum(), images)
        self.assertIn(f"({np.trace(counts)} of {images})", tested.out)
        self.assertIn(tested.out.splitlines()[-1], out)
        left, top = MARGIN + self.CELL, CAPTION + 2 * LINE
        for i in range(10):
            for j in range(10):
                self.check_cell(pixels, left + j * self.CELL, top + i * self.HEIGHT, counts[i, j],
                                counts[i, j] / max(counts[i].sum(), 1), i == j)
        self.check_table(pixels, left, top, counts, self.CELL, list("0123456789"))
        correct = np.trace(counts)
        split = "training" if "train" in options else "test"
        self.check_caption(pixels, f"mnist, {images} {split} images: {correct} correct "
                                   f"({100 * correct / images:.2f}%)")
        return counts

    def check_cell(self, pixels, x, y, count, share, right):
        """Blue if true and predicted class are the same, else red, from 0 to a quarter."""
        depth = share if right else min(4 * share, 1)
        colour = [int(255 + depth * (part - 255) + 0.5)
                  for part in ((8, 48, 107) if right else (165, 15, 21))]
        cell = pixels[y:y + self.HEIGHT - 1, x:x + self.CELL - 1]
        for edge in (cell[0], cell[-1], cell[:, 0], cell[:, -1]):
            self.assertTrue((edge == colour).all())
        for line in (pixels[y - 1, x - 1:x + self.CELL], pixels[y - 1:y + self.HEIGHT, x - 1],
                     pixels[y + self.HEIGHT - 1, x - 1:x + self.CELL],
                     pixels[y - 1:y + self.HEIGHT, x + self.CELL - 1]):
            self.assertTrue((line == 199).all())
        self.check_centred(pixels, x, y + 13, self.CELL, str(count), PAPER if depth > 0.5 else INK)

    def check_table(self, pixels, left, top, counts, cell, names):
        """Checks the names of the classes, recall and precision."""
        for i, name in enumerate(names):
            self.check_text(pixels, left - 8 - len(name) * TEXT_WIDTH, top + i * self.HEIGHT + 13, name)
            self.check_centred(pixels, left + i * cell, top - LINE, cell, name)
            for axis, x, y in ((1, 10, i), (0, i, 10)):
                of = counts.sum(axis=axis)[i]
                self.check_centred(pixels, left + x * cell, top + y * self.HEIGHT + 13, cell,
                                   f"{100 * counts[i, i] / of:.1f}%" if of else "-", FAINT)
        self.check_centred(pixels, left + 10 * cell, top - LINE, cell, "recall", FAINT)
        self.check_text(pixels, left - 8 - len("precision") * TEXT_WIDTH,
                        top + 10 * self.HEIGHT + 13, "precision", FAINT)
        self.check_text(pixels, MARGIN, top - LINE, "true", FAINT)
        self.check_text(pixels, left, top - 2 * LINE, "predicted as          (blue: share of the class; "
                                                      "red: four times the share)", FAINT)

    def test_long_names(self):
        """Cells are as wide as the longest name."""
        names = ("T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot").split(",")
        pixels, out = self.show(*self.use("--dataset", "fashion-mnist", "--confusion"))
        rows = re.findall(rf"^ *({'|'.join(names)})((?: +\d+){{10}})$", out, re.MULTILINE)
        self.assertEqual([name for name, _ in rows], names, out)
        counts = np.array([row.split() for _, row in rows], int)
        self.assertEqual(counts.sum(axis=1).tolist(), np.bincount(
            make_fixtures.labels(make_fixtures.TEST_FIRST, 30), minlength=10).tolist())
        cell = len("T-shirt/top") * TEXT_WIDTH + 8
        self.check_table(pixels, MARGIN + cell, CAPTION + 2 * LINE, counts, cell, names)
        self.assertEqual(pixels.shape[:2], (CAPTION + 2 * LINE + 11 * self.HEIGHT + MARGIN,
                                            2 * MARGIN + 12 * cell))

    def test_test_images(self):
        labels = make_fixtures.labels(make_fixtures.TEST_FIRST, 30)
        self.check(images=30, labels=labels)

    def test_training_images_and_a_smaller_last_batch(self):
        labels = make_fixtures.labels(0, 60)
        self.check("--split", "train", "--batch-size=7", images=60, labels=labels)

    def test_weights_that_tell_classes_apart(self):
        """The last layer is changed to depend on features that differ, to predict several classes."""
        trace = self.folder / "trace.safetensors"
        self.succeed("trace", *self.use("--batch-size", 30, "--out", trace))
        h = make_fixtures.read_safetensors(trace)["38.output"][:, :, 0, 0]
        weights = make_fixtures.weights("mnist")
        weights["39.weight"] = np.diag(1 / h.std(axis=0)).reshape(10, 10, 1, 1)
        weights["39.bias"] = -h.mean(axis=0) / h.std(axis=0)
        make_fixtures.write_safetensors(self.weights, weights, {})
        counts = self.check("--batch-size=30", images=30,
                            labels=make_fixtures.labels(make_fixtures.TEST_FIRST, 30))
        self.assertGreater((counts.sum(axis=0) > 0).sum(), 1)
        self.assertGreater(np.trace(counts), 0)


class Wrong(ShowTest):
    def wrong(self, status, *options, mention, out=True):
        path = self.folder / "none.png"
        self.fail_with(status, "show", *options, *(["--out", path] if out else []),
                       mention=mention)
        self.assertFalse(path.exists())
        self.check_no_leftovers(self.folder)

    def test_what_is_needed(self):
        self.wrong(USAGE, *self.use(), mention="--out", out=False)
        for sheet in ([], ["--reconstruct", 3], ["--confusion"], ["--layer", 4]):
            self.wrong(USAGE, *self.mnist(*sheet), mention="--weights")

    def test_more_than_one_sheet(self):
        for sheets in (["--samples", 3, "--confusion"], ["--reconstruct", 3, "--samples", 3],
                       ["--confusion", "--layer", 4], ["--samples", 1, "--confusion"],
                       ["--reconstruct", 1, "--confusion"], ["--confusion", "--layer", 1]):
            self.wrong(USAGE, *self.use(*sheets), mention="at most one")

    def test_batches_at_once_of_no_test(self):
        for sheet in ([], ["--reconstruct", 3], ["--layer", 4]):
            self.wrong(USAGE, *self.use(*sheet, "--batches-at-once", 2), mention="--confusion")
        self.wrong(USAGE, *self.mnist("--samples", 3, "--batches-at-once", 2),
                   mention="--confusion")

    def test_samples_with_weights(self):
        self.wrong(USAGE, *self.use("--samples", 3), mention=("--samples", "--weights"))

    def test_stray_argument(self):
        self.wrong(USAGE, *self.use(), "confusion", mention="confusion")

    def test_no_nnmf_layer(self):
        run = self.folder / "run"
        cnn = ["--dataset", "mnist", "--arch", "cnn", "--batch-size", 5]
        data = ["--data", program.mnist_folder()]
        self.succeed("train", *cnn, *data, "--train-range", "0:5", "--test-range", "0:5",
                     "--epochs", 1, "--out", run)
        trained = [*cnn, "--weights", run / "last.safetensors"]
        self.wrong(USAGE, *trained, mention="no NNMF layer")
        self.wrong(USAGE, *trained, *data, "--reconstruct", 3, mention="no NNMF layer")
        _, out = self.show(*trained, *data, "--confusion")
        self.assertIn("of 30)", out)
        self.wrong(FAILED, *cnn, "--weights", self.weights, mention=self.weights)

    def test_an_unwritable_file(self):
        for path in (self.folder / "no" / "p.png", self.folder, "/dev/null"):
            self.fail_with(FAILED, "show", "--dataset", "mnist", "--weights", self.weights,
                           "--layer", 38, "--out", path, mention=path)
        self.check_no_leftovers(self.folder)

    def test_an_older_picture_stays(self):
        path = self.folder / "p.png"
        path.write_bytes(b"older")
        self.fail_with(FAILED, "show", *self.mnist("--weights", "nowhere", "--out", path),
                       mention="nowhere")
        self.assertEqual(path.read_bytes(), b"older")
        self.succeed("show", "--dataset", "mnist", "--weights", self.weights, "--layer", 38,
                     "--out", path)
        png.decode(path.read_bytes())


@unittest.skipUnless(EMULATED, "NNMF_TRAIN_EMULATED is not set")
class Emulated(ShowTest):
    def test_the_same_on_a_gpu(self):
        for number, sheet in enumerate((self.mnist("--samples", 13), self.use("--layer", 4),
                                        self.use("--reconstruct", 2),
                                        self.use("--confusion"))):
            with self.subTest(sheet=sheet[-2:]):
                host, printed = self.show(*sheet)
                with mock.patch.object(program, "PROGRAM", os.path.abspath(EMULATED)):
                    cuda, also = self.show(*sheet, "--device", "cuda", name="cuda.png")
                self.assertEqual(host.shape, cuda.shape)
                if number != 2:  # the last digits of the errors in its captions may differ
                    self.assertLessEqual(np.abs(host.astype(int) - cuda).max(), 1)
                self.assertEqual(printed.splitlines()[:-1], also.splitlines()[:-1])


if __name__ == "__main__":
    program.main()
