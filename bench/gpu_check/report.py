"""Renders a result as Markdown."""

import math

from gpu_check.work import TEST_IMAGES, TRAIN_IMAGES, counted, limit_ms


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
            limit, by = limit_ms(name, work, limits) if limits.get("fp32_flops") else (None, "")
            share = f"{100 * limit / ms:.0f} %" if limit and ms else "-"
            flops, bytes_ = work.get(name, (0, 0))
            rows.append((name, f"{ms:.3f}", f"{flops * 1e-9:.2f}" if flops else "-",
                         f"{bytes_ * 1e-6:.1f}" if bytes_ else "-", number(limit, ".4f"), share,
                         by))
        lines += table((title, "ms", "GFLOP", "MB", "limit (ms)", "limit/ms", "by"), rows)
    return lines + failed_output(entry)


def render_epochs(result):
    entries, lines = result.get("epochs", []), ["## Epochs", ""]
    references = {(entry["mode"], times["batch_size"]): times for entry in result.get("pytorch", [])
                  for times in entry["times"]}
    references = sorted(references.items(), key=lambda item: (item[0][1], item[0][0]))
    rows = []
    for e in entries:
        at_once = f", {e['at_once']} test batches at once" if e["at_once"] > 1 else ""
        rows.append((e["batch"], f"{e['kernel']}, {e['precision']}{at_once}",
                     number(e.get("train_s")), number(e.get("test_s")), e["how"], e["status"]))
    for (mode, batch), times in references:
        rows.append((batch, f"PyTorch, {mode}",
                     number(times["train_ms"] * math.ceil(TRAIN_IMAGES / batch) * 1e-3),
                     number(times["test_ms"] * math.ceil(TEST_IMAGES / batch) * 1e-3),
                     f"{times['train_ms']:.2f} and {times['test_ms']:.2f} ms a step, no "
                     "augmentation", "ok"))
    rows.sort(key=lambda cells: cells[0])
    lines += [f"Seconds for {TRAIN_IMAGES} training and {TEST_IMAGES} test images; published, on "
              "an RTX 4090 at batch 50: 12.0 training.", ""]
    lines += table(("batch", "what", "training (s)", "testing (s)", "measured as", "status"), rows)
    ours = {e["batch"]: e for e in entries
            if (e["kernel"], e["precision"], e["at_once"]) == ("fused", "fp32", 1)}
    ratios = []
    for (mode, batch), times in references:
        if ours.get(batch, {}).get("train_s"):
            theirs = times["train_ms"] * math.ceil(TRAIN_IMAGES / batch) * 1e-3
            ratios.append(f"{theirs / ours[batch]['train_s']:.1f} ({mode}, batch {batch})")
    if ratios:
        lines += ["PyTorch's training time divided by ours: " + ", ".join(ratios) + ".", ""]
    lines += ["Commands:", ""]
    for entry in [*entries, *result.get("pytorch", [])]:
        lines.append(f"- `{entry['command']}`: {entry['status']}, {entry['seconds']} s")
    lines.append("")
    for entry in [*entries, *result.get("pytorch", [])]:
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
    """-> the result as Markdown."""
    device, limits = result["device"], result.get("ceilings", {})
    lines = [f"# {device['name']}", "",
             "Written by `scripts/gpu-check`. The command beside each number measured it.", ""]
    facts = [("GPU", device["name"]), ("driver", device.get("driver_version")),
             ("CUDA", f"{limits.get('runtime_cuda', '?')} (driver: up to "
                      f"{limits.get('driver_cuda', '?')})"),
             ("memory", device.get("memory.total")), ("maximum clock", device.get("clocks.max.sm")),
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
                  "The host waits for each operation, so each time includes launches and the wait; "
                  "a recorded step (Epochs) has neither. *limit*: the maximum of two times, of its "
                  "floating point operations at the float32 ceiling and of its bytes, each moved "
                  "once, at the copy bandwidth. Both rates were measured in this run. An operation "
                  "whose data stay in the L2 cache can be faster than its limit.",
                  ""]
        for entry in result["operations"]:
            lines += render_operations(entry, limits)
    if "epochs" in result or "pytorch" in result:
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
