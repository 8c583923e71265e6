"""The parts of the check. Each runs commands, parses their output and returns a status."""

import csv
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import sys
import tempfile
import time
from xml.etree import ElementTree

from gpu_check.commands import ROOT, execute, file_name, now, say, write_file
from gpu_check.report import render
from gpu_check.work import TRAIN_IMAGES

BATCHES = (50, 100, 200, 500)


class Check:
    """The state of a check: its build tree, its time limit, its results."""

    def __init__(self, args, device):
        self.tree, self.args = args.build.resolve(), args
        self.end = time.monotonic() + args.seconds
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nnmf-gpu-"))
        self.result = {"device": device, "date": now(), "commit": args.commit, "parts": []}
        self.path = args.results / (file_name(device["name"]) + ".json")
        self.data = None

    @property
    def program(self):
        return self.tree / "nnmf-train"

    def run(self, command, seconds, env=None):
        return execute(command, min(seconds, self.end - time.monotonic()), env)

    def write(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.path, json.dumps(self.result, indent=1) + "\n")
        write_file(self.path.with_suffix(".md"), render(self.result))

    def part(self, name, function):
        """Runs a part; its failures become part of the result."""
        started = time.monotonic()
        entry = {"name": name}
        self.result["parts"].append(entry)
        try:
            entry["status"] = function(self)
        except Exception as error:  # unexpected output must not stop the other parts
            entry["status"] = f"unexpected output: {type(error).__name__}: {error}"
        entry["seconds"] = round(time.monotonic() - started, 1)
        self.write()
        say(f"{name}: {entry['status']} ({entry['seconds']:.0f} s)")


def worst_of(statuses):
    """Combines statuses: "ok" if all are."""
    bad = [status for status in statuses if status != "ok"]
    return "ok" if not bad else "; ".join(dict.fromkeys(bad))


# ---- data ----


def real_data():
    for folder in (os.environ.get("NNMF_DATA"), ROOT / "data" / "cifar10"):
        if folder and (pathlib.Path(folder) / "data_batch_1.bin").exists():
            return pathlib.Path(folder).resolve()
    return None


def find_data(check):
    """Finds CIFAR-10, or makes random images of the same number and size. Times are the same."""
    check.data = real_data()
    if check.data:
        check.result["data"] = "CIFAR-10"
        return "ok"
    check.data = check.folder / "cifar10"
    outcome = check.run([sys.executable, ROOT / "tests" / "fixtures" / "make_fixtures.py", "data",
                         "cifar10", check.data], 60)
    check.result["data"] = "random images, of the same number and size as CIFAR-10"
    return outcome.status


# ---- parts: tests ----


def tests(check):
    # The tests read NNMF_DATA. Without the reference files, the tests that need them are skipped.
    env = {} if "NNMF_DATA" in os.environ or not real_data() else {"NNMF_DATA": str(real_data())}
    log = check.folder / "tests.xml"
    outcome = check.run(["ctest", "--test-dir", check.tree, "-L", "gpu", "-j", 3, "--timeout", 110,
                         "--output-on-failure", "--test-output-size-passed", 65536,
                         "--output-junit", log], 150, env)
    check.result["tests"] = outcome.entry(cases=parse_ctest(outcome.output),
                                          figures=figures_of(log))
    return outcome.status


def parse_ctest(text):
    """-> for each test: "passed", "skipped", "failed" or "timed out", and seconds."""
    cases = {}
    line = r"^ *\d+/\d+ Test +#\d+: (\S+) \.+ *(\*\*\*)?(\w+).*? +([\d.]+) sec"
    for found in re.finditer(line, text, re.MULTILINE):
        word = {"Passed": "passed", "Skipped": "skipped", "Timeout": "timed out"}.get(found[3])
        cases[found[1]] = {"result": word or "failed", "seconds": float(found[4])}
    return cases


FIGURE = re.compile(  # after unittest's output on the same line
    r"(?:^|\.\.\. )((?:tf32 )?[\w.]+: (?:worst|first|final|\d+ correct).*"
    r"|(?:tf32 )?(?:trajectory|eval): .*|(?:tf32 )?[\w.]+ (?:trajectory|eval): .*"
    r"|200 steps.*|[a-z_]+ +\d\.\de[-+]\d\d  .*|largest errors: .*| {10,}\S.* allowed)$",
    re.MULTILINE)


def figures_of(log):
    """The measured errors in the output of the tests: test, line."""
    try:
        cases = ElementTree.parse(log).getroot().iter("testcase")
    except (OSError, ElementTree.ParseError):
        return []
    return [f"{case.get('name')}: {line.rstrip()}" for case in cases
            for line in FIGURE.findall(case.findtext("system-out") or "")]


def sanitizers(check):
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.access(tool, os.X_OK):
        check.result["sanitizers"] = []
        return "skipped: no compute-sanitizer"
    entries = check.result["sanitizers"] = []
    for what in ("memcheck", "racecheck"):
        for kernel, precision in (("fused", "fp32"), ("fused", "3xtf32"), ("cublas", "fp32")):
            out = check.folder / f"{what}-{kernel}-{precision}"
            outcome = check.run(
                [tool, "--tool", what, "--error-exitcode", 99, check.program, "train", "--device",
                 "cuda", "--nnmf-kernel", kernel, "--precision", precision, "--data", check.data,
                 "--train-range", "0:15", "--test-range", "0:10", "--batch-size", 5, "--iterations", 2, "--epochs", 1,
                 "--out", out], 45)
            summary = re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY: (.*)$", outcome.output,
                                 re.MULTILINE)
            entries.append(outcome.entry(tool=what, kernel=f"{kernel}, {precision}",
                                         summary=summary[-1] if summary else ""))
            check.write()
    return worst_of(entry["status"] for entry in entries)


def cudnn(check):
    program = check.tree / "tests" / "gpu" / "test_cudnn"
    if not program.exists():
        return "skipped: built without cuDNN"
    outcome = check.run([program], 60)
    rows = [[cell.strip() for cell in line.strip("| ").split("|")]
            for line in re.findall(r"^\| (?!operation).*$", outcome.output, re.MULTILINE)]
    check.result["cudnn"] = outcome.entry(
        version="".join(re.findall(r"cuDNN (\d+)", outcome.output)[:1]), rows=rows)
    return outcome.status


# ---- parts: our times ----

# NNMF kernel and precision; the default first.
VARIANTS = (("fused", "fp32"), ("fused", "3xtf32"), ("fused", "tf32"), ("cublas", "fp32"),
            ("cublas", "tf32"))


def ceilings(check):
    outcome = check.run([check.tree / "tests" / "gpu" / "ceilings"], 40)
    values = json.loads(outcome.output.splitlines()[-1]) if outcome.good else {}
    check.result["ceilings"] = outcome.entry(**values)
    return outcome.status


def parse_bench(text):
    """-> {"training step": {operation: ms}, "test batch": {...}}."""
    sections, section = {}, None
    for line in text.splitlines():
        if found := re.match(r"(training step|test batch) +ms ", line):
            section = sections[found[1]] = {}
        elif section is not None and (found := re.match(r"(\S.*?) +([\d.]+) +[\d.]+%", line)):
            section[found[1]] = float(found[2])
    return sections


def operations(check):
    entries = check.result["operations"] = []
    for kernel, precision in VARIANTS:
        outcome = check.run([check.program, "bench", "--device", "cuda", "--nnmf-kernel", kernel,
                             "--precision", precision, "--steps", 50], 25)
        entries.append(outcome.entry(kernel=kernel, precision=precision, batch=50,
                                     **{"ms": parse_bench(outcome.output)}))
        check.write()
    return worst_of(entry["status"] for entry in entries)


def read_curve(path):
    """-> the rows by epoch. Accepts the byte order mark and empty rows that spreadsheets write."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        return {int(row["epoch"]): row for row in csv.DictReader(file) if row["epoch"]}


def epoch_times(run, output):
    """-> seconds of a training and a testing epoch, and how they were measured."""
    rows = []
    if (run / "metrics.csv").exists():
        rows = list(read_curve(run / "metrics.csv").values())
    if rows:
        later = rows[1:] or rows
        how = f"median of epochs 1 to {len(rows) - 1}" if rows[1:] else "the first epoch"
        return {"train_s": statistics.median(float(row["train_seconds"]) for row in later),
                "test_s": statistics.median(float(row["test_seconds"]) for row in later),
                "how": how}
    if found := re.search(r"\(([\d.]+) s a step\)", output):
        return {"step_s": float(found[1]), "how": "extrapolated from the first 11 steps"}
    return {"how": "nothing measured"}


def epochs_with(check, batch, kernel, precision, epochs, seconds, at_once=1):
    run = check.folder / f"epochs-{batch}-{kernel}-{precision}-{at_once}"
    outcome = check.run([check.program, "train", "--device", "cuda", "--nnmf-kernel", kernel,
                         "--precision", precision, "--data", check.data, "--batch-size", batch,
                         "--batches-at-once", at_once, "--epochs", epochs, "--out", run], seconds)
    times = epoch_times(run, outcome.output)
    if "step_s" in times:
        times["train_s"] = times["step_s"] * math.ceil(TRAIN_IMAGES / batch)
    check.result["epochs"].append(
        outcome.entry(batch=batch, kernel=kernel, precision=precision, at_once=at_once, **times))
    check.write()
    return outcome.status


def epochs(check):
    check.result["epochs"] = []
    statuses = [epochs_with(check, batch, "fused", "fp32", 4, 40) for batch in BATCHES]
    statuses += [epochs_with(check, 50, kernel, precision, 3, 25)
                 for kernel, precision in VARIANTS[1:]]
    statuses += [epochs_with(check, 50, kernel, precision, 2, 15, at_once)
                 for kernel, precision in VARIANTS[:2] for at_once in (4, 8)]
    return worst_of(statuses)


# ---- parts: PyTorch's times ----


def with_torch():
    """A Python that has PyTorch."""
    for python in dict.fromkeys((os.environ.get("NNMF_TORCH_PYTHON"), sys.executable, "python3",
                                 str(ROOT / ".venv" / "bin" / "python"))):
        if not python:
            continue
        if execute([python, "-c", "import importlib.util as u, sys; "
                    "sys.exit(not (u.find_spec('torch') and u.find_spec('safetensors')))"],
                   30).good:
            return python
    return None


def pytorch(mode, seconds):
    def part(check):
        entries = check.result.setdefault("pytorch", [])
        python = with_torch()
        if not python:
            return "skipped: no PyTorch"
        outcome = check.run([python, ROOT / "bench" / "gpu_compare.py", mode, "--batch-size",
                             *BATCHES], seconds)
        times = [json.loads(line) for line in outcome.output.splitlines()
                 if line.startswith('{"mode"')]
        entries.append(outcome.entry(mode=mode, times=times))
        return outcome.status
    return part


# ---- the list of parts ----

# Compiling in PyTorch takes longest, so it comes last and gets the remaining time.
PARTS = (
    ("data", find_data),
    ("tests", tests),
    ("ceilings", ceilings),
    ("operations", operations),
    ("epochs", epochs),
    ("sanitizers", sanitizers),
    ("cuDNN", cudnn),
    ("PyTorch, eager", pytorch("eager", 60)),
    ("PyTorch, graph", pytorch("graph", 60)),
    ("PyTorch, compiled", pytorch("compiled", 240)),
)
