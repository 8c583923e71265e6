"""Runs commands and writes files, for the other modules."""

import datetime
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAIL = 25  # lines of a failed command's output to keep


def die(text, status=1):
    print(f"gpu-check: {text}", file=sys.stderr)
    sys.exit(status)


def say(text):
    print(f"gpu-check: {text}", flush=True)


class Outcome:
    def __init__(self, command, status, output, seconds):
        self.command, self.status, self.output, self.seconds = command, status, output, seconds

    @property
    def good(self):
        return self.status == "ok"

    def entry(self, **more):
        """-> the command's entry in the JSON file."""
        kept = {"command": self.command, "status": self.status, "seconds": round(self.seconds, 1)}
        if not self.good:
            kept["output"] = self.output.splitlines()[-TAIL:]
        return kept | more


def plain(path):
    """The path relative to the root of the repository, if it is below it."""
    text = str(path)
    return text[len(str(ROOT)) + 1:] if text.startswith(f"{ROOT}/") else text


def stop(process):
    """Interrupts the process group as Ctrl-C does; if that does not end it, kills it."""
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
    """Runs a command for at most `seconds` -> Outcome, with its output so far."""
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
            status = f"timed out after {seconds:.0f} s"
        except BaseException:
            stop(process)
            raise
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Outcome(shown, status, text, time.monotonic() - started)


def write_file(path, text):
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.rename(path)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def file_name(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "gpu"
