#!/usr/bin/env python3
"""Tests of scripts/gpu-check and scripts/kernel-report without a GPU: what they print when
something is missing, and what they write, with programs that print recorded output instead of the
real ones."""

import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(name, path):
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


sys.path.insert(0, str(ROOT / "bench"))
from gpu_check import curve, report, work as bounds  # noqa: E402

kernel_report = load("kernel_report", ROOT / "scripts" / "kernel-report")

BENCH = """\
NVIDIA Test GPU, CUDA, fused, fp32; cifar10, batches of 50; medians of 50 steps

training step                  ms    time   GFLOP/s   of BLAS
sample                      0.010    0.2%
NNMF                        3.000   60.0%    8000.0    900.0%
NNMF backward               1.000   20.0%    9000.0   1000.0%
batch norm backward         0.400    8.0%
total                       5.000  100.0%    7000.0    800.0%
10000.0 images/s

test batch                     ms    time   GFLOP/s   of BLAS
NNMF                        3.000   60.0%    8000.0    900.0%
total                       3.500  100.0%    7000.0    800.0%
14285.7 images/s
"""
CEILINGS = """\
{"name": "NVIDIA Test GPU", "capability": "9.0", "multiprocessors": 132, "clock_khz": 1980000, \
"shared_per_block": 232448, "memory_bytes": 1, "driver_cuda": "13.0", "runtime_cuda": "13.0", \
"fp32_flops": 5e13, "tf32_flops": 4e14, "copy_bytes": 2.5e12}
"""
CTEST = """\
Test project /somewhere
      Start 20: gpu.operations
1/4 Test #20: gpu.operations ...................   Passed    9.50 sec
2/4 Test #21: gpu.referencefused ...............***Skipped   0.71 sec
3/4 Test #22: gpu.repeated .....................***Failed    1.20 sec
4/4 Test #23: gpu.resumed ......................***Timeout 110.01 sec
"""
JUNIT = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="x"><testcase name="gpu.operations" status="run"><system-out>seed 1
largest errors: relative 2-norm, largest of an element
                        avx2               cuda               cuda-cublas        allowed
nnmf_forward            1.1e-06  1.0e-05   1.2e-06  1.1e-05   1.3e-06  1.2e-05   5.0e-06  2.0e-05
other line
</system-out></testcase><testcase name="gpu.agreement" status="run"><system-out>
test_200_steps (__main__.Agreement.test_200_steps) ... 200 steps, fused: first 5 losses off by 1e-7
tf32 trained: worst output 1.0e-03 (4.output)
</system-out></testcase></testsuite>
"""
CUDNN = """\
NVIDIA Test GPU, CUDA, fused, fp32, cuDNN 91200, batch of 50

| operation            | H x W x C    | differ by | ours (us) | cuDNN (us) | cuDNN/ours |
|---|---|---|---|---|---|
| batch norm           | 24 x 24 x  32 |  1.0e-07 |      20.0 |      30.0 |  1.50 |
"""
METRICS = """\
epoch,lr_cnn_top,lr_nnmf,lr_batchnorm,train_loss,train_correct,test_correct,train_seconds,\
test_seconds
0,0.001,0.01,0.001,0.157,17926,4431,2.500,0.300
1,0.001,0.01,0.001,0.131,23391,8522,1.250,0.200
"""


class Program(unittest.TestCase):
    """A folder with a build tree, and a PATH of programs that only print."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nnmf-gpu-check-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.bin, self.tree = self.folder / "bin", self.folder / "tree"
        self.results = self.folder / "results"
        for folder in (self.bin, self.tree / "tests" / "gpu"):
            folder.mkdir(parents=True)

    def script(self, path, text):
        path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
        path.chmod(0o755)

    def printing(self, path, text, status=0):
        self.script(path, f"cat <<'END'\n{text}END\nexit {status}\n")

    def make_all(self):
        self.printing(self.bin / "nvidia-smi", "NVIDIA Test GPU, 580.1, 81559 MiB, 1980 MHz, "
                                               "700.00 W, 9.0\n")
        self.printing(self.tree / "tests" / "gpu" / "with_gpu", "NVIDIA Test GPU, CUDA\n")
        self.printing(self.tree / "tests" / "gpu" / "ceilings", CEILINGS)
        self.printing(self.tree / "tests" / "gpu" / "test_cudnn", CUDNN)
        (self.folder / "junit").write_text(JUNIT)
        self.script(self.bin / "ctest", f"""\
            for last; do :; done
            cp '{self.folder}/junit' "$last"
            cat <<'END'\n""" + CTEST + "END\nexit 8\n")
        self.script(self.bin / "compute-sanitizer", """\
            case "$*" in
            *racecheck*cublas*) echo "========= RACECHECK SUMMARY: 1 hazard"; exit 99 ;;
            *racecheck*) echo "========= RACECHECK SUMMARY: 0 hazards displayed" ;;
            *) echo "========= ERROR SUMMARY: 0 errors" ;;
            esac
            """)
        self.script(self.tree / "nnmf-train", """\
            command=$1 out=""
            for word; do [ "$previous" = --out ] && out=$word; previous=$word; done
            case "$command $*" in
            *bench*cublas*tf32*) echo "nnmf-train: CUDA failed: NNMF: made up" >&2; exit 1 ;;
            bench*) cat <<'END'\n""" + BENCH + """END
            ;;
            *--batch-size\\ 500*) echo "Expected: about 5 s for 4 epochs (0.040 s a step)"
                sleep 60 ;;
            *) mkdir -p "$out"; cat >"$out/metrics.csv" <<'END'\n""" + METRICS + """END
            ;;
            esac
            """)
        self.script(self.folder / "python", "exit 1\n")

    def run_check(self, *arguments, patch=""):
        """Runs gpu_check.py. `patch`: Python code to run before it."""
        env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}",
               "NNMF_TORCH_PYTHON": str(self.folder / "python")}
        env.pop("NNMF_DATA", None)
        env.pop("NNMF_REFERENCE", None)
        return subprocess.run(
            [sys.executable, "-B", "-c", textwrap.dedent(f"""\
                import pathlib, runpy, sys
                sys.path.insert(0, {str(ROOT / 'bench')!r})
                from gpu_check import commands, parts
                parts.with_torch = lambda: None
                data = lambda check: setattr(check, "data", check.folder) or "ok"
                parts.PARTS = (("data", data), *parts.PARTS[1:])
                whole = parts.Check.run
                parts.Check.run = lambda self, c, s, e=None: whole(self, c, min(s, 5), e)
                {patch}
                runpy.run_path({str(ROOT / 'bench' / 'gpu_check.py')!r}, run_name="__main__")"""),
             self.tree, "--results", self.results, "--commit", "abc123", *arguments],
            env=env, capture_output=True, text=True, check=False, timeout=100)


class Whole(Program):
    def test_report(self):
        self.make_all()
        done = self.run_check()
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stderr, "")
        result = json.loads((self.results / "nvidia-test-gpu.json").read_text())
        parts = {part["name"]: part["status"] for part in result["parts"]}
        self.assertEqual(parts["tests"], "failed with 8")
        self.assertEqual(parts["ceilings"], "ok")
        self.assertEqual(parts["operations"], "failed with 1")
        self.assertEqual(parts["epochs"], "timed out after 5 s")
        self.assertEqual(parts["sanitizers"], "failed with 99")
        self.assertEqual(parts["cuDNN"], "ok")
        self.assertEqual(parts["PyTorch, eager"], "skipped: no PyTorch")
        self.assertEqual({k: v["result"] for k, v in result["tests"]["cases"].items()}, {
            "gpu.operations": "passed", "gpu.referencefused": "skipped", "gpu.repeated": "failed",
            "gpu.resumed": "timed out"})
        self.assertEqual(result["operations"][0]["ms"]["training step"]["NNMF backward"], 1.0)
        epochs = {(e["batch"], e["kernel"], e["precision"], e["at_once"]): e
                  for e in result["epochs"]}
        self.assertEqual(epochs[50, "fused", "fp32", 1]["train_s"], 1.25)
        self.assertIn("--batches-at-once 8", epochs[50, "fused", "fp32", 8]["command"])
        self.assertEqual(epochs[500, "fused", "fp32", 1]["train_s"], 4.0)
        self.assertIn("extrapolated", epochs[500, "fused", "fp32", 1]["how"])

        text = (self.results / "nvidia-test-gpu.md").read_text()
        for expected in ("# NVIDIA Test GPU", "| commit | abc123 |", "| driver | 580.1 |",
                         "| 50 | fused, fp32 | 1.250 | 0.200 |",
                         "| 50 | fused, 3xtf32, 8 test batches at once | 1.250 | 0.200 |",
                         "| gpu.repeated | failed | 1.2 |",
                         "50.0 TFLOP/s", "2500 GB/s", "CUDA failed: NNMF: made up",
                         "| racecheck | cublas, fp32 | failed with 99 | 1 hazard |", "cuDNN 91200",
                         "gpu.agreement: 200 steps, fused: first 5",
                         "gpu.operations: nnmf_forward "):
            self.assertIn(expected, text)
        self.assertEqual(report.render(result), text)
        self.assertEqual(list(self.results.glob("*.part")), [])

    def test_no_time_left(self):
        self.make_all()
        done = self.run_check("--seconds", "0")
        self.assertEqual(done.returncode, 1, done)
        result = json.loads((self.results / "nvidia-test-gpu.json").read_text())
        statuses = {part["name"]: part["status"] for part in result["parts"]}
        self.assertEqual(statuses["tests"], "no time left")
        self.assertEqual(statuses["epochs"], "no time left")

    def test_no_gpu(self):
        self.script(self.tree / "tests" / "gpu" / "with_gpu",
                    "echo 'with_gpu: no NVIDIA driver: CUDA: one was expected' >&2; exit 77\n")
        done = self.run_check()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr,
                         "gpu-check: no NVIDIA driver: CUDA: one was expected\n")
        self.assertFalse(self.results.exists())

    def test_curve_saved_by_a_spreadsheet(self):
        path = self.folder / "metrics.csv"
        path.write_text(METRICS)
        plain = curve.parts.read_curve(path)
        path.write_bytes(b"\xef\xbb\xbf" + METRICS.replace("\n", "\r\n").encode() + b",,,,,,,,\r\n")
        self.assertEqual(curve.parts.read_curve(path), plain)
        self.assertEqual(len(plain), 2)

    def test_curve(self):
        self.results.mkdir()
        published = self.folder / "training_curve.csv"
        losses = [0.2, 0.1] + [0.1] * 11
        published.write_text("epoch,train_loss,train_correct,test_correct,wall_time_s\n" + "".join(
            f"{e},{loss},20000,5000,{14 * e}\n" for e, loss in enumerate(losses)))
        (self.folder / "metrics.csv").write_text(METRICS)
        curve.write_curves(self.folder, published, self.results / "x-training",
                           {"name": "Test"}, "abc", "nnmf-train train")
        rows = (self.results / "x-training.csv").read_text().splitlines()
        self.assertEqual(rows[2], "1,0.131,0.1,46.78,40.00,85.22,50.00,4.2,14")
        text = (self.results / "x-training.md").read_text()
        self.assertIn("Best: 85.22 % after epoch 1", text)
        self.assertIn("85.0 % by the published stop: yes", text)
        self.assertRegex(text, r"\| 12 \|.*\| published drop \|")


class Training(Program):
    def train(self, *options):
        """Runs --train -> the arguments of nnmf-train, and the names of the results."""
        patch = (f"commands.ROOT = pathlib.Path({str(self.folder)!r}); "
                 "parts.real_data = lambda: 'data'")
        done = self.run_check("--train", "2", *options, patch=patch)
        self.assertEqual(done.returncode, 0, done)
        names = {path.name for path in self.results.iterdir()}
        return done.stdout.splitlines()[0], names

    def test_options(self):
        self.make_all()
        command, names = self.train()
        self.assertRegex(command, "--data data --out runs/gpu-nvidia-test-gpu --epochs 2 "
                                  "--device cuda$")
        self.assertEqual(names, {f"nvidia-test-gpu-training.{end}" for end in ("md", "csv")})
        options = ("--options", "--precision", "3xtf32", "--seed", "2")
        name = "nvidia-test-gpu-precision-3xtf32-seed-2"
        command, names = self.train(*options)
        self.assertRegex(command, f"--out runs/gpu-{name} --epochs 2 --device cuda "
                                  "--precision 3xtf32 --seed 2$")
        self.assertLess({f"{name}-training.{end}" for end in ("md", "csv")}, names)
        (self.folder / "runs" / f"gpu-{name}" / "last.safetensors").touch()
        command, _ = self.train(*options)
        self.assertRegex(command, f"--resume runs/gpu-{name} --epochs 2 --device cuda$")


class Script(unittest.TestCase):
    def check(self, *arguments, expected):
        done = subprocess.run([ROOT / "scripts" / "gpu-check", *arguments], capture_output=True,
                              text=True, check=False,
                              env={**os.environ, "PATH": "/usr/bin:/bin"})
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(len(done.stderr.splitlines()), 1, done)
        self.assertIn(expected, done.stderr)

    def test_arguments(self):
        self.check("--train", "many", expected="gpu-check: bad value: --train: 'many'")
        self.check("--train", "0", expected="gpu-check: bad value: --train: '0'")
        self.check("--quick", expected="gpu-check: unexpected argument: --quick")
        self.check("--build", expected="gpu-check: option without a value: --build")
        self.check("--build", "/nowhere", expected="gpu-check: no build tree: /nowhere")
        self.check("--seconds", expected="gpu-check: option without a value: --seconds")
        for value in ("0", "-5", "1.5", "many", ""):
            self.check("--seconds", value,
                       expected=f"gpu-check: bad value: --seconds: '{value}'")
        self.check("--seconds", "5", "--train", expected="gpu-check: unexpected argument: "
                                                         "--seconds: --train has no time limit")
        self.check("--results", expected="gpu-check: option without a value: --results")
        self.check("--results", "", expected="gpu-check: option without a value: --results")

    @unittest.skipIf(shutil.which("nvidia-smi"), "there may be a GPU")
    def test_no_gpu(self):
        self.check(expected="gpu-check: no GPU: nvidia-smi")


class Handed(Program):
    """What scripts/gpu-check passes to bench/gpu_check.py, with a python3 that prints it."""

    def check(self, *arguments):
        self.script(self.bin / "nvidia-smi", "echo 'GPU 0: NVIDIA Test GPU'\n")
        self.script(self.bin / "python3", "printf '%s\\n' \"$@\"\n")
        self.script(self.tree / "nnmf-train", "exit 1\n")
        return subprocess.run(
            [ROOT / "scripts" / "gpu-check", "--build", self.tree, *arguments],
            capture_output=True, text=True, check=False, cwd=self.folder,
            env={**os.environ, "PATH": f"{self.bin}:/usr/bin:/bin", "NNMF_COMMIT": "abc123"})

    def test_options(self):
        done = self.check("--seconds", "100", "--results", "new folder/results")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        words = done.stdout.splitlines()
        self.assertEqual(words[:5], ["-B", f"{ROOT}/bench/gpu_check.py", f"{self.tree}",
                                     "--commit", "abc123"])
        self.assertEqual(words[5], "--seconds")
        self.assertIn(int(words[6]), (98, 99, 100))
        self.assertEqual(words[7:], ["--results", "new folder/results"])
        self.assertTrue((self.folder / "new folder" / "results").is_dir())

    def test_training(self):
        done = self.check("--results", self.results, "--train", "3", "--", "--seed", "2")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertEqual(done.stdout.splitlines()[7:], [
            "--results", f"{self.results}", "--train", "3", "--options", "--seed", "2"])

    def test_no_folder(self):
        (self.folder / "file").touch()
        done = self.check("--results", self.folder / "file" / "results")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        self.assertEqual(done.stderr, f"gpu-check: cannot make folder: {self.folder}/file/results: "
                                      "a writable place was expected\n")


class Counts(unittest.TestCase):
    def test_of_the_published_network(self):
        work = bounds.counted(50)
        # 4 x 20 iterations x rows x features x outputs of the six layers
        products = (28800 * 75 * 32 + 7200 * 128 * 32 + 3200 * 800 * 64 + 800 * 256 * 64
                    + 50 * 1024 * 96 + 50 * 96 * 10)
        self.assertEqual(work["NNMF"][0], 80 * products)
        self.assertEqual(work["batch norm"][1],
                         8 * (2 * 28800 * 32 + 7200 * 32 + 2 * 3200 * 64 + 800 * 64))
        limits = {"fp32_flops": 1e12, "copy_bytes": 1e12}
        self.assertEqual(bounds.limit_ms("NNMF", work, limits)[1], "arithmetic")
        self.assertEqual(bounds.limit_ms("batch norm", work, limits)[1], "memory")
        self.assertEqual(bounds.limit_ms("sample", work, limits), (None, ""))


PTXAS = """\
ptxas info    : Compiling entry function '_Z12fused_kernelILi16ELi96EEv9NnmfParamsbPKfS2_Pf' for \
'sm_89'
ptxas info    : Function properties for _Z12fused_kernelILi16ELi96EEv9NnmfParamsbPKfS2_Pf
    {stack} bytes stack frame, {stores} bytes spill stores, {stores} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 64 bytes smem, 416 bytes cmem[0]
"""
RECORDED = ("| `fused_kernel<16, 96>` | 89 | 66 | 0 | 0 | 0 | 64 |\n"
            "\n## The fused NNMF kernels\nvariants\n")


class Kernels(unittest.TestCase):
    def wrong(self, registers=66, stores=0, variants="variants", recorded=RECORDED):
        text = PTXAS.format(stack=stores, stores=stores, registers=registers)
        kernels = [k._replace(name=kernel_report.short(
            "void fused_kernel<16, 96>(NnmfParams, bool, float const*, float const*, float*)"))
            for k in kernel_report.parse(text)]
        self.assertEqual([(k.name, k.arch, k.shared) for k in kernels],
                         [("fused_kernel<16, 96>", "89", 64)])
        return kernel_report.check(kernels, RECORDED.replace("variants", variants), recorded)

    def test_check(self):
        self.assertEqual(self.wrong(), [])
        self.assertEqual(self.wrong(registers=72), [])
        self.assertEqual(self.wrong(registers=40), [])
        self.assertIn("more than in the table", self.wrong(registers=80)[0])
        self.assertIn("spills", self.wrong(stores=8)[0])
        self.assertIn("not in the table", self.wrong(recorded="\n## The fused NNMF kernels\n"
                                                              "variants\n")[0])
        self.assertIn("variants of the fused kernels differ", self.wrong(variants="others")[0])
        self.assertIn("no such kernel: gone", self.wrong(
            recorded="| `gone` | 89 | 6 | 0 | 0 | 0 | 0 |\n" + RECORDED)[0])

    def test_short_names(self):
        for name, expected in (
            ("void fused_kernel<16, 96>(NnmfParams, bool)", "fused_kernel<16, 96>"),
            ("adam_kernel(Segments, StepState const*)", "adam_kernel"),
            ("void k<(int)4, (bool)1>(int)", "k<4, 1>"),
            ("(anonymous namespace)::sum(int)", "sum"),
        ):
            self.assertEqual(kernel_report.short(name), expected)


if __name__ == "__main__":
    unittest.main(verbosity=2)
