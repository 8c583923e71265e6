#!/usr/bin/env python3
"""nnmf-train against its PyTorch twin on the CPU, in Markdown: bench/results/cpu-*.md.

    bench/compare.py [--program build/nnmf-train] [--threads 2] [--rounds 3] [--steps 10]

They are run in turn, several rounds, for the machine's speed drifts; a ratio is
taken within a round, and the median over the rounds is what counts. The twin is
timed as published (features apart in memory) and the faster way (--rows). What
nnmf-train says of its operations in the last round follows.
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
    """Standard output of a command that must succeed."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"compare.py: {' '.join(map(str, command))}: {result.stderr.strip()}")
    return result.stdout


def ours(args):
    """Milliseconds of a training step and a test batch, BLAS GFLOP/s, the step's GFLOP/s; all."""
    text = run([args.program, "bench", "--device", "cpu", "--threads", args.threads,
                "--steps", args.steps])
    totals = re.findall(r"^total +([\d.]+) +100\.0% +([\d.]+)", text, re.MULTILINE)
    blas = re.search(r"^BLAS: ([\d.]+) GFLOP/s", text, re.MULTILINE)
    (train, rate), (test, _) = totals
    return float(train), float(test), float(blas.group(1)) if blas else None, float(rate), text


def twin(args, *options):
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

    version = ", ".join(run([args.program, "--version"]).splitlines())
    rows = []
    print(f"# The CPU against PyTorch\n\n{version}; batches of 50, {args.threads} threads each.\n\n"
          f"    {shlex.join(sys.argv)}\n")
    print("| round | step (ms) | published way (ms) | ratio | rows (ms) | ratio "
          "| test batch (ms) | published way (ms) | ratio | step's share of BLAS |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    line = "| {} | {:.1f} | {:.1f} | {:.2f} | {:.1f} | {:.2f} | {:.1f} | {:.1f} | {:.2f} | {:.0f} % |"
    for number in range(args.rounds):
        train, test, blas, rate, operations = ours(args)
        published, published_test, torch = twin(args)
        better, _, _ = twin(args, "--rows")
        share = 100 * rate / blas if blas else float("nan")
        rows.append((train, published, published / train, better, better / train,
                     test, published_test, published_test / test, share))
        print(line.format(number + 1, *rows[-1]), flush=True)
    print(line.format("**median**", *(statistics.median(column) for column in zip(*rows))))
    print(f"\nPyTorch {torch}. nnmf-train's operations in the last round:\n\n```\n{operations}```")


if __name__ == "__main__":
    main()
