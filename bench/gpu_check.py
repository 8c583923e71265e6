#!/usr/bin/env python3
"""Runs the GPU tests, sanitizers and benchmarks of scripts/gpu-check, and writes the report.

    bench/gpu_check.py BUILD [--seconds 480] [--results bench/results] [--commit ID]
    bench/gpu_check.py BUILD --train [EPOCHS]
    bench/gpu_check.py --render RESULT.json     renders the Markdown of a result again

Every part has its own time limit. If a part exceeds it or fails, the report records that and the
check continues. The result is written after each part. The modules are in the folder gpu_check.
"""

import argparse
import json
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH

from gpu_check.commands import ROOT, die, execute, plain, say, write_file  # noqa: E402
from gpu_check.curve import PUBLISHED_EPOCHS, train  # noqa: E402
from gpu_check.parts import PARTS, Check  # noqa: E402
from gpu_check.report import render  # noqa: E402


def read_device():
    """Name, driver and clocks, as reported by nvidia-smi."""
    fields = ("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit",
              "compute_cap")
    outcome = execute(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
                      20)
    if not outcome.good or not outcome.output.strip():
        die("no GPU: nvidia-smi: a GPU and its driver were expected")
    values = [value.strip() for value in outcome.output.splitlines()[0].split(",")]
    return dict(zip(fields, values))


def main():
    parser = argparse.ArgumentParser(prog="gpu-check", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=ROOT / "build-gpu")
    parser.add_argument("--seconds", type=float, default=480, help="time limit of the whole check [480]")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "bench" / "results")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--train", type=int, nargs="?", const=PUBLISHED_EPOCHS, metavar="EPOCHS")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[],
                        help="passed to nnmf-train by --train")
    parser.add_argument("--render", type=pathlib.Path, metavar="RESULT.json")
    args = parser.parse_args()
    if args.render:
        write_file(args.render.with_suffix(".md"), render(json.loads(args.render.read_text())))
        return 0
    args.results = args.results.resolve()
    found = execute([args.build.resolve() / "tests" / "gpu" / "with_gpu"], 60)
    if not found.good:
        die((found.output.strip().splitlines() or [found.status])[-1].removeprefix("with_gpu: "))
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
