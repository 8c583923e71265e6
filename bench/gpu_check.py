#!/usr/bin/env python3
"""What scripts/gpu-check does after building: tests, sanitizers, benchmark, report.

    bench/gpu_check.py BUILD [--seconds 480] [--results bench/results] [--commit ID]
    bench/gpu_check.py BUILD --train [EPOCHS]
    bench/gpu_check.py --render RESULT.json     writes the Markdown of a result anew

Every part has a deadline of its own; one that runs over or fails is written down as such, and the
rest goes on. The result is written after each part.
"""

import argparse
import csv
import datetime
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from xml.etree import ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCHES = (50, 100, 200, 500)
TRAIN_IMAGES, TEST_IMAGES = 50000, 10000
PUBLISHED_EPOCHS, TARGET = 370, 8500
TAIL = 25  # lines of a failed command's output that are kept


def die(text, status=1):
    print(f"gpu-check: {text}", file=sys.stderr)
    sys.exit(status)


def say(text):
    print(f"gpu-check: {text}", flush=True)


# ---- running commands ----


class Outcome:
    def __init__(self, command, status, output, seconds):
        self.command, self.status, self.output, self.seconds = command, status, output, seconds

    @property
    def good(self):
        return self.status == "ok"

    def entry(self, **more):
        """For the JSON file."""
        kept = {"command": self.command, "status": self.status, "seconds": round(self.seconds, 1)}
        if not self.good:
            kept["output"] = self.output.splitlines()[-TAIL:]
        return kept | more


def plain(path):
    """A path as one would write it at the root of the repository."""
    text = str(path)
    return text[len(str(ROOT)) + 1:] if text.startswith(f"{ROOT}/") else text


def stop(process):
    """First asks, as Ctrl-C does, then ends it with all that it started."""
    for number, patience in ((signal.SIGINT, 4), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def execute(command, seconds, env=None):
    """Runs a command for at most so long -> Outcome, with what it printed until then."""
    command = [str(word) for word in command]
    shown = shlex.join([plain(word) for word in command])
    started = time.monotonic()
    if seconds < 1:
        return Outcome(shown, "no time left", "", 0.0)
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT,
                                       env={**os.environ, **(env or {})})
        except OSError as error:
            return Outcome(shown, f"did not start: {error.strerror}", "", 0.0)
        try:
            code = process.wait(seconds)
            status = "ok" if code == 0 else f"failed with {code}"
        except subprocess.TimeoutExpired:
            stop(process)
            status = f"ran over its {seconds:.0f} s"
        except BaseException:
            stop(process)
            raise
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Outcome(shown, status, text, time.monotonic() - started)


class Check:
    """The check under way: where it is, how long it may take, what it found."""

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
        """Does a part; its failures are part of the result."""
        started = time.monotonic()
        entry = {"name": name}
        self.result["parts"].append(entry)
        try:
            entry["status"] = function(self)
        except Exception as error:  # an output that is not as expected: the rest shall go on
            entry["status"] = f"not understood: {type(error).__name__}: {error}"
        entry["seconds"] = round(time.monotonic() - started, 1)
        self.write()
        say(f"{name}: {entry['status']} ({entry['seconds']:.0f} s)")


def write_file(path, text):
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.rename(path)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def file_name(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "gpu"


def worst_of(statuses):
    """One status for several: "ok" if all are."""
    bad = [status for status in statuses if status != "ok"]
    return "ok" if not bad else "; ".join(dict.fromkeys(bad))


# ---- the device ----


def read_device():
    """Name, driver and clocks, as nvidia-smi tells them."""
    fields = ("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit",
              "compute_cap")
    outcome = execute(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
                      20)
    if not outcome.good or not outcome.output.strip():
        die("no GPU: nvidia-smi: a GPU and its driver were expected")
    values = [value.strip() for value in outcome.output.splitlines()[0].split(",")]
    return dict(zip(fields, values))


# ---- data ----


def real_data():
    for folder in (os.environ.get("NNMF_DATA"), ROOT / "data" / "cifar10"):
        if folder and (pathlib.Path(folder) / "data_batch_1.bin").exists():
            return pathlib.Path(folder).resolve()
    return None


def find_data(check):
    """CIFAR-10, else made-up images of the same number and size: times do not depend on them."""
    check.data = real_data()
    if check.data:
        check.result["data"] = "CIFAR-10"
        return "ok"
    check.data = check.folder / "cifar10"
    outcome = check.run([sys.executable, ROOT / "tests" / "fixtures" / "make_fixtures.py", "data",
                         "cifar10", check.data], 60)
    check.result["data"] = "made-up images, as many and as large as CIFAR-10"
    return outcome.status


# ---- parts: tests ----


def tests(check):
    # As the tests want them; without the reference files, theirs are skipped.
    env = {} if "NNMF_DATA" in os.environ or not real_data() else {"NNMF_DATA": str(real_data())}
    log = check.folder / "tests.xml"
    outcome = check.run(["ctest", "--test-dir", check.tree, "-L", "gpu", "-j", 3, "--timeout", 110,
                         "--output-on-failure", "--test-output-size-passed", 65536,
                         "--output-junit", log], 150, env)
    check.result["tests"] = outcome.entry(cases=parse_ctest(outcome.output),
                                          figures=figures_of(log))
    return outcome.status


def parse_ctest(text):
    """-> name: "passed", "skipped", "failed" or "ran over", and seconds."""
    cases = {}
    line = r"^ *\d+/\d+ Test +#\d+: (\S+) \.+ *(\*\*\*)?(\w+).*? +([\d.]+) sec"
    for found in re.finditer(line, text, re.MULTILINE):
        word = {"Passed": "passed", "Skipped": "skipped", "Timeout": "ran over"}.get(found[3])
        cases[found[1]] = {"result": word or "failed", "seconds": float(found[4])}
    return cases


FIGURE = re.compile(  # behind what unittest prints on the same line
    r"(?:^|\.\.\. )((?:tf32 )?[\w.]+: (?:worst|first|final|\d+ correct).*"
    r"|(?:tf32 )?(?:trajectory|eval): .*|(?:tf32 )?[\w.]+ (?:trajectory|eval): .*"
    r"|200 steps.*|[a-z_]+ +\d\.\de[-+]\d\d  .*|largest errors: .*| {10,}\S.* allowed)$",
    re.MULTILINE)


def figures_of(log):
    """The measured errors that the tests print: test, line."""
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

# Kernels and precisions, the default first.
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


def epoch_times(run, output):
    """-> seconds of a training and a testing epoch, and how they were found."""
    rows = []
    if (run / "metrics.csv").exists():
        with open(run / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
    if rows:
        later = rows[1:] or rows
        how = f"median of epochs 1 to {len(rows) - 1}" if rows[1:] else "the first epoch"
        return {"train_s": statistics.median(float(row["train_seconds"]) for row in later),
                "test_s": statistics.median(float(row["test_seconds"]) for row in later),
                "how": how}
    if found := re.search(r"\(([\d.]+) s a step\)", output):
        return {"step_s": float(found[1]), "how": "extrapolated from the first 11 steps"}
    return {"how": "nothing measured"}


def epochs_with(check, batch, kernel, precision, epochs, seconds):
    run = check.folder / f"epochs-{batch}-{kernel}-{precision}"
    outcome = check.run([check.program, "train", "--device", "cuda", "--nnmf-kernel", kernel,
                         "--precision", precision, "--data", check.data, "--batch-size", batch,
                         "--epochs", epochs, "--out", run], seconds)
    times = epoch_times(run, outcome.output)
    if "step_s" in times:
        times["train_s"] = times["step_s"] * math.ceil(TRAIN_IMAGES / batch)
    check.result["epochs"].append(
        outcome.entry(batch=batch, kernel=kernel, precision=precision, **times))
    check.write()
    return outcome.status


def epochs(check):
    check.result["epochs"] = []
    statuses = [epochs_with(check, batch, "fused", "fp32", 4, 40) for batch in BATCHES]
    statuses += [epochs_with(check, 50, kernel, precision, 3, 25)
                 for kernel, precision in VARIANTS[1:]]
    return worst_of(statuses)


# ---- parts: the twin's times ----


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


def twin(mode, seconds):
    def part(check):
        entries = check.result.setdefault("twin", [])
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


# ---- what must be done at least: operations and bytes ----

# Published network: window, stride, neurons, convolution, batch norms (tests/cli: `info`).
BLOCKS = ((5, 1, 32, True, 2), (2, 2, 32, False, 1), (5, 1, 64, True, 2), (2, 2, 64, False, 1),
          (4, 1, 96, True, 0), (1, 1, 10, True, 0))
ITERATIONS, PARAMETERS, FLOAT = 20, 188558, 4


def counted(batch):
    """-> operation: floating point operations, bytes that must be read or written once."""
    work = {}

    def add(name, flops, floats):
        before = work.get(name, (0, 0))
        work[name] = before[0] + flops, before[1] + FLOAT * floats

    side, channels = 28, 3
    pixels = batch * side * side * channels
    add("augment", 0, pixels + pixels / FLOAT)
    for number, (window, stride, neurons, convolution, norms) in enumerate(BLOCKS):
        inputs, features = batch * side * side * channels, window * window * channels
        side = (side - window) // stride + 1
        rows, weights = batch * side * side, neurons * features
        x, h = rows * features, rows * neurons
        add("unfold", 0, inputs + x + rows)
        add("weights", 0, 2 * weights)
        add("NNMF", 4 * ITERATIONS * x * neurons, x + weights + h)
        dx = x if number else 0  # nobody asks for the gradient of the image
        add("NNMF backward", 8 * x * neurons, x + dx + 2 * h + 2 * weights)
        add("weights backward", 0, 4 * weights)
        if number:
            add("unfold backward", 0, 2 * x + rows + 2 * inputs)
        for _ in range(norms):
            add("batch norm", 0, 2 * h)
            add("batch norm backward", 0, 3 * h)
        if convolution:
            add("convolution", 2 * h * neurons, 2 * h + neurons * neurons)
            add("convolution backward", 4 * h * neurons, 3 * h + 2 * neurons * neurons)
        channels = neurons
    add("Adam", 0, 7 * PARAMETERS)
    return work


def limit_ms(name, work, limits):
    """The time that an operation takes at the least, and what by."""
    flops, bytes_ = work.get(name, (0, 0))
    arithmetic, memory = flops / limits["fp32_flops"], bytes_ / limits["copy_bytes"]
    if not flops and not bytes_:
        return None, ""
    return 1e3 * max(arithmetic, memory), "arithmetic" if arithmetic > memory else "memory"


# ---- the report ----


def row(cells):
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def table(head, rows):
    return [row(head), row(["---"] * len(head)), *map(row, rows), ""]


def number(value, form=".3f"):
    return format(value, form) if isinstance(value, (int, float)) else "-"


def failed_output(entry):
    if not entry.get("output"):
        return []
    return ["```", f"{entry['command']}: {entry['status']}", *entry["output"], "```", ""]


def render_operations(entry, limits):
    lines = [f"### Operations: {entry['kernel']}, {entry['precision']}", "",
             f"`{entry['command']}`: {entry['status']}", ""]
    work = counted(entry["batch"])
    for title, times in entry["ms"].items():
        rows = []
        for name, ms in times.items():
            least, by = limit_ms(name, work, limits) if limits.get("fp32_flops") else (None, "")
            share = f"{100 * least / ms:.0f} %" if least and ms else "-"
            flops, bytes_ = work.get(name, (0, 0))
            rows.append((name, f"{ms:.3f}", f"{flops * 1e-9:.2f}" if flops else "-",
                         f"{bytes_ * 1e-6:.1f}" if bytes_ else "-", number(least, ".4f"), share,
                         by))
        lines += table((title, "ms", "GFLOP", "MB", "limit (ms)", "limit/ms", "by"), rows)
    return lines + failed_output(entry)


def render_epochs(result):
    entries, lines = result.get("epochs", []), ["## Epochs", ""]
    twins = {(entry["mode"], times["batch_size"]): times for entry in result.get("twin", [])
             for times in entry["times"]}
    rows = []
    for e in entries:
        rows.append((e["batch"], f"{e['kernel']}, {e['precision']}", number(e.get("train_s")),
                     number(e.get("test_s")), e["how"], e["status"]))
    for (mode, batch), times in sorted(twins.items(), key=lambda item: (item[0][1], item[0][0])):
        rows.append((batch, f"PyTorch twin, {mode}",
                     number(times["train_ms"] * math.ceil(TRAIN_IMAGES / batch) * 1e-3),
                     number(times["test_ms"] * math.ceil(TEST_IMAGES / batch) * 1e-3),
                     f"{times['train_ms']:.2f} and {times['test_ms']:.2f} ms a step, no "
                     "augmentation", "ok"))
    rows.sort(key=lambda cells: cells[0])
    lines += [f"Seconds for {TRAIN_IMAGES} training and {TEST_IMAGES} test images; published, on "
              "an RTX 4090 at batch 50: 12.0 training.", ""]
    lines += table(("batch", "what", "training (s)", "testing (s)", "measured as", "status"), rows)
    ours = {e["batch"]: e for e in entries if (e["kernel"], e["precision"]) == ("fused", "fp32")}
    ratios = []
    for (mode, batch), times in sorted(twins.items(), key=lambda item: (item[0][1], item[0][0])):
        if ours.get(batch, {}).get("train_s"):
            theirs = times["train_ms"] * math.ceil(TRAIN_IMAGES / batch) * 1e-3
            ratios.append(f"{theirs / ours[batch]['train_s']:.1f} ({mode}, batch {batch})")
    if ratios:
        lines += ["Twin's training time over ours: " + ", ".join(ratios) + ".", ""]
    lines += ["Commands:", ""]
    for entry in [*entries, *result.get("twin", [])]:
        lines.append(f"- `{entry['command']}`: {entry['status']}, {entry['seconds']} s")
    lines.append("")
    for entry in [*entries, *result.get("twin", [])]:
        lines += failed_output(entry)
    return lines


def render_tests(entry):
    lines = ["## Tests", "", f"`{entry['command']}`: {entry['status']}", ""]
    lines += table(("test", "result", "seconds"), [(name, case["result"], case["seconds"])
                                                   for name, case in entry["cases"].items()])
    if entry["figures"]:
        lines += ["Measured errors:", "", "```", *entry["figures"], "```", ""]
    return lines + failed_output(entry)


def render(result):
    """The Markdown of a result."""
    device, limits = result["device"], result.get("ceilings", {})
    lines = [f"# {device['name']}", "",
             "Written by `scripts/gpu-check`. Every number stands beside the command that gave "
             "it.", ""]
    facts = [("GPU", device["name"]), ("driver", device.get("driver_version")),
             ("CUDA", f"{limits.get('runtime_cuda', '?')} (driver: up to "
                      f"{limits.get('driver_cuda', '?')})"),
             ("memory", device.get("memory.total")), ("largest clock", device.get("clocks.max.sm")),
             ("power limit", device.get("power.limit")), ("commit", result["commit"]),
             ("date", result["date"]), ("data", result.get("data", "-"))]
    lines += table(("", ""), facts)
    lines += table(("part", "result", "seconds"), [(p["name"], p.get("status", "not finished"),
                                                    p.get("seconds", "-"))
                                                   for p in result["parts"]])
    if "tests" in result:
        lines += render_tests(result["tests"])
    if "sanitizers" in result:
        lines += ["## compute-sanitizer", ""]
        lines += table(("tool", "kernel", "result", "summary", "command"),
                       [(e["tool"], e["kernel"], e["status"], e["summary"], f"`{e['command']}`")
                        for e in result["sanitizers"]])
        for entry in result["sanitizers"]:
            lines += failed_output(entry)
    if limits:
        lines += ["## Ceilings", "", f"`{limits['command']}`: {limits['status']}", ""]
        if limits.get("fp32_flops"):
            lines += table(("what", "measured"), [
                ("cuBLAS float32, 8192 x 8192", f"{limits['fp32_flops'] * 1e-12:.1f} TFLOP/s"),
                ("cuBLAS TF32, 8192 x 8192", f"{limits['tf32_flops'] * 1e-12:.1f} TFLOP/s"),
                ("copy in device memory", f"{limits['copy_bytes'] * 1e-9:.0f} GB/s")])
        lines += failed_output(limits)
    if "operations" in result:
        lines += ["## One step, operation by operation", "",
                  "Each operation is waited for, so that its time holds launches and the wait; a "
                  "recorded step (Epochs) has neither. *limit*: the larger of its operations at "
                  "the float32 ceiling and its bytes, each once, at the copy's bandwidth, both "
                  "measured in this run. Data that stay in the second-level cache can beat it.",
                  ""]
        for entry in result["operations"]:
            lines += render_operations(entry, limits)
    if "epochs" in result or "twin" in result:
        lines += render_epochs(result)
    if "cudnn" in result:
        entry = result["cudnn"]
        lines += ["## Against cuDNN", "", f"`{entry['command']}`: {entry['status']}; cuDNN "
                  f"{entry['version']}, batch of 50", ""]
        rows = [cells for cells in entry["rows"] if len(cells) == 6]
        lines += table(("operation", "H x W x C", "differ by", "ours (us)", "cuDNN (us)",
                        "cuDNN/ours"), rows)
        lines += failed_output(entry)
    return "\n".join(lines).rstrip() + "\n"


# ---- the whole training ----


def drops_of(losses):
    """Epochs after which the learning rate falls: reduce on plateau, patience 10, 1e-4."""
    best, bad, drops = math.inf, 0, []
    for epoch, loss in enumerate(losses):
        best, bad = (loss, 0) if loss < best * (1 - 1e-4) else (best, bad + 1)
        if bad > 10:
            drops.append(epoch)
            bad = 0
    return drops


def read_curve(path):
    with open(path) as file:
        return {int(row["epoch"]): row for row in csv.DictReader(file)}


def percent(text, images):
    return f"{100 * int(text) / images:.2f}" if text else ""


def beside(ours, published):
    """-> rows of both curves, one an epoch."""
    rows, seconds = [], 0.0
    for epoch in sorted(set(ours) | set(published)):
        mine, theirs = ours.get(epoch, {}), published.get(epoch, {})
        if mine:
            seconds += float(mine["train_seconds"]) + float(mine["test_seconds"])
        rows.append({
            "epoch": epoch,
            "train_loss": mine.get("train_loss", ""),
            "published_train_loss": theirs.get("train_loss", ""),
            "train_percent": percent(mine.get("train_correct"), TRAIN_IMAGES),
            "published_train_percent": percent(theirs.get("train_correct"), TRAIN_IMAGES),
            "test_percent": percent(mine.get("test_correct"), TEST_IMAGES),
            "published_test_percent": percent(theirs.get("test_correct"), TEST_IMAGES),
            "seconds": f"{seconds:.1f}" if mine else "",
            "published_seconds": theirs.get("wall_time_s", ""),
        })
    return rows


def write_curves(run, published_path, stem, device, commit, command):
    """The CSV file with both curves, and the Markdown lines at the drops."""
    ours = read_curve(run / "metrics.csv")
    if not ours:
        die(f"nothing trained: {run / 'metrics.csv'}: at least one epoch was expected")
    published = read_curve(published_path) if published_path else {}
    rows = beside(ours, published)
    path = stem.with_name(stem.name + ".csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    marks = {"our drop": drops_of([float(ours[e]["train_loss"]) for e in sorted(ours)]),
             "published drop": drops_of([float(published[e]["train_loss"])
                                         for e in sorted(published)])}
    shown = {0, 9, 49, 99, 199, 299, max(ours), *sum(marks.values(), [])}
    shown |= {max(published)} if published else set()
    best = max(ours, key=lambda e: int(ours[e]["test_correct"]))
    correct = int(ours[best]["test_correct"])
    by_stop = max(int(row["test_correct"]) for e, row in ours.items() if e < PUBLISHED_EPOCHS)
    lines = [f"# Training on {device['name']}", "",
             f"`{command}`, commit {commit}, {now()}, driver {device.get('driver_version')}.", "",
             f"{len(ours)} epochs in {float(rows_of(rows, max(ours))['seconds']):.0f} s. Best: "
             f"{correct / 100:.2f} % after epoch {best}, last: "
             f"{int(ours[max(ours)]['test_correct']) / 100:.2f} %; published: 85.25 %. At least "
             f"{TARGET / 100:.1f} % by the published stop: "
             f"{'yes' if by_stop >= TARGET else 'not reached'}.", ""]
    if not published:
        lines += ["Without the published curve: $NNMF_REFERENCE/training_curve.csv.", ""]
    heads = ("epoch", "loss", "published", "training (%)", "published", "test (%)", "published",
             "seconds", "published", "")
    lines += table(heads, [(*r.values(), ", ".join(m for m, at in marks.items()
                                                   if r["epoch"] in at))
                           for r in rows if r["epoch"] in shown])
    lines += [f"All epochs: `{path.name}`."]
    write_file(stem.with_name(stem.name + ".md"), "\n".join(lines) + "\n")
    say(f"best {correct / 100:.2f} % after epoch {best}: {plain(stem)}.md, {path.name}")


def rows_of(rows, epoch):
    return next(row for row in rows if row["epoch"] == epoch)


def train(args, device):
    """All epochs, or those that are left -> exit status."""
    data = real_data()
    name = "-".join([device["name"], *(word.lstrip("-") for word in args.options)])
    run = ROOT / "runs" / f"gpu-{file_name(name)}"
    options = ["--epochs", str(args.train), "--device", "cuda"]
    if (run / "last.safetensors").exists():
        command = [args.build.resolve() / "nnmf-train", "--resume", run, *options]
    elif data:
        command = [args.build.resolve() / "nnmf-train", "train", "--data", data, "--out", run,
                   *options, *args.options]  # which a run that is resumed has kept
    else:
        die("no data: CIFAR-10: $NNMF_DATA or data/cifar10 was expected to hold it "
            "(scripts/fetch-data cifar10)")
    shown = shlex.join([plain(word) for word in command])
    say(shown)
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT)
    status = None
    while status is None:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            pass  # it has had the signal too, and saves
    reference = os.environ.get("NNMF_REFERENCE")
    published = pathlib.Path(reference) / "training_curve.csv" if reference else None
    if (run / "metrics.csv").exists():
        write_curves(run, published if published and published.exists() else None,
                     args.results / f"{file_name(name)}-training", device, args.commit,
                     shown)
    return status if status >= 0 else 128 - status


# ---- all of it ----

# The twin's compiling takes longest and comes last: it gets what time is left.
PARTS = (
    ("data", find_data),
    ("tests", tests),
    ("ceilings", ceilings),
    ("operations", operations),
    ("epochs", epochs),
    ("sanitizers", sanitizers),
    ("cuDNN", cudnn),
    ("twin, eager", twin("eager", 60)),
    ("twin, graph", twin("graph", 60)),
    ("twin, compiled", twin("compiled", 240)),
)


def main():
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=ROOT / "build-gpu")
    parser.add_argument("--seconds", type=float, default=480, help="for all of it [480]")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--train", type=int, nargs="?", const=PUBLISHED_EPOCHS, metavar="EPOCHS")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of --train")
    parser.add_argument("--render", type=pathlib.Path, metavar="RESULT.json")
    args = parser.parse_args()
    if args.render:
        write_file(args.render.with_suffix(".md"), render(json.loads(args.render.read_text())))
        return 0
    args.results = args.results.resolve()
    there = execute([args.build.resolve() / "tests" / "gpu" / "with_gpu"], 60)
    if not there.good:
        die((there.output.strip().splitlines() or [there.status])[-1].removeprefix("with_gpu: "))
    device = read_device()
    if args.train is not None:
        return train(args, device)
    check = Check(args, device)
    try:
        for name, function in PARTS:
            check.part(name, function)
    finally:
        check.write()
        shutil.rmtree(check.folder, ignore_errors=True)
    say(f"{plain(check.path.with_suffix('.md'))} and {check.path.name}")
    statuses = [part["status"] for part in check.result["parts"]]
    return 0 if all(status == "ok" or status.startswith("skipped") for status in statuses) else 1


if __name__ == "__main__":
    sys.exit(main())
