"""scripts/convert-weights: round trips bit for bit, and invalid input.

Skipped without PyTorch and the package safetensors. Also tests the published weights if
$NNMF_REFERENCE is set.
"""

import collections
import os
import pathlib
import subprocess
import sys
import unittest

import numpy as np
import program
from in_process import Script
from program import make_fixtures

try:
    import torch
    import safetensors.torch
except ModuleNotFoundError as missing:
    print(f"skipped: {missing.name} is not installed")
    sys.exit(77)

SCRIPT = Script("convert-weights")
READS_MODULES = hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint")  # PyTorch 2.6
PUBLISHED = pathlib.Path(os.environ.get("NNMF_REFERENCE", "/nowhere")) / "model_8525.safetensors"


class NNMF2d(torch.nn.Module):
    """Like the published class, to be saved as a whole module."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)
        self.iterations = 20


class Strange(torch.nn.Module):
    pass


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def as_module(tensors):
    """A whole module, of torch.nn's classes and NNMF2d, with these weights."""
    network = torch.nn.Sequential()
    for index in range(42):
        weight, bias = (tensors.get(f"{index}.{part}") for part in ("weight", "bias"))
        if weight is None:
            network.append(torch.nn.ReLU())
        elif weight.ndim == 2:
            network.append(NNMF2d(weight))
        elif weight.ndim == 4:
            network.append(torch.nn.Conv2d(weight.shape[1], weight.shape[0], 1))
        else:
            network.append(torch.nn.BatchNorm2d(len(weight), track_running_stats=False))
        if bias is not None:
            network[index].load_state_dict({"weight": weight, "bias": bias})
    return network


class Convert(program.ProgramTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.tensors = {name: torch.from_numpy(value.copy())
                        for name, value in make_fixtures.weights("cifar10").items()}

    def convert(self, source, target):
        error, out = SCRIPT.run(source, target)
        self.assertIsNone(error)
        return out

    def refuse(self, source, target, *mention):
        before = sorted(os.listdir(self.folder))
        error, out = SCRIPT.run(source, target)
        self.assertRegex(error, r"\Aconvert-weights: [^:]+: [^:]+: [^\n]+\Z")
        self.assertEqual(out, "")
        for text in mention:
            self.assertIn(text, error)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def save(self, tensors, name="in.pt"):
        torch.save(tensors, self.folder / name)
        return name

    def write(self, tensors, name="in.safetensors", metadata=None):
        arrays = {key: np.ascontiguousarray(value.numpy()) for key, value in tensors.items()}
        make_fixtures.write_safetensors(self.folder / name, arrays, metadata or {})
        return name

    def check_same(self, one, other):
        self.assertEqual(sorted(one), sorted(other))
        for name, tensor in one.items():
            self.assertEqual(tensor.dtype, other[name].dtype)
            self.assertEqual(tensor.shape, other[name].shape)
            self.assertEqual(tensor.contiguous().numpy().tobytes(),
                             other[name].contiguous().numpy().tobytes(), name)

    def test_names(self):
        """File names that are not UTF-8, or that standard output cannot encode."""
        self.write(self.tensors)
        for name, encoding in ((os.fsdecode(b"caf\xe9"), "utf-8"), ("caf\xe9", "ascii")):
            with self.subTest(encoding=encoding):
                for source, target in (("in.safetensors", f"{name}.pt"),
                                       (f"{name}.pt", f"{name}.safetensors"),
                                       (f"{name}.safetensors", "back.pt")):
                    done = subprocess.run(
                        [sys.executable, SCRIPT.path, source, target], capture_output=True,
                        env={**os.environ, "PYTHONIOENCODING": encoding}, check=False)
                    self.assertEqual((done.returncode, done.stderr), (0, b""), done)
                self.check_same(self.tensors, torch.load("back.pt", weights_only=True))

    def there_and_back(self, tensors):
        self.convert(self.write(tensors), "there.pt")
        there = torch.load(self.folder / "there.pt", weights_only=True)
        self.check_same(tensors, there)
        self.convert("there.pt", "back.safetensors")
        self.check_same(tensors, safetensors.torch.load_file(self.folder / "back.safetensors"))
        return there

    def test_there_and_back(self):
        self.tensors["4.weight"][0, :3] = torch.tensor([-0.0, 1e-45, 3e38])
        there = self.there_and_back(self.tensors)
        as_module(self.tensors).load_state_dict(there)  # strict

    def test_as_a_program(self):
        command = [sys.executable, SCRIPT.path, self.write(self.tensors), "out.pt"]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, check=True)
        self.assertEqual(done.stdout, b"out.pt: the network nnmf for CIFAR-10, 26 tensors\n")
        command[2:] = ["none.pt", "x.safetensors"]
        done = subprocess.run(command, cwd=self.folder, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, rb"\Aconvert-weights: [^\n]*none.pt[^\n]*\n\Z")

    def test_variants(self):
        mnist = {name: torch.from_numpy(value.copy())
                 for name, value in make_fixtures.weights("mnist").items()}
        self.there_and_back(mnist)
        betas = {name.replace("weight", "beta"): torch.full((1,), 0.5)
                 for name, tensor in self.tensors.items() if tensor.ndim == 2}
        self.there_and_back(self.tensors | betas)

    def test_files_of_the_program(self):
        """Weights trained by the program, of both architectures; it reads the converted ones."""
        data = ["--data", program.mnist_folder(), "--dataset", "mnist", "--batch-size", 5]
        for number, options in enumerate((["--iterations", 2], ["--arch", "cnn"])):
            run = self.folder / f"run{number}"
            self.succeed(*data, *options, "--epochs", 1, "--quiet", "--out", run)
            best = run / "best.safetensors"
            printed = self.convert(str(best), "there.pt")
            self.assertIn(("nnmf", "cnn")[number] + " for MNIST", printed)
            self.convert("there.pt", "back.safetensors")
            self.check_same(safetensors.torch.load_file(best),
                            safetensors.torch.load_file("back.safetensors"))
            results = {self.succeed("eval", *data, *options, "--weights", weights).out
                       for weights in (best, "back.safetensors")}
            self.assertEqual(len(results), 1)
            printed = self.convert(str(run / "last.safetensors"), "last.pt")
            self.assertIn("left out: the optimisers' moments", printed)

    def test_population_statistics(self):
        statistics = {}
        for name, tensor in self.tensors.items():
            if name.endswith(".weight") and tensor.ndim == 1:
                for part in ("running_mean", "running_var"):
                    statistics[name.replace("weight", part)] = torch.rand(len(tensor))
        self.there_and_back(self.tensors | statistics)
        batches = {name.replace("running_mean", "num_batches_tracked"): torch.tensor(7)
                   for name in statistics if name.endswith("mean")}
        printed = self.convert(self.save(self.tensors | statistics | batches), "out.safetensors")
        self.assertIn("left out: num_batches_tracked (6 tensors)", printed)
        self.check_same(self.tensors | statistics,
                        safetensors.torch.load_file(self.folder / "out.safetensors"))
        del statistics["5.running_var"]
        self.refuse(self.save(self.tensors | statistics), "x.safetensors", "5.running_var")

    def test_state_dicts_as_they_come(self):
        for form in (collections.OrderedDict(self.tensors), {"state_dict": self.tensors},
                     {f"module.{name}": value for name, value in self.tensors.items()},
                     {f"_orig_mod.{name}": value for name, value in self.tensors.items()},
                     {name: torch.nn.Parameter(value) for name, value in self.tensors.items()}):
            self.convert(self.save(form, "in.pth"), "out.safetensors")
            self.check_same(self.tensors,
                            safetensors.torch.load_file(self.folder / "out.safetensors"))

    def test_strided(self):
        """Views and transposed tensors, which are not contiguous in row-major order."""
        tensors = dict(self.tensors)
        tensors["18.weight"] = tensors["18.weight"].T.contiguous().T
        self.convert(self.save(tensors), "out.safetensors")
        self.check_same(self.tensors, safetensors.torch.load_file(self.folder / "out.safetensors"))

    @unittest.skipIf(READS_MODULES, "this PyTorch reads whole modules")
    def test_whole_module_with_an_older_pytorch(self):
        self.refuse(self.save(as_module(self.tensors)), "out.safetensors", "PyTorch 2.6")

    @unittest.skipUnless(READS_MODULES, "PyTorch before 2.6 reads no whole modules safely")
    def test_whole_module(self):
        self.convert(self.save(as_module(self.tensors)), "out.safetensors")
        self.check_same(self.tensors, safetensors.torch.load_file(self.folder / "out.safetensors"))

    @unittest.skipUnless(READS_MODULES, "PyTorch before 2.6 reads no whole modules safely")
    def test_whole_module_of_strange_classes(self):
        network = as_module(self.tensors)
        network[0] = Strange()
        self.refuse(self.save(network), "out.safetensors", "Strange")

    def test_code_is_not_run(self):
        trap = self.folder / "made"
        mention = "mkdir" if READS_MODULES else "not readable safely"
        for saved in ({**self.tensors, "x": Evil(str(trap))}, Evil(str(trap))):
            self.refuse(self.save(saved), "out.safetensors", mention)
        network = as_module(self.tensors)
        network[0].inner = Evil(str(trap))
        self.refuse(self.save(network), "out.safetensors", mention)
        self.assertFalse(trap.exists())

    def test_moments_are_left_out(self):
        moments = {f"optimiser.{kind}.{name}": value for name, value in self.tensors.items()
                   for kind in ("first", "second")}
        printed = self.convert(self.write(self.tensors | moments), "out.pt")
        self.assertIn("left out: the optimisers' moments (52 tensors)", printed)
        self.check_same(self.tensors, torch.load(self.folder / "out.pt", weights_only=True))

    def test_options_are_printed(self):
        """A state dict cannot store them."""
        options = '{"arch": "nnmf", "iterations": 3, "seed": "7"}'
        printed = self.convert(self.write(self.tensors, metadata={"options": options}), "out.pt")
        self.assertIn("does not store: arch nnmf, iterations 3\n", printed)
        for options in ("{", "[1]", "3"):
            self.refuse(self.write(self.tensors, metadata={"options": options}), "other.pt",
                        "bad options", "in.safetensors")

    def test_wrong_tensors(self):
        def check(change, *mention):
            tensors = dict(self.tensors)
            change(tensors)
            self.refuse(self.save(tensors), "out.safetensors", "in.pt", *mention)
            if all(value.dtype == torch.float32 for value in tensors.values()):
                self.refuse(self.write(tensors), "out.pt", "in.safetensors", *mention)
        check(lambda t: t.pop("18.weight"), "missing tensor", "18.weight")
        check(lambda t: t.update({"3.weight": torch.ones(3)}), "unknown tensor", "3.weight")
        check(lambda t: t.update({"6.weight": t["6.weight"][:, :, 0, 0].clone()}), "bad shape",
              "6.weight", "(32, 32, 1, 1)")
        check(lambda t: t.update({"4.weight": t["4.weight"].T.clone()}), "bad shape", "4.weight")
        check(lambda t: t.update({"4.weight": t["4.weight"].double()}), "bad type", "float64")
        check(lambda t: t["5.bias"].fill_(float("nan")), "bad number", "5.bias")
        check(lambda t: t.clear(), "missing tensor")

    def test_wrong_files(self):
        (self.folder / "junk.pt").write_bytes(b"junk")
        (self.folder / "junk.safetensors").write_bytes(b"junk")
        (self.folder / "empty.pt").touch()
        self.refuse("junk.pt", "out.safetensors", "junk.pt")
        self.refuse("empty.pt", "out.safetensors", "empty.pt")
        self.refuse("junk.safetensors", "out.pt", "junk.safetensors")
        self.refuse("none.pt", "out.safetensors", "none.pt")
        self.refuse(self.save([1, 2]), "out.safetensors", "no weights")
        whole = (self.folder / self.save(self.tensors)).read_bytes()
        (self.folder / "cut.pt").write_bytes(whole[: len(whole) // 2])
        self.refuse("cut.pt", "out.safetensors", "cut.pt")
        self.refuse("in.pt", "none/out.safetensors", "none")
        self.refuse("in.pt", "out.pt", "nothing to convert")
        self.refuse("in.pt", "out.npz", "out.npz")

    @unittest.skipUnless(PUBLISHED.exists(), "NNMF_REFERENCE does not name the reference files")
    def test_published(self):
        self.there_and_back(safetensors.torch.load_file(PUBLISHED))


if __name__ == "__main__":
    program.main()
