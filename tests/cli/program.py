"""Shared by the tests of the command line: running the program, making data, reading files.

Environment:
    NNMF_TRAIN      the program (default: build/nnmf-train)
    NNMF_WRAPPER    a command to run it with, such as valgrind -q --error-exitcode=99
    NNMF_TEST_DATA  folder with synthetic data: cifar10/ (default: a temporary folder)
"""

import atexit
import json
import os
import pathlib
import pty
import re
import resource
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).resolve().parents[1]
FIXTURES = TESTS / "fixtures"
sys.path.insert(0, str(FIXTURES))
import make_fixtures  # noqa: E402

PROGRAM = os.path.abspath(os.environ.get("NNMF_TRAIN", TESTS.parent / "build" / "nnmf-train"))
WRAPPER = shlex.split(os.environ.get("NNMF_WRAPPER", ""))
TIMEOUT = 3000 if WRAPPER else 300

# A small run: few images and iterations, with the small network.
SMALL = ["--dataset", "mnist", "--iterations", "2", "--batch-size", "5"]


def is_sanitized():
    return b"__asan_init" in pathlib.Path(PROGRAM).read_bytes()


def temporary_folder():
    """Makes a folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="nnmf-cli-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pathlib.Path(folder)


_made = {}


def cifar10_folder():
    """-> a folder with CIFAR-10 files of the official sizes."""
    given = os.environ.get("NNMF_TEST_DATA")
    if given and (pathlib.Path(given) / "cifar10").is_dir():
        return pathlib.Path(given).resolve() / "cifar10"
    if "cifar10" not in _made:
        _made["cifar10"] = temporary_folder()
        make_fixtures.write_cifar10(_made["cifar10"])
    return _made["cifar10"]


def write_idx_folder(folder, train, test, compress=False):
    """Writes MNIST-like files with these numbers of images."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, first, count in (("train", 0, train), ("t10k", make_fixtures.TEST_FIRST, test)):
        pixels = make_fixtures.images("mnist", first, count)[:, 0]
        make_fixtures.write_idx(folder / f"{prefix}-images-idx3-ubyte", pixels, compress)
        labels = make_fixtures.labels(first, count)
        make_fixtures.write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels, compress)
    return folder


def mnist_folder(train=60, test=30, compress=False):
    key = (train, test, compress)
    if key not in _made:
        _made[key] = write_idx_folder(temporary_folder(), train, test, compress)
    return _made[key]


# ---- safetensors ----


def split_safetensors(content):
    """-> header as a dict, the bytes after it."""
    start = 8 + struct.unpack_from("<Q", content)[0]
    return json.loads(content[8:start]), content[start:]


def join_safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def read_checkpoint(path):
    """-> dict of arrays, dict of metadata."""
    header, _ = split_safetensors(pathlib.Path(path).read_bytes())
    return make_fixtures.read_safetensors(path), header.get("__metadata__", {})


# ---- running ----


class Result:
    def __init__(self, command, status, out, err):
        self.command, self.status, self.out, self.err = command, status, out, err

    def __str__(self):
        return (
            f"\ncommand: {shlex.join(map(str, self.command))}\nexit status: {self.status}"
            f"\n---- standard output\n{self.out}\n---- standard error\n{self.err}\n----"
        )

    def error_lines(self):
        """Standard error without the wrapper's own lines."""
        lines = self.err.splitlines()
        return [line for line in lines if not (WRAPPER and line.startswith("=="))]


def command_line(arguments):
    return [*WRAPPER, PROGRAM, *map(str, arguments)]


def environment(changes=None):
    env = {k: v for k, v in os.environ.items() if k != "NNMF_DATA"}
    env.setdefault("OMP_WAIT_POLICY", "passive")  # does not slow down tests in parallel
    for key, value in (changes or {}).items():
        env.pop(key, None) if value is None else env.update({key: str(value)})
    return env


def without_fallback(text):
    """Removes the line that explains why no GPU is used, where one might have been."""
    return re.sub(r"\Annmf-train: using the CPU: .*\n", "", text)


def execute(*arguments, env=None, cwd=None, prepare=None, stdout=subprocess.PIPE):
    """Runs the program; calls `prepare` in the child process first."""
    command = command_line(arguments)
    done = subprocess.run(
        command, env=environment(env), cwd=cwd, preexec_fn=prepare, stdout=stdout,
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False,
    )
    out = (done.stdout or b"").decode(errors="replace")
    errors = without_fallback(done.stderr.decode(errors="replace"))
    return Result(command, done.returncode, out, errors)


def limit(which, value):
    """-> a function for `prepare`."""
    return lambda: resource.setrlimit(which, (value, value))


def instruction_sets():
    """-> the program's instruction sets that this processor supports according to the kernel, best
    first; None if that is unknown."""
    needed = {"avx512": "avx512f avx512dq avx512vl avx512bw", "avx2": "avx2 fma", "portable": ""}
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    line = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return [name for name, words in needed.items() if flags.issuperset(words.split())]


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {TIMEOUT} s")
        time.sleep(0.01)


class Running:
    """Runs the program in the background, with a pipe or a terminal as standard output. Calls
    `prepare` in the child process first. `before`: words in front of the command."""

    def __init__(self, *arguments, terminal=False, prepare=None, before=()):
        self.command = [*before, *command_line(arguments)]
        self.seen = b""
        self.errors = tempfile.TemporaryFile()
        self.source, target = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            self.command, env=environment(), stdout=target, stderr=self.errors,
            stdin=subprocess.DEVNULL, preexec_fn=prepare,
        )
        os.close(target)

    def _read(self, deadline):
        """Reads some output -> False at its end."""
        ready, _, _ = select.select([self.source], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            self.process.kill()
            raise TimeoutError(str(self.result()))
        try:
            some = os.read(self.source, 65536)
        except OSError:  # the end of a terminal's output
            some = b""
        self.seen += some
        return bool(some)

    def wait_for(self, text):
        deadline = time.monotonic() + TIMEOUT
        while text not in self.seen:
            if not self._read(deadline):
                raise EOFError(f"no {text!r} in{self.finish()}")

    def leave(self):
        """Stops reading the output."""
        os.close(self.source)
        self.source = None

    def signal(self, number):
        self.process.send_signal(number)

    def result(self):
        self.errors.seek(0)
        err = without_fallback(self.errors.read().decode(errors="replace"))
        out = self.seen.decode(errors="replace")
        return Result(self.command, self.process.returncode, out, err)

    def finish(self):
        deadline = time.monotonic() + TIMEOUT
        while self.source is not None and self._read(deadline):
            pass
        self.process.wait(TIMEOUT)
        if self.source is not None:
            self.leave()
        result = self.result()
        self.errors.close()
        return result


# ---- asserting ----


class ProgramTest(unittest.TestCase):
    """Each test has its own empty folder, self.folder."""

    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nnmf-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def succeed(self, *arguments, **how):
        result = execute(*arguments, **how)
        self.check_success(result)
        return result

    def check_success(self, result):
        self.assertEqual(result.status, 0, result)
        self.assertEqual(result.error_lines(), [], result)

    def check_clean(self, result):
        """Checks that there is no crash and no report of a sanitizer or the C library."""
        for word in ("Sanitizer", "runtime error", "libgomp", "terminated", "corrupted"):
            self.assertNotIn(word, result.err, result)
        self.assertNotEqual(result.status, 99 if WRAPPER else None, result)

    def check_failure(self, result, status, *mentioned):
        """Checks the status, and one line "nnmf-train: what: which: expected" naming `mentioned`."""
        self.check_clean(result)
        self.assertEqual(result.status, status, result)
        lines = result.error_lines()
        self.assertEqual(len(lines), 1, result)
        self.assertTrue(result.err.endswith("\n"), result)
        self.assertTrue(lines[0].startswith("nnmf-train: "), result)
        parts = lines[0].removeprefix("nnmf-train: ").split(": ")
        self.assertGreaterEqual(len(parts), 3, result)
        self.assertTrue(all(part.strip() for part in parts), result)
        for text in mentioned:
            self.assertIn(str(text), lines[0], result)

    def fail_with(self, status, *arguments, mention=(), out="", **how):
        """`out`: the expected standard output; None: any."""
        result = execute(*arguments, **how)
        mention = (mention,) if isinstance(mention, (str, pathlib.Path)) else mention
        self.check_failure(result, status, *mention)
        if out is not None:
            self.assertEqual(result.out, out, result)
        return result

    def check_no_leftovers(self, folder):
        parts = [path for path in pathlib.Path(folder).rglob("*.part")]
        self.assertEqual(parts, [])

    def check_same_checkpoint(self, one, other, ignored=("train_seconds",)):
        """Checks that the files are equal except for the seconds in the metadata."""
        contents = []
        for path in (one, other):
            header, data = split_safetensors(pathlib.Path(path).read_bytes())
            for key in ignored:
                header.get("__metadata__", {}).pop(key, None)
            contents.append((header, data))
        self.assertEqual(contents[0][0], contents[1][0], f"headers of {one} and {other}")
        self.assertTrue(contents[0][1] == contents[1][1], f"data of {one} and {other} differ")


class CopiedRunTest(ProgramTest):
    """Each test has its own copy of a run made with train_options(): self.run_folder and its files."""

    @staticmethod
    def train_options():
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.original = temporary_folder() / "run"
        result = execute("train", *cls.train_options(), "--out", cls.original)
        assert result.status == 0, result

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        shutil.copytree(self.original, self.run_folder)
        self.config = self.run_folder / "config.json"
        self.last, self.best = (self.run_folder / f"{name}.safetensors" for name in ("last", "best"))

    def refused(self, *mention, status=1, options=()):
        """Checks that --resume refuses the run and changes no file."""
        before = {path.name: path.read_bytes() for path in self.run_folder.iterdir()}
        self.fail_with(status, "--resume", self.run_folder, *options, mention=mention)
        after = {path.name: path.read_bytes() for path in self.run_folder.iterdir()}
        self.assertEqual(after, before, "the run was changed")


def metrics_rows(run, seconds=False):
    """-> rows of metrics.csv; without the last two columns unless `seconds`."""
    rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    return rows if seconds else [row[:-2] for row in rows]


def main():
    unittest.main(verbosity=2)
