#!/usr/bin/env python3
"""Measures how the time of a step grows with the batch size, the iterations and the threads.

    bench/growth.py [--device cpu|cuda] [--out bench/results/growth-cpu] [--rounds 3] [--steps 10]

Varies one of the three and keeps the others as in the published network: batches of 50, 20
iterations, all processors. Each round runs `nnmf-train bench` once for every point (for the common
point once in each series), because the machine's speed drifts. The result of a point is its median
over the rounds. Writes OUT.csv, OUT.md and OUT.png at the end.
"""

import argparse
import collections
import csv
import io
import math
import os
import pathlib
import re
import shlex
import signal
import statistics
import subprocess
import sys

try:
    from matplotlib.figure import Figure
except ModuleNotFoundError as missing:
    sys.exit(f"growth.py: missing: {missing.name}: install the package python3-matplotlib")

HERE = pathlib.Path(__file__).resolve().parent
TRAIN_IMAGES, TEST_IMAGES = 50000, 10000  # CIFAR-10's
MAX_STEPS = 4  # times --steps, for small points: bench measures BLAS again after every ten steps

# The total of a step in ms, its GFLOP/s, and percent of BLAS if one was found. If the device records
# steps, a second such line has the time of a recorded step, which is what training runs.
TOTAL = r"^(?:total|recorded as a graph) +([\d.]+) +[\d.]+% +([\d.]+)(?: +([\d.]+)%)?"

# The arguments of one bench; threads is None on a GPU.
Point = collections.namedtuple("Point", "batch iterations threads")
# The results of one bench; None if it printed none.
Figures = collections.namedtuple(
    "Figures", "train_ms test_ms train_images_per_s train_gflops train_of_blas_percent")
TITLES = {"batch": "Batch size", "iterations": "Iterations", "threads": "Threads"}


def fail(*parts):
    sys.exit("growth.py: " + ": ".join(str(part) for part in parts))


def whole_numbers(option, text):
    """Parses "1,2,5" -> the set of numbers."""
    words = text.split(",")
    if not all(re.fullmatch("[1-9][0-9]{0,5}", word) for word in words):
        fail("bad value", option, f"'{text}' is not a list of whole numbers from 1 to 999999")
    return {int(word) for word in words}


def whole_number(option, text):
    numbers = whole_numbers(option, text)
    if len(numbers) != 1:
        fail("bad value", option, f"'{text}' is not one whole number")
    return numbers.pop()


# ---- measuring ----


def run(command):
    """Returns the standard output of a command that must succeed."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        fail("cannot run", command[0], error.strerror)
    if result.returncode:
        fail("failed", shlex.join(command), result.stderr.strip() or f"ended with {result.returncode}")
    return result.stdout


def steps_for(steps, published, point):
    """The number of steps with which all points take about the same time; odd, for the median."""
    work = point.batch * point.iterations / (published.batch * published.iterations)
    return max(1, min(MAX_STEPS * steps, round(steps / work))) | 1


def bench(args, published, point):
    """Runs bench for a point -> the device's name, Figures."""
    command = [str(args.program), "bench", "--device", args.device, "--batch-size",
               str(point.batch), "--iterations", str(point.iterations), "--steps",
               str(steps_for(args.steps, published, point))]
    if point.threads:
        command += ["--threads", str(point.threads)]
    text = run(command)
    totals = [re.findall(TOTAL, section, re.MULTILINE)[-1:] for section in text.split("\ntest batch")]
    rates = re.findall(r"^([\d.]+) images/s", text, re.MULTILINE)
    device = re.match(r"([^;\n]+); ", text)
    if len(totals) != 2 or not all(totals) or len(rates) != 2 or not device:
        fail("unexpected output", shlex.join(command),
             "a device, two totals and two rates were expected")
    [(train, gflops, share)], [(test, _, _)] = totals
    return device[1], Figures(float(train), float(test), float(rates[0]), float(gflops),
                              float(share) if share else None)


def median_of(values):
    return None if None in values else statistics.median(values)


def measure(args, published, points):
    """-> the device's name, {point: medians over the rounds}."""
    measured = {point: [] for point in points}
    for number in range(args.rounds):
        for point in points:
            name, found = bench(args, published, point)
            measured[point].append(found)
            if point == published:
                device = name
            print(f"round {number + 1} of {args.rounds}: {in_words(point)}: training step "
                  f"{found.train_ms:.3f} ms, test batch {found.test_ms:.3f} ms", flush=True)
    return device, {point: Figures(*map(median_of, zip(*figures)))
                    for point, figures in measured.items()}


def in_words(point, varied=None):
    """Describes all settings of a point except the varied one."""
    def words(number, name):
        return f"{number} {name}{'' if number == 1 else 's'}"
    parts = {"batch": f"batches of {point.batch}",
             "iterations": words(point.iterations, "iteration"),
             "threads": words(point.threads, "thread") if point.threads else None}
    return ", ".join(text for name, text in parts.items() if text and name != varied)


# ---- writing ----


def rows_of(varied, points, medians, published):
    """The rows of OUT.csv for one varied quantity, including the published point."""
    base = medians[published]
    for point in points:
        figures = medians[point]
        row = {"varied": varied, **point._asdict(), **figures._asdict(),
               "train_relative": figures.train_ms / base.train_ms,
               "test_relative": figures.test_ms / base.test_ms,
               "train_epoch_s": None, "test_epoch_s": None}
        if varied == "batch":
            row["train_epoch_s"] = figures.train_ms * TRAIN_IMAGES / point.batch * 1e-3
            row["test_epoch_s"] = figures.test_ms * TEST_IMAGES / point.batch * 1e-3
        yield row


def as_csv(series):
    rows = [{name: f"{value:.6g}" if isinstance(value, float) else value
             for name, value in row.items()} for rows in series.values() for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def digits(value):
    """Formats a measurement with at least three digits; "" for None."""
    if value is None:
        return ""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def as_table(varied, rows):
    columns = [(TITLES[varied].lower(), varied), ("training step (ms)", "train_ms"),
               ("relative", "train_relative"), ("test batch (ms)", "test_ms"),
               ("relative", "test_relative"), ("images/s in training", "train_images_per_s"),
               ("GFLOP/s", "train_gflops")]
    if all(row["train_of_blas_percent"] is not None for row in rows):
        columns.append(("% of BLAS", "train_of_blas_percent"))
    if varied == "batch":
        columns += [("training epoch (s)", "train_epoch_s"), ("test epoch (s)", "test_epoch_s")]
    lines = ["| " + " | ".join(title for title, _ in columns) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [str(row[varied]), *(digits(row[name]) for _, name in columns[1:])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def as_markdown(args, series, published, device, version):
    counted = "one round" if args.rounds == 1 else f"{args.rounds} rounds"
    *others, last = (TITLES[varied].lower() for varied in series)
    text = f"""# Time against {', '.join(others)} and {last}

{device}; {version}; medians of {counted}. Relative: to {in_words(published)}, as published.

    {shlex.join(sys.argv)}

![Milliseconds of a training step and a test batch]({args.out.name}.png)
"""
    for varied, rows in series.items():
        text += f"\n## {TITLES[varied]}\n\n{in_words(published, varied).capitalize()}."
        if varied == "batch":
            text += (f" An epoch is {TRAIN_IMAGES} training images or {TEST_IMAGES} test images at "
                     "the time of the step.")
        text += f"\n\n{as_table(varied, rows)}\n"
    return text


def draw(series, published, device):
    figure = Figure(figsize=(4.3 * len(series), 4), layout="constrained")
    panels = figure.subplots(1, len(series), squeeze=False)
    figure.suptitle(device, fontsize=10)
    for panel, (varied, rows) in zip(panels[0], series.items()):
        across = [row[varied] for row in rows]
        for name, label in (("train_ms", "training step"), ("test_ms", "test batch")):
            times = [row[name] for row in rows]
            line, = panel.plot(across, times, marker="o", markersize=3, label=label)
            if varied == "threads":
                smooth = [across[0] + k / 50 * (across[-1] - across[0]) for k in range(51)]
                panel.plot(smooth, [times[0] * across[0] / threads for threads in smooth],
                           linestyle="--", linewidth=0.8, color=line.get_color(),
                           label=f"{label}, ideal: 1/n")
        if varied == "batch":
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.minorticks_off()
            panel.set_xticks(across, map(str, across), fontsize=8)
            panel.yaxis.set_major_formatter("{x:g}")
        else:
            panel.set_ylim(bottom=0)
            panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_xlabel(TITLES[varied].lower())
        panel.set_title(in_words(published, varied), fontsize=9)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    panels[0][0].set_ylabel("ms")
    return figure


def write(out, table, text, figure):
    """Writes all three files under temporary names and then renames them."""
    parts = [pathlib.Path(f"{out}.{kind}.part") for kind in ("csv", "md", "png")]
    try:
        parts[0].write_text(table, encoding="utf-8")
        parts[1].write_text(text, encoding="utf-8")
        figure.savefig(parts[2], format="png", dpi=110)
        for part in parts:
            part.replace(part.with_suffix(""))
    except OSError as error:
        fail("cannot write", error.filename or out, error.strerror)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


# ---- the command line ----


def parse():
    """Parses the command line -> options, {quantity: its values}, the published network's point."""
    processors = len(os.sched_getaffinity(0))
    doublings = [2 ** power for power in range(processors.bit_length())]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--program", default=HERE.parent / "build" / "nnmf-train")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=pathlib.Path, help="output files, without .csv, .md and .png")
    parser.add_argument("--steps", default="10", help="for the published network; more for"
                        " points with less work, fewer for points with more [default=10]")
    parser.add_argument("--rounds", default="3", help="[default=3]")
    parser.add_argument("--batches", default="1,2,5,10,20,50,100,200,500,1000", metavar="N,N,...")
    parser.add_argument("--iterations", default="1,2,5,10,20,40", metavar="N,N,...")
    parser.add_argument("--threads", metavar="N,N,...", help="CPU threads [default=1,2,4 and so on]")
    args = parser.parse_args()
    args.steps = whole_number("--steps", args.steps)
    args.rounds = whole_number("--rounds", args.rounds)
    args.out = args.out or HERE / "results" / f"growth-{args.device}"
    lists = {"batch": whole_numbers("--batches", args.batches),
             "iterations": whole_numbers("--iterations", args.iterations)}
    if args.device == "cpu":
        lists["threads"] = (whole_numbers("--threads", args.threads) if args.threads is not None
                            else set(doublings))
    elif args.threads is not None:
        fail("bad option", "--threads", "only --device cpu varies threads")
    if not args.out.name or not os.access(args.out.parent, os.W_OK | os.X_OK):
        fail("cannot write", args.out, "a name in a writable folder was expected")
    return args, lists, Point(50, 20, processors if args.device == "cpu" else None)


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    args, lists, published = parse()
    lines = {varied: [published._replace(**{varied: number})
                      for number in sorted(numbers | {getattr(published, varied)})]
             for varied, numbers in lists.items()}
    points = [point for line in lines.values() for point in line]
    try:
        version = ", ".join(run([str(args.program), "--version"]).splitlines())
        device, medians = measure(args, published, points)
        series = {varied: list(rows_of(varied, line, medians, published))
                  for varied, line in lines.items()}
        write(args.out, as_csv(series), as_markdown(args, series, published, device, version),
              draw(series, published, device))
    except KeyboardInterrupt:
        fail("interrupted", args.out, "nothing was written")
    print(f"written: {args.out}.csv, .md and .png")


if __name__ == "__main__":
    main()
