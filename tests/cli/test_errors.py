#!/usr/bin/env python3
"""What goes wrong, and how it is told: the exit status, one line, nothing half done."""

import gzip
import os
import pathlib
import resource
import shutil
import signal
import struct
import unittest

import numpy as np

import program
from program import SMALL, WRAPPER, CopiedRunTest, ProgramTest, make_fixtures

FAILED, USAGE = 1, 2


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
        """Of a shell's variable that is not set: no run begins in the place of the one meant."""
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

    def test_options_without_meaning(self):
        data = ["--data", program.mnist_folder(), *SMALL, "--out", "run"]
        self.usage(*data, "--beta", 2, mention="--beta")
        self.usage(*data, "--positive-function", "identity", "--beta", 2, mention="--beta")
        for option in ("--loss-mse", "--loss-kl"):
            self.usage(*data, option, 0.5, "--loss", "cross-entropy", mention=option)
        self.assertEqual(os.listdir(self.folder), [])

    def test_too_long_path(self):
        self.usage("--data", "d" * 5000, mention="--data")

    def test_eval_and_trace_without_what_they_need(self):
        self.usage("eval", mention="--weights")
        self.usage("trace", "--weights", "w", mention="--out")
        self.usage("trace", "--out", "o", mention="--weights")

    def test_range_beyond_the_data(self):
        run = ["--data", program.mnist_folder(), *SMALL, "--epochs", 1, "--out", "run"]
        self.usage(*run, "--train-range", "0:61", mention=("0:61", "60"))
        self.usage(*run, "--train-range", "60:70", mention=("60:70", "60"))
        self.usage(*run, "--test-range", "0:31", mention=("0:31", "30"))
        self.usage(*run, "--test-range", "3:18446744073709551615", mention="18446744073709551615")
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


class StandardOutput(ProgramTest):
    """Closed or full."""

    def run_into(self, stdout, *arguments):
        if stdout == "closed":
            return program.execute(*arguments, prepare=lambda: os.close(1))
        with open("/dev/full", "wb") as full:
            return program.execute(*arguments, stdout=full)

    def test_texts(self):
        for stdout in ("closed", "full"):
            for arguments in (["info"], ["--help"], ["--version"]):
                with self.subTest(stdout=stdout, arguments=arguments):
                    result = self.run_into(stdout, *arguments)
                    self.check_failure(result, FAILED, "standard output")

    def test_training(self):
        """Trains to the end, and no file is mixed up with standard output."""
        options = ["--data", program.mnist_folder(), *SMALL, "--epochs", 2]
        self.succeed(*options, "--out", self.folder / "good")
        for stdout in ("closed", "full"):
            run = self.folder / stdout
            result = self.run_into(stdout, *options, "--out", run)
            self.check_failure(result, FAILED, "standard output")
            for name in ("last.safetensors", "best.safetensors"):
                self.check_same_checkpoint(run / name, self.folder / "good" / name)
            self.assertEqual(program.metrics_rows(run), program.metrics_rows(self.folder / "good"))

    def test_eval(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        for stdout in ("closed", "full"):
            result = self.run_into(stdout, "eval", *SMALL, "--data", program.mnist_folder(),
                                   "--weights", weights)
            self.check_failure(result, FAILED, "standard output")


class Device(ProgramTest):
    def test_cuda_where_there_is_none(self):
        result = program.execute("--device", "cuda", "--data", program.mnist_folder(), *SMALL,
                                 "--epochs", 1, "--train-range", "0:5", "--test-range", "0:5",
                                 "--out", self.folder / "run")
        if result.status == 0:
            self.skipTest("there is a CUDA device")
        self.check_failure(result, FAILED, "--device cuda")
        self.assertFalse((self.folder / "run").exists())

    @unittest.skipUnless(program.instruction_sets(), "the kernel does not tell what the CPU has")
    def test_instruction_set_that_is_not_there(self):
        have = program.instruction_sets()
        for name in {"avx512", "avx2", "portable"} - set(have):
            with self.subTest(name):
                self.fail_with(FAILED, "info", "--device", "cpu", "--cpu", name, out=None,
                               mention=[f"--cpu {name}", f"has: {', '.join(have)}"])
        self.fail_with(USAGE, "info", "--cpu", "sse2",
                       mention="is not one of auto, avx512, avx2, portable")

    def test_options_of_another_device(self):
        for device, options in (("cuda", (("cpu", "portable"), ("cpu", "auto"), ("threads", 2))),
                                ("cpu", (("precision", "tf32"), ("nnmf-kernel", "cublas")))):
            for name, value in options:
                with self.subTest(device=device, option=name):
                    self.fail_with(USAGE, "info", "--device", device, f"--{name}", value,
                                   mention=[f"--{name}", f"--device {device}"])
                    self.fail_with(USAGE, "--data", program.mnist_folder(), *SMALL, "--device", device,
                                   f"--{name}", value, "--out", self.folder / "run",
                                   mention=f"--device {device}")
                    self.assertFalse((self.folder / "run").exists())


class DataFiles(ProgramTest):
    """A bad file each, in a folder whose other files are good."""

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
        self.assertFalse(self.run_folder.exists(), "nothing may be left of the run")

    def test_missing_folder(self):
        for kind in ("cifar10", "mnist", "fashion-mnist"):
            self.train_fails(kind, self.data)
        result = self.fail_with(FAILED, "--epochs", 1, cwd=self.folder, mention="data/cifar10")
        self.assertEqual(os.listdir(self.folder), [], result)
        self.fail_with(FAILED, "--epochs", 1, cwd=self.folder, env={"NNMF_DATA": "elsewhere"},
                       mention="elsewhere")

    def test_file_in_place_of_the_folder(self):
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
        """In the file's place: a folder, a link to itself, a pipe, a device, no permission."""

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
            "a byte more": (images, whole + b"x"),
            "other magic number": (images, sized(60, 28, 28, magic=0x804, data=pixels)),
            "not bytes": (images, sized(60, 28, 28, magic=0xD03, data=pixels)),
            "little endian": (images, struct.pack("<4I", 0x803, 60, 28, 28) + pixels),
            "labels in place of images": (images, labels),
            "images in place of labels": (label, whole),
            "too few labels": (label, sized(59, magic=0x801, data=labels[8:67])),
            "too many labels": (label, sized(61, magic=0x801, data=labels[8:] + b"\0")),
            "no images": (images, sized(0, 28, 28)),
            "sizes that overflow": (images, sized(*[0xFFFFFFFF] * 3, data=pixels)),
            "sizes that overflow to what is there": (
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
            "bytes behind": whole + b"x",
            "a second member": whole + whole,
            "unknown method": whole[:2] + b"\x07" + whole[3:],
            "good gzip of a cut file": gzip.compress(plain[:-5]),
            "gzip of nothing": gzip.compress(b""),
            "unpacks to far too much": gzip.compress(bytes(1 << 26), 1),
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

    def test_bytes_behind(self):
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
        """One flipped bit somewhere in the header; if it is accepted, the weights are the same."""
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

    def test_misshapen_tensor(self):
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


class Output(ProgramTest):
    """Where a run's files cannot be written."""

    def setUp(self):
        super().setUp()
        self.options = ["--data", program.mnist_folder(), *SMALL, "--train-range", "0:20"]

    def snapshot(self, folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
                if p.is_file()}

    def test_a_run_is_there_already(self):
        run = self.folder / "run"
        self.succeed(*self.options, "--epochs", 1, "--out", run)
        before = self.snapshot(run)
        self.fail_with(FAILED, *self.options, "--epochs", 2, "--out", run,
                       mention=(run, "--resume"))
        self.assertEqual(self.snapshot(run), before)

    def test_below_a_file(self):
        (self.folder / "file").write_bytes(b"content")
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.folder / "file",
                       mention=self.folder / "file")
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out",
                       self.folder / "file" / "a" / "b", mention=self.folder / "file")
        self.assertEqual(self.snapshot(self.folder), {"file": b"content"})

    def test_missing_parents_are_made(self):
        run = self.folder / "a" / "b" / "c"
        self.succeed(*self.options, "--epochs", 1, "--out", f"{run}//")
        self.assertTrue((run / "last.safetensors").is_file())

    def test_unwritable_folder(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        self.folder.chmod(0o500)
        self.addCleanup(self.folder.chmod, 0o700)
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.folder / "run",
                       mention=self.folder / "run")

    def test_places_that_take_no_file(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        before = self.snapshot(self.folder)
        common = [*SMALL, "--weights", weights, "--data", program.mnist_folder()]
        for target in (self.folder, "/dev/full", "/dev/null", self.folder / "none" / "file",
                       weights / "file"):
            with self.subTest(target=target):
                self.fail_with(FAILED, "trace", *common, "--out", target, mention=str(target),
                               out=None)
                self.fail_with(FAILED, "eval", *common, "--probabilities", target,
                               mention=str(target), out=None)
                self.fail_with(FAILED, *self.options, "--epochs", 1, "--log-steps", target,
                               "--out", self.folder / f"run-{len(str(target))}",
                               mention=str(target), out=None)
                for run in self.folder.glob("run-*"):
                    shutil.rmtree(run)
        self.assertEqual(self.snapshot(self.folder), before)

    def check_full(self, ignore_signal):
        """A file size limit between best and last: the second epoch's last cannot be written."""
        run = self.folder / "run"
        self.succeed(*self.options, "--epochs", 1, "--out", run)
        old = (run / "last.safetensors").read_bytes()
        size = (run / "best.safetensors").stat().st_size
        self.assertGreater(len(old), 2 * size)

        def prepare():
            if ignore_signal:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size, 2 * size))

        self.fail_with(FAILED, "--resume", run, "--epochs", 2, prepare=prepare, out=None,
                       mention=run / "last.safetensors")
        self.assertTrue((run / "last.safetensors").read_bytes() == old, "last is not the old one")
        self.check_no_leftovers(run)
        self.succeed("--resume", run, "--epochs", 2)
        self.succeed(*self.options, "--epochs", 2, "--out", self.folder / "whole")
        self.check_same_checkpoint(run / "last.safetensors",
                                   self.folder / "whole" / "last.safetensors")
        self.assertEqual(program.metrics_rows(run), program.metrics_rows(self.folder / "whole"))

    def test_full_output(self):
        self.check_full(ignore_signal=True)

    def test_file_size_limit_with_its_signal(self):
        self.check_full(ignore_signal=False)

    def test_full_output_of_trace_and_eval(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        common = [*SMALL, "--weights", weights, "--data", program.mnist_folder()]

        def prepare():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        for command, option in (("trace", "--out"), ("eval", "--probabilities")):
            self.fail_with(FAILED, command, *common, option, self.folder / "file", out=None,
                           prepare=prepare, mention=self.folder / "file")
        self.assertEqual(os.listdir(self.folder), ["w.safetensors"])


@unittest.skipIf(WRAPPER or program.is_sanitized(), "the memory checker needs address space")
class Memory(ProgramTest):
    """Out of memory anywhere is told; what is left is nothing, or a run to go on with."""

    def check_limits(self, kind, data, options, least, most, step):
        statuses = set()
        for megabytes in range(least, most, step):
            run = self.folder / f"run-{megabytes}"
            with self.subTest(megabytes=megabytes):
                result = program.execute(
                    "--dataset", kind, "--data", data, *options, "--out", run,
                    prepare=program.limit(resource.RLIMIT_AS, megabytes << 20))
                if result.status == 127 and "shared librar" in result.err:
                    continue  # not even loaded
                statuses.add(result.status)
                if result.status == 0:
                    self.check_success(result)
                    continue
                self.check_failure(result, FAILED)
                self.assertRegex(result.err, "memory|thread", result)
                self.check_no_leftovers(self.folder)
                if run.exists():
                    self.succeed("--resume", run)
        return statuses

    def test_small_limits(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1, "--train-range", "0:5",
                   "--test-range", "0:5", "--threads", 2]
        statuses = self.check_limits("mnist", program.mnist_folder(), options, 6, 40, 2)
        self.assertEqual(statuses, {0, 1})

    def test_many_threads(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1, "--train-range", "0:5",
                   "--test-range", "0:5", "--threads", 16]
        self.check_limits("mnist", program.mnist_folder(), options, 20, 200, 60)

    def test_data_larger_than_memory(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1, "--train-range", "0:5",
                   "--test-range", "0:5"]
        statuses = self.check_limits("cifar10", program.cifar10_folder(), options, 50, 350, 100)
        self.assertIn(1, statuses)

    def test_unpacking(self):
        options = ["--iterations", "2", "--batch-size", "5", "--epochs", 1]
        data = program.write_idx_folder(self.folder / "data", 60, 30)
        (data / "train-images-idx3-ubyte").unlink()
        (data / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1 << 28), 1))
        self.check_limits("mnist", data, options, 20, 220, 100)

    def test_huge_batch(self):
        self.fail_with(FAILED, *SMALL, "--data", program.mnist_folder(), "--batch-size", 10000,
                       "--epochs", 1, "--out", self.folder / "run", mention="memory",
                       prepare=program.limit(resource.RLIMIT_AS, 1 << 29))
        self.assertFalse((self.folder / "run").exists())


class NotFinite(ProgramTest):
    """Training that leaves the numbers a float holds."""

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.weights = self.folder / "w.safetensors"
        self.arrays = make_fixtures.weights("mnist")
        self.common = ["--data", program.mnist_folder(), *SMALL]

    def write_huge(self, *names):
        huge = {name: np.full_like(self.arrays[name], 3e38) for name in names}
        make_fixtures.write_safetensors(self.weights, self.arrays | huge, {})

    def check_last(self):
        """What is there can be tested and gone on from."""
        last = self.run_folder / "last.safetensors"
        arrays, _ = program.read_checkpoint(last)
        self.assertTrue(all(np.isfinite(value).all() for value in arrays.values()))
        self.check_no_leftovers(self.run_folder)

    def test_loss(self):
        """The step is named, whether or not each step is looked at."""
        self.write_huge("39.weight", "39.bias")  # their sum is infinite
        for options in ([], ["--log-steps", self.folder / "steps.csv"]):
            result = self.fail_with(FAILED, *self.common, "--init", self.weights, "--epochs", 1,
                                    "--out", self.run_folder, *options, out=None,
                                    mention=("not finite", "epoch 0", "step 0"))
            self.assertIn("last.safetensors", result.err, result)
            self.check_last()
            shutil.rmtree(self.run_folder)

    def test_each_layer(self):
        """Whichever layer overflows, the loss shows it: no ReLU turns not-a-number into 0."""
        for names in (["5.weight"], ["7.weight"], ["6.weight", "6.bias"], ["13.weight"],
                      ["20.weight", "20.bias"], ["27.weight"], ["33.weight", "33.bias"]):
            with self.subTest(names):
                self.write_huge(*names)
                self.fail_with(FAILED, "eval", *self.common, "--weights", self.weights,
                               mention="not finite", out=None)
                shutil.rmtree(self.run_folder, ignore_errors=True)
                self.fail_with(FAILED, *self.common, "--init", self.weights, "--epochs", 1,
                               "--out", self.run_folder, out=None,
                               mention=("not finite", "epoch 0", "step 0"))
                self.check_last()

    def test_after_a_good_epoch(self):
        """Numbers that blow up later on: the last good state stays as it is."""
        self.succeed(*self.common, "--lr-cnn-top", "1e6", "--lr-nnmf", "1e6", "--lr-batchnorm",
                     "1e6", "--epochs", 1, "--out", self.run_folder)
        last = self.run_folder / "last.safetensors"
        arrays, metadata = program.read_checkpoint(last)
        for name in ("39.weight", "39.bias"):
            arrays[name] = np.full_like(arrays[name], 3e38)
        make_fixtures.write_safetensors(last, arrays, metadata)
        before = last.read_bytes()
        self.fail_with(FAILED, "--resume", self.run_folder, "--epochs", 3, out=None,
                       mention=("not finite", "epoch 1", "step 0", last))
        self.assertTrue(last.read_bytes() == before)
        self.succeed("--resume", self.run_folder, "--epochs", 1)


class Resume(CopiedRunTest):
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
        """Beside a checkpoint that does not say what it was trained with, as of version 0.1.0."""
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

    def test_best_in_place_of_last(self):
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

    def test_data_that_is_gone_or_smaller(self):
        self.refused(self.folder / "gone", options=["--data", self.folder / "gone"])
        small = program.write_idx_folder(self.folder / "small", 10, 30)
        self.fail_with(USAGE, "--resume", self.run_folder, "--epochs", 2, "--data", small,
                       mention="0:20")


if __name__ == "__main__":
    program.main()
