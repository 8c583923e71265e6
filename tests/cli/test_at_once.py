#!/usr/bin/env python3
"""`--batches-at-once`: on the CPU, every command writes the same bytes for any number."""

import png
import program
from program import SMALL, ProgramTest, make_fixtures

USAGE = 2
NUMBERS = (2, 3, 4, 7, 64)


class AtOnce(ProgramTest):
    """60 training images and 30 test images, in batches of 4 or 7: the last is smaller."""

    @classmethod
    def setUpClass(cls):
        cls.weights = program.temporary_folder() / "w.safetensors"
        make_fixtures.write_safetensors(cls.weights, make_fixtures.weights("mnist"), {})

    def use(self, *options):
        return [*SMALL, "--data", program.mnist_folder(), "--weights", self.weights, "--batch-size",
                4, *options]

    def check(self, *command, file=None):
        """Every number gives the same output, and the same file if the command writes one."""
        def run(*options):
            printed = self.succeed(*command, *options).out
            return printed, file.read_bytes() if file else None

        expected = run()
        self.assertEqual(run("--batches-at-once", 1), expected)
        for number in NUMBERS:
            with self.subTest(number=number):
                self.assertEqual(run("--batches-at-once", number), expected)
        return expected[0]

    def measured(self):
        path = self.folder / "m.safetensors"
        self.succeed("statistics", *self.use("--out", path))
        return path

    def test_eval(self):
        table = self.folder / "p.npy"
        for options in ((), ("--split", "train", "--batch-size", 7),
                        ("--weights", self.measured(), "--bn-statistics", "population")):
            with self.subTest(options=options):
                self.check("eval", *self.use(*options, "--probabilities", table), file=table)

    def test_statistics(self):
        out = self.folder / "m.safetensors"
        self.check("statistics", *self.use("--train-range", "1:60", "--out", out), file=out)

    def test_predict(self):
        """Three batches of 50; the last one is smaller."""
        paths = []
        for number, image in enumerate(make_fixtures.images("mnist", 0, 107)):
            paths.append(self.folder / f"{number}.png")
            paths[-1].write_bytes(png.encode(image.transpose(1, 2, 0), png.GREY))
        out = self.check("predict", *SMALL[:4], "--weights", self.measured(), *paths)
        self.assertEqual(len(out.splitlines()), len(paths))

    def test_robustness(self):
        out = self.folder / "r.csv"
        for kind, level in (("gaussian-noise", 0.3), ("gradient-sign", 0.02)):
            with self.subTest(kind=kind):
                self.check("robustness", *self.use("--kind", kind, "--levels", level,
                                                   "--repetitions", 2, "--out", out), file=out)

    def test_confusion(self):
        out = self.folder / "c.png"
        self.check("show", *self.use("--confusion", "--out", out), file=out)

    def test_commands_without_a_test(self):
        for command in ("trace", "info", "bench"):
            self.fail_with(USAGE, command, "--batches-at-once", 2,
                           mention=["option of another command", "--batches-at-once"])


if __name__ == "__main__":
    program.main()
