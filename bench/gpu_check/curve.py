"""Runs the full training and compares its curve with the published one."""

import csv
import math
import os
import pathlib
import shlex
import subprocess

from gpu_check import commands, parts
from gpu_check.commands import die, file_name, now, plain, say, write_file
from gpu_check.report import table
from gpu_check.work import TEST_IMAGES, TRAIN_IMAGES

PUBLISHED_EPOCHS, TARGET = 370, 8500


def drops_of(losses):
    """Epochs after which the learning rate drops: reduce on plateau, patience 10, 1e-4."""
    best, bad, drops = math.inf, 0, []
    for epoch, loss in enumerate(losses):
        best, bad = (loss, 0) if loss < best * (1 - 1e-4) else (best, bad + 1)
        if bad > 10:
            drops.append(epoch)
            bad = 0
    return drops


def percent(text, images):
    return f"{100 * int(text) / images:.2f}" if text else ""


def side_by_side(ours, published):
    """-> rows with both curves, one per epoch."""
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
    """Writes both curves as CSV, and as Markdown the epochs at the drops."""
    ours = parts.read_curve(run / "metrics.csv")
    if not ours:
        die(f"nothing trained: {run / 'metrics.csv'}: at least one epoch was expected")
    published = parts.read_curve(published_path) if published_path else {}
    rows = side_by_side(ours, published)
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
        lines += ["The published curve is missing: $NNMF_REFERENCE/training_curve.csv.", ""]
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
    """Trains all epochs, or the remaining ones of an interrupted run -> exit status."""
    data = parts.real_data()
    name = "-".join([device["name"], *(word.lstrip("-") for word in args.options)])
    run = commands.ROOT / "runs" / f"gpu-{file_name(name)}"
    options = ["--epochs", str(args.train), "--device", "cuda"]
    if (run / "last.safetensors").exists():
        command = [args.build.resolve() / "nnmf-train", "--resume", run, *options]
    elif data:
        command = [args.build.resolve() / "nnmf-train", "train", "--data", data, "--out", run,
                   *options, *args.options]  # a resumed run has them in its config.json
    else:
        die("no data: CIFAR-10: $NNMF_DATA or data/cifar10 was expected to hold it "
            "(scripts/fetch-data cifar10)")
    shown = shlex.join([plain(word) for word in command])
    say(shown)
    process = subprocess.Popen([str(word) for word in command], cwd=commands.ROOT)
    status = None
    while status is None:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            pass  # the program received the signal too and saves a checkpoint
    reference = os.environ.get("NNMF_REFERENCE")
    published = pathlib.Path(reference) / "training_curve.csv" if reference else None
    if (run / "metrics.csv").exists():
        write_curves(run, published if published and published.exists() else None,
                     args.results / f"{file_name(name)}-training", device, args.commit,
                     shown)
    return status if status >= 0 else 128 - status
