#!/usr/bin/env python3
"""Damaged weights files: exit status and a one-line message that names the file."""

import os
import struct

import numpy as np

import program
from program import SMALL, WRAPPER, ProgramTest, make_fixtures

FAILED = 1


class Weights(ProgramTest):
    """Bad weights files, given to train --init, eval and trace."""

    def setUp(self):
        super().setUp()
        self.path = self.folder / "w.safetensors"
        self.arrays = make_fixtures.weights("mnist")
        make_fixtures.write_safetensors(self.path, self.arrays, {})
        self.content = self.path.read_bytes()
        self.header, self.data = program.split_safetensors(self.content)
        self.header.pop("__metadata__", None)

    def refused(self, content, *mention, all_commands=False, options=()):
        self.path.write_bytes(content)
        common = [*SMALL, "--data", program.mnist_folder(), *options]
        before = sorted(os.listdir(self.folder))
        self.fail_with(FAILED, "eval", *common, "--weights", self.path,
                       mention=(self.path, *mention))
        if all_commands:
            self.fail_with(FAILED, "trace", *common, "--weights", self.path, "--out",
                           self.folder / "t", mention=(self.path, *mention))
            self.fail_with(FAILED, "train", *common, "--init", self.path, "--epochs", 1, "--out",
                           self.folder / "run", mention=(self.path, *mention))
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def arrays_refused(self, arrays, *mention, **how):
        make_fixtures.write_safetensors(self.path, arrays, {})
        self.refused(self.path.read_bytes(), *mention, **how)

    def header_refused(self, change, *mention):
        header = {name: dict(entry) for name, entry in self.header.items()}
        change(header)
        self.refused(program.join_safetensors(header, self.data), *mention)

    def test_good_file(self):
        self.succeed("eval", *SMALL, "--data", program.mnist_folder(), "--weights", self.path)

    def test_missing_file(self):
        for command in (["eval", "--weights"], ["trace", "--out", "t", "--weights"], ["--init"]):
            self.fail_with(FAILED, *command, self.folder / "none", *SMALL, "--data",
                           program.mnist_folder(), mention=self.folder / "none", cwd=self.folder)

    def test_unreadable(self):
        for target in (self.folder, "/dev/zero"):
            self.fail_with(FAILED, "eval", "--weights", target, *SMALL, "--data",
                           program.mnist_folder(), mention=str(target))

    def test_cut(self):
        size = len(self.content)
        for length in (0, 7, 8, 9, 100, size - len(self.data) - 1, size - len(self.data),
                       size // 2, size - 1):
            with self.subTest(length=length):
                self.refused(self.content[:length])
        self.refused(self.content[: size // 2], all_commands=True)

    def test_trailing_bytes(self):
        self.refused(self.content + bytes(4))

    def test_header_size(self):
        for size in (0, 1, 1 << 20, 1 << 32, 1 << 63, (1 << 64) - 1, (1 << 64) - 8):
            with self.subTest(size=size):
                self.refused(struct.pack("<Q", size) + self.content[8:])

    def test_header_text(self):
        for text in (b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"a":1}', b"{" * 100000,
                     b'{"a":' * 5000, b"\0" * 64, b'{"\xff\xfe": 1}', b"{'a': 1}"):
            with self.subTest(text=text[:20]):
                self.refused(program.join_safetensors(text, self.data))

    def test_header_bits(self):
        """A flipped bit in the header is rejected, or leaves the weights unchanged."""
        step = 997 if WRAPPER else 149
        end = len(self.content) - len(self.data)
        for bit in range(0, 8 * end, step):
            content = bytearray(self.content)
            content[bit // 8] ^= 1 << bit % 8
            self.path.write_bytes(content)
            result = program.execute("eval", *SMALL, "--data", program.mnist_folder(),
                                     "--weights", self.path)
            with self.subTest(bit=bit):
                # Outside the braces a space may become a tab.
                if result.status == 0:
                    header, data = program.split_safetensors(bytes(content))
                    self.assertEqual((header.keys() - {"__metadata__"}, data),
                                     (self.header.keys(), self.data), result)
                else:
                    self.check_failure(result, FAILED, self.path)

    def test_missing_tensor(self):
        for name in ("4.weight", "39.bias"):
            arrays = dict(self.arrays)
            del arrays[name]
            self.arrays_refused(arrays, name, all_commands=name == "4.weight")

    def test_extra_tensor(self):
        self.arrays_refused(self.arrays | {"99.weight": np.zeros(3, np.float32)}, "99.weight",
                            all_commands=True)
        self.arrays_refused(self.arrays | {"4.beta": np.zeros(1, np.float32)}, "4.beta")

    def test_tensor_of_another_shape(self):
        for name, shape in (("4.weight", (25, 32)), ("5.weight", (32, 1)), ("5.bias", (31,)),
                            ("6.weight", (32, 32)), ("38.weight", (960,)), ("39.bias", (0,)),
                            ("39.bias", ()), ("39.bias", (1,) * 7 + (10,))):
            value = np.zeros(shape, np.float32)
            self.arrays_refused(self.arrays | {name: value}, name)

    def test_rank_too_high(self):
        self.arrays_refused(self.arrays | {"39.bias": np.zeros((1,) * 9 + (10,), np.float32)})

    def test_not_finite(self):
        for bad in (np.nan, np.inf, -np.inf):
            for name in ("4.weight", "39.bias"):
                value = self.arrays[name].copy()
                value.ravel()[-1] = bad
                self.arrays_refused(self.arrays | {name: value}, name, all_commands=True)

    def test_other_types(self):
        def change(dtype):
            def apply(header):
                header["39.bias"]["dtype"] = dtype
            return apply

        for dtype in ("F64", "I32", "f32", "", None, 32, "BF16", "F" * 1000):
            with self.subTest(dtype=dtype):
                self.header_refused(change(dtype), "39.bias")

    def test_offsets(self):
        first = next(name for name in self.header if self.header[name]["data_offsets"][0] == 0)
        last = max(self.header, key=lambda name: self.header[name]["data_offsets"][1])
        begin, end = self.header[last]["data_offsets"]
        for name, offsets in (
            (last, [begin, end + 4]), (last, [begin, end - 4]), (last, [begin + 4, end + 4]),
            (last, [begin - 4, end]), (last, [end, begin]), (last, [-4, end]),
            (last, [begin, 1 << 62]), (last, [1 << 62, (1 << 62) + end - begin]),
            (last, [begin, 1 << 64]), (last, [(1 << 63) - 1, (1 << 63) - 1]), (last, [begin]),
            (last, [begin, end, end]), (last, [float(begin), float(end)]), (last, "0"),
            (last, None), (first, [4, self.header[first]["data_offsets"][1] + 4]),
            (last, self.header[first]["data_offsets"]),
        ):
            with self.subTest(name=name, offsets=offsets):
                self.header_refused(lambda h: h[name].update(data_offsets=offsets))

    def test_shapes(self):
        for shape in ([1 << 32, 1 << 32], [1 << 62], [1 << 61, 8], [(1 << 63) - 1] * 8, [-10],
                      [10.0], ["10"], [None], 10, None, {}, [1 << 64], [0, 1 << 62, 1 << 62]):
            with self.subTest(shape=shape):
                self.header_refused(lambda h: h["39.bias"].update(shape=shape))

    def test_fields(self):
        self.header_refused(lambda h: h["39.bias"].pop("dtype"))
        self.header_refused(lambda h: h["39.bias"].pop("shape"))
        self.header_refused(lambda h: h["39.bias"].pop("data_offsets"))
        self.header_refused(lambda h: h["39.bias"].update(more=1))
        self.header_refused(lambda h: h.update({"39.bias": 3}))
        self.header_refused(lambda h: h.update(__metadata__=3))
        self.header_refused(lambda h: h.update(__metadata__={"a": 3}))
        self.header_refused(lambda h: h.update({"a\nb\x1b[31m": 3}))

    def test_duplicate_tensor(self):
        text = self.content[8 : len(self.content) - len(self.data)].strip()
        entry = text[text.index(b'"39.bias"') :]
        entry = entry[: entry.index(b"}") + 1]
        self.refused(program.join_safetensors(text[:-1] + b"," + entry + b"}", self.data))

    def test_other_data_set(self):
        make_fixtures.write_safetensors(self.path, make_fixtures.weights("cifar10"), {})
        self.refused(self.path.read_bytes(), "4.weight", all_commands=True)

    def test_other_positive_function(self):
        self.refused(self.content, "4.beta", options=["--positive-function", "exp"],
                     all_commands=True)


if __name__ == "__main__":
    program.main()
