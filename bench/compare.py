#!/usr/bin/env python3
"""Compares nnmf-train with the PyTorch reference on the CPU, in Markdown: bench/results/cpu-*.md.

    bench/compare.py [--program build/nnmf-train] [--threads 2] [--rounds 3] [--steps 10]

Runs both alternately for several rounds, because the machine's speed drifts. Ratios are
taken within a round; the last row has the medians over the rounds. PyTorch is timed as
published (strided features) and in a faster variant (--rows: contiguous features). The
table of operations that nnmf-train printed in the last round follows.
"""

import argparse
import json
import pathlib
import re
import shlex
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def run(command):
    """Returns the standard output of a command that must succeed."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"compare.py: {' '.join(map(str, command))}: {result.stderr.strip()}")
    return result.stdout


def ours(args):
    """-> ms of a training step and of a test batch, GFLOP/s of BLAS and of the step, all output."""
    text = run([args.program, "bench", "--device", "cpu", "--threads", args.threads,
                "--steps", args.steps])
    totals = re.findall(r"^total +([\d.]+) +100\.0% +([\d.]+)", text, re.MULTILINE)
    blas = re.search(r"^BLAS: ([\d.]+) GFLOP/s", text, re.MULTILINE)
    (train, rate), (test, _) = totals
    return float(train), float(test), float(blas.group(1)) if blas else None, float(rate), text


def pytorch(args, *options):
    """-> ms of a training step and of a test batch, the version of PyTorch."""
    result = json.loads(run([sys.executable, HERE / "torch_nnmf.py", "time", "--json",
                             "--threads", args.threads, "--steps", args.steps, *options]))
    return result["train_ms"], result["test_ms"], result["torch"]


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--program", default=HERE.parent / "build" / "nnmf-train")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", default="10")
    args = parser.parse_args()

    program = ", ".join(run([args.program, "--version"]).splitlines())
    rows = []
    print(f"# The CPU against PyTorch\n\n{program}; batches of 50, {args.threads} threads each.\n\n"
          f"    {shlex.join(sys.argv)}\n")
    print("| round | step (ms) | published (ms) | ratio | rows (ms) | ratio "
          "| test batch (ms) | published (ms) | ratio | step, % of BLAS |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    line = "| {} | {:.1f} | {:.1f} | {:.2f} | {:.1f} | {:.2f} | {:.1f} | {:.1f} | {:.2f} | {:.0f} % |"
    for number in range(args.rounds):
        train, test, blas, rate, operations = ours(args)
        published, published_test, version = pytorch(args)
        contiguous, _, _ = pytorch(args, "--rows")
        percent = 100 * rate / blas if blas else float("nan")
        rows.append((train, published, published / train, contiguous, contiguous / train,
                     test, published_test, published_test / test, percent))
        print(line.format(number + 1, *rows[-1]), flush=True)
    print(line.format("**median**", *(statistics.median(column) for column in zip(*rows))))
    print(f"\nPyTorch {version}. nnmf-train's operations in the last round:\n\n```\n{operations}```")


if __name__ == "__main__":
    main()
