#!/usr/bin/env python3
"""Missing, damaged or unreadable data files: exit status, one-line message, no run."""

import gzip
import os
import pathlib
import shutil
import struct

import program
from program import SMALL, ProgramTest, make_fixtures

FAILED = 1


class DataFiles(ProgramTest):
    """One bad file in a folder whose other files are good."""

    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.run_folder = self.folder / "run"

    def link_cifar10(self):
        self.data.mkdir()
        for path in program.cifar10_folder().iterdir():
            (self.data / path.name).symlink_to(path)

    def copy_mnist(self, compress=False):
        shutil.copytree(program.mnist_folder(compress=compress), self.data)

    def put(self, name, content):
        path = self.data / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def train_fails(self, kind, *mention):
        options = SMALL if kind == "mnist" else ["--iterations", "2", "--batch-size", "5"]
        self.fail_with(FAILED, "--dataset", kind, "--data", self.data, *options, "--epochs", 1,
                       "--train-range", "0:10", "--test-range", "0:10", "--out", self.run_folder,
                       mention=mention)
        self.assertFalse(self.run_folder.exists(), "the run's folder remains")

    def test_missing_folder(self):
        for kind in ("cifar10", "mnist", "fashion-mnist"):
            self.train_fails(kind, self.data)
        result = self.fail_with(FAILED, "--epochs", 1, cwd=self.folder, mention="data/cifar10")
        self.assertEqual(os.listdir(self.folder), [], result)
        self.fail_with(FAILED, "--epochs", 1, cwd=self.folder, env={"NNMF_DATA": "elsewhere"},
                       mention="elsewhere")

    def test_file_instead_of_the_folder(self):
        self.data.write_bytes(b"")
        for kind in ("cifar10", "mnist"):
            self.train_fails(kind, self.data)

    def test_empty_folder(self):
        self.data.mkdir()
        self.train_fails("cifar10", self.data, "data_batch_1.bin")
        self.train_fails("mnist", self.data, "train-images-idx3-ubyte")

    def test_newline_in_a_name(self):
        self.fail_with(FAILED, "--data", f"{self.folder}/a\nb", mention="b")

    def test_missing_cifar10_files(self):
        for name in ("data_batch_3.bin", "test_batch.bin"):
            self.link_cifar10()
            (self.data / name).unlink()
            self.train_fails("cifar10", name)
            shutil.rmtree(self.data)

    def test_cifar10_files_of_a_wrong_size(self):
        self.link_cifar10()
        whole = (program.cifar10_folder() / "data_batch_1.bin").read_bytes()
        for content in (b"", whole[:3073], whole[:-1], whole[: 3073 * 9999], whole + b"x",
                        whole + whole[:3073], whole + whole):
            self.put("data_batch_5.bin", content)
            self.train_fails("cifar10", "data_batch_5.bin", "30730000" if len(content) < 31e6
                             else str(len(content)))

    def test_cifar10_label_above_9(self):
        self.link_cifar10()
        content = bytearray((program.cifar10_folder() / "data_batch_2.bin").read_bytes())
        content[3073 * 123] = 10
        self.put("data_batch_2.bin", content)
        self.train_fails("cifar10", "data_batch_2.bin", "label", "123")

    def test_unreadable_files(self):
        """A folder, a link to itself, a pipe, a device or an unreadable file instead of the file."""

        def forbid(path):
            path.write_bytes(b"x")
            path.chmod(0)

        makers = {
            "folder": pathlib.Path.mkdir,
            "loop": lambda path: path.symlink_to(path),
            "pipe": os.mkfifo,
            "device": lambda path: path.symlink_to("/dev/zero"),
        }
        if os.geteuid() != 0:
            makers["permission"] = forbid
        for name, make in makers.items():
            with self.subTest(name):
                self.link_cifar10()
                (self.data / "data_batch_1.bin").unlink()
                make(self.data / "data_batch_1.bin")
                self.train_fails("cifar10", "data_batch_1.bin")
                shutil.rmtree(self.data)

    def test_bad_idx(self):
        whole = (program.mnist_folder() / "train-images-idx3-ubyte").read_bytes()
        labels = (program.mnist_folder() / "train-labels-idx1-ubyte").read_bytes()
        images, label = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"

        def sized(*sizes, magic=0x803, data=b""):
            return struct.pack(f">I{len(sizes)}I", magic, *sizes) + data

        pixels = whole[16:]
        cases = {
            "empty": (images, b""),
            "cut in the magic number": (images, whole[:3]),
            "cut in the sizes": (images, whole[:15]),
            "cut at the end of the sizes": (images, whole[:16]),
            "cut in the data": (images, whole[:-1]),
            "an extra byte": (images, whole + b"x"),
            "other magic number": (images, sized(60, 28, 28, magic=0x804, data=pixels)),
            "not bytes": (images, sized(60, 28, 28, magic=0xD03, data=pixels)),
            "little endian": (images, struct.pack("<4I", 0x803, 60, 28, 28) + pixels),
            "labels instead of images": (images, labels),
            "images instead of labels": (label, whole),
            "too few labels": (label, sized(59, magic=0x801, data=labels[8:67])),
            "too many labels": (label, sized(61, magic=0x801, data=labels[8:] + b"\0")),
            "no images": (images, sized(0, 28, 28)),
            "sizes that overflow": (images, sized(*[0xFFFFFFFF] * 3, data=pixels)),
            "sizes that overflow to the file's size": (
                images, sized(1 << 31, 1 << 31, 4, data=b"")),
            "huge count": (images, sized(0x7FFFFFFF, 28, 28, data=pixels)),
            "images too small for the network": (images, sized(60, 14, 56, data=pixels)),
            "label above 9": (label, labels[:30] + b"\x0a" + labels[31:]),
            "label 255": (label, labels[:-1] + b"\xff"),
        }
        for case, (name, content) in cases.items():
            with self.subTest(case):
                self.copy_mnist()
                self.put(name, content)
                self.train_fails("mnist", self.data)
                shutil.rmtree(self.data)

    def test_missing_idx_files(self):
        for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
            self.copy_mnist()
            (self.data / name).unlink()
            self.train_fails("mnist", name)
            shutil.rmtree(self.data)

    def test_bad_gzip(self):
        name = "train-images-idx3-ubyte.gz"
        whole = (program.mnist_folder(compress=True) / name).read_bytes()
        middle = len(whole) // 2
        plain = gzip.decompress(whole)
        flipped = bytearray(whole)
        flipped[middle] ^= 0x10
        cases = {
            "cut in the header": whole[:5],
            "cut in the data": whole[:middle],
            "cut in the checksum": whole[:-3],
            "bit flip": bytes(flipped),
            "wrong checksum": whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
            "wrong length": whole[:-1] + b"\x7f",
            "trailing bytes": whole + b"x",
            "a second member": whole + whole,
            "unknown method": whole[:2] + b"\x07" + whole[3:],
            "good gzip of a cut file": gzip.compress(plain[:-5]),
            "gzip of nothing": gzip.compress(b""),
            "expands to far too much": gzip.compress(bytes(1 << 26), 1),
        }
        for case, content in cases.items():
            with self.subTest(case):
                self.copy_mnist(compress=True)
                self.put(name, content)
                self.train_fails("mnist", name)
                shutil.rmtree(self.data)

    def test_bad_files_in_eval_and_trace(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        self.copy_mnist()
        path = self.data / "t10k-images-idx3-ubyte"
        path.write_bytes(path.read_bytes()[:-7])
        common = [*SMALL, "--weights", weights, "--data", self.data]
        self.fail_with(FAILED, "eval", *common, "--probabilities", self.folder / "p.npy",
                       mention=path)
        self.fail_with(FAILED, "trace", *common, "--out", self.folder / "t", mention=path)
        self.assertEqual(sorted(os.listdir(self.folder)), ["data", "w.safetensors"])


if __name__ == "__main__":
    program.main()
