"""Help, manual page, completions, --version, --quiet and --log-format.

NNMF_DOCUMENTS: the folder with the manual page and the completions (default: build/documents).
"""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import textwrap
import time
import unittest

import program
from program import SMALL, ProgramTest

COMMANDS = re.findall(r"^  (\w+) ", program.execute("--help", env={"COLUMNS": 300}).out
                      .split("Commands:")[1].split("\n\n")[0], re.MULTILINE)
SECTIONS = ["Data", "Network", "Training", "Files", "Device", "Output"]
DOCUMENTS = pathlib.Path(os.environ.get(
    "NNMF_DOCUMENTS", program.TESTS.parent / "build" / "documents")).resolve()
COMMIT_SCRIPT = program.TESTS.parent / "src" / "commit.cmake"


def options_of(text):
    return re.findall(r"^  --([\w-]+)", text, re.MULTILINE)


def needs(*tools):
    missing = [tool for tool in tools if not shutil.which(tool)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class HelpText(ProgramTest):
    def test_overview_comes_first(self):
        text = self.succeed("--help").out
        self.assertLess(text.index("Commands:"), text.index("Data:"))
        for command in ("train", "eval", "trace", "info", "bench"):
            self.assertIn(command, COMMANDS)
        self.assertEqual(options_of(text), options_of(self.succeed("train", "--help").out))

    def test_sections_and_defaults(self):
        text = self.succeed("train", "--help", env={"COLUMNS": 300}).out
        headings = [line[:-1] for line in text.splitlines() if re.fullmatch(r"[A-Z]\w+:", line)]
        self.assertEqual([name for name in headings if name in SECTIONS], SECTIONS)
        self.assertIn("images in a batch [default=50]", text)
        self.assertIn("[default=1e-9]", text)

    def test_every_option_is_of_a_command(self):
        for command in COMMANDS:
            names = options_of(self.succeed(command, "--help").out)
            self.assertEqual(len(names), len(set(names)))
            self.assertIn("help", names)

    def check_full(self, text, columns):
        """Each line has as many words as fit."""
        for paragraph in text.split("\n\n"):
            self.assertEqual(paragraph.strip("\n"), textwrap.fill(
                " ".join(paragraph.split()), columns, break_long_words=False, break_on_hyphens=False))

    def test_width(self):
        for columns in (30, 40, 59, 60, 80, 100, 200):
            for command in ([], *([name] for name in COMMANDS)):
                with self.subTest(columns=columns, command=command):
                    text = self.succeed(*command, "--help", env={"COLUMNS": columns}).out
                    lines = text.splitlines()
                    # A name or a word may be longer than a line.
                    longest = max(len(l) for l in lines if " " in l.strip() or len(l) <= columns)
                    self.assertLessEqual(longest, max(columns, 36), text)
                    if not command and 40 <= columns <= 100:
                        self.check_full(text.split("\nCommands:")[0], columns)
                    if columns == 200:
                        self.assertGreater(max(map(len, lines)), 80)

    def test_without_columns(self):
        for value in (None, "", "0", "x", "-5"):
            self.assertEqual(self.succeed("--help", env={"COLUMNS": value}).out,
                             self.succeed("--help", env={"COLUMNS": 80}).out)

    def test_terminal(self):
        """As wide as the terminal if COLUMNS is not set."""
        source, target = pty.openpty()
        fcntl.ioctl(target, termios.TIOCSWINSZ, struct.pack("4H", 24, 50, 0, 0))
        env = program.environment({"COLUMNS": None})
        command = program.command_line(["info", "--help"])
        with subprocess.Popen(command, stdout=target, env=env) as shown:
            os.close(target)
            seen = b""
            try:
                while some := os.read(source, 65536):
                    seen += some
            except OSError:  # the end of a terminal's output
                pass
        os.close(source)
        self.assertEqual(shown.returncode, 0)
        wanted = self.succeed("info", "--help", env={"COLUMNS": 50}).out
        self.assertEqual(seen.decode().replace("\r\n", "\n"), wanted)


class Suggestions(ProgramTest):
    def usage(self, *arguments, mention=()):
        return self.fail_with(2, *arguments, mention=mention)

    def test_options(self):
        for wrong, right in (("--epoch", "--epochs"), ("--epohcs=3", "--epochs"),
                             ("--batchsize", "--batch-size"), ("--lr-nmmf", "--lr-nnmf"),
                             ("--weihgts", None), ("--lr", "--lr-nnmf"), ("-epochs", "--epochs")):
            result = self.usage(wrong, mention=f"unknown option: '{wrong.split('=')[0]}'")
            if right:
                self.assertIn(f"did you mean '{right}'?", result.err)
            else:
                self.assertNotIn("did you mean", result.err)
        self.assertNotIn("did you mean", self.usage("--frobnicate").err)
        self.usage("eval", "--weihgts", "w", mention="did you mean '--weights'?")

    def test_no_abbreviations(self):
        self.usage("--no-shuf", mention="did you mean '--no-shuffle'?")

    def test_commands(self):
        self.usage("trian", mention="unknown command: 'trian': did you mean 'train'?")
        self.usage("evl", mention="did you mean 'eval'?")
        self.assertNotIn("did you mean", self.usage("frobnicate").err)
        self.usage("x" * 5000, mention="unknown command")

    def test_option_of_another_command(self):
        self.usage("info", "--epochs", 3, mention="option of another command: '--epochs'")

    def test_value_that_is_an_option(self):
        self.usage("--data", "--epochs", 3, mention="missing value: --data")


class Version(ProgramTest):
    def test_lines(self):
        lines = self.succeed("--version").out.splitlines()
        self.assertEqual(len(lines), 4)
        self.assertRegex(lines[0], r"\Annmf-train \d+\.\d+\.\d+\Z")
        self.assertRegex(lines[1], r"\Acommit: ([0-9a-f]{12,}(-changed)?|unknown)\Z")
        self.assertRegex(lines[2], r"\Acompiler: \w+ \d+")
        self.assertRegex(lines[3], r"\ACUDA: (none|\d+\.\d+)\Z")
        self.assertEqual(self.succeed("eval", "--version").out.splitlines(), lines)

    def commit(self, source):
        """Also in the environment of another repository's hook."""
        out = self.folder / "commit.h"
        subprocess.run(["cmake", f"-DSOURCE={source}", f"-DOUT={out}", "-P", COMMIT_SCRIPT],
                       check=True, env={**os.environ, "GIT_DIR": str(self.folder / "another"),
                                        "GIT_INDEX_FILE": str(self.folder / "index")})
        return re.search(r'NNMF_COMMIT "(.*)"', out.read_text())[1], out.stat().st_mtime_ns

    @needs("git", "cmake")
    def test_commit(self):
        source = self.folder / "source"
        inner = source / "inner"
        inner.mkdir(parents=True)
        self.assertEqual(self.commit(source)[0], "unknown")
        # Ignore the user's configuration, which may sign commits, and the repository of a hook.
        environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

        def git(*words):
            command = ["git", "-C", source, "-c", "user.name=n", "-c", "user.email=e", *words]
            return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                                  env=environment).stdout.decode()

        git("init", "-q")
        self.assertEqual(self.commit(source)[0], "unknown")  # no commit yet
        (source / "file").write_text("1")
        git("add", "file")
        git("commit", "-q", "-m", "one")
        first, when = self.commit(source)
        self.assertEqual(first, git("rev-parse", "HEAD")[:12])
        self.assertEqual(self.commit(source), (first, when))  # not written again
        self.assertEqual(self.commit(inner)[0], "unknown")  # in another project's checkout
        (source / "file").write_text("2")
        self.assertEqual(self.commit(source)[0], first + "-changed")
        git("commit", "-q", "-a", "-m", "two")
        second = self.commit(source)[0]
        self.assertNotIn(second, (first, "unknown"))
        self.assertNotIn("-", second)


class Output(ProgramTest):
    def setUp(self):
        super().setUp()
        self.options = [*SMALL, "--data", program.mnist_folder(), "--threads", 1]

    def train(self, *options, terminal=False):
        arguments = ["train", *self.options, "--epochs", 2, "--out", self.folder / "run", *options]
        if not terminal:
            return self.succeed(*arguments)
        result = program.Running(*arguments, terminal=True).finish()
        self.check_success(result)
        return result

    def test_quiet(self):
        for terminal in (False, True):
            with self.subTest(terminal=terminal):
                self.assertEqual(self.train("--quiet", terminal=terminal).out, "")
                self.assertEqual(len(program.metrics_rows(self.folder / "run")), 3)
                weights = self.folder / "run" / "best.safetensors"
                out = self.succeed("eval", *self.options, "--quiet", "--weights", weights).out
                self.assertRegex(out, r"\ATesting: Correct=[\d.]+% \(\d+ of 30\)\n\Z")
                shutil.rmtree(self.folder / "run")

    def test_quiet_failure_is_reported(self):
        self.fail_with(1, "--quiet", "--data", self.folder, mention=self.folder)

    def check_json(self, text):
        start, first, second, end = map(json.loads, text.splitlines())
        rows = program.metrics_rows(self.folder / "run", seconds=True)
        self.assertEqual(start["event"], "start")
        self.assertEqual((start["train_images"], start["test_images"]), (60, 30))
        self.assertEqual((start["batch_size"], start["steps"], start["epochs"]), (5, 12, 2))
        for number, (epoch, row) in enumerate(zip((first, second), rows[1:])):
            self.assertEqual((epoch.pop("event"), epoch["epoch"]), ("epoch", number))
            self.assertEqual(sorted(epoch), sorted(rows[0]))
            for name, value in zip(rows[0], row):
                self.assertAlmostEqual(epoch[name], float(value), delta=1e-3 if "sec" in name
                                       else 1e-8)
        self.assertEqual((end["event"], end["reason"], end["epoch"]), ("end", "done", 2))
        self.assertEqual(end["best_correct"], max(int(row[6]) for row in rows[1:]))
        self.assertEqual(end["last_correct"], int(rows[2][6]))
        self.assertEqual(end["folder"], str(self.folder / "run"))

    def test_json(self):
        for options in ((), ("--quiet",)):
            for terminal in (False, True):
                with self.subTest(options=options, terminal=terminal):
                    result = self.train("--log-format", "json", *options, terminal=terminal)
                    self.check_json(result.out.replace("\r\n", "\n"))
                    shutil.rmtree(self.folder / "run")

    def test_json_of_an_ended_run(self):
        lines = self.train("--log-format", "json", "--max-steps", 3).out.splitlines()
        end = json.loads(lines[-1])
        self.assertEqual([json.loads(line)["event"] for line in lines], ["start", "end"])
        self.assertEqual((end["reason"], end["epoch"], end["step"]), ("max-steps", 0, 3))
        self.assertNotIn("best_correct", end)

    def test_json_of_eval(self):
        self.train("--quiet")
        options = [*self.options, "--weights", self.folder / "run" / "best.safetensors"]
        result = json.loads(self.succeed("eval", *options, "--log-format", "json").out)
        text = self.succeed("eval", *options).out
        correct, images = re.search(r"\((\d+) of (\d+)\)", text).groups()
        self.assertEqual((result["event"], result["correct"], result["images"]),
                         ("test", int(correct), int(images)))
        self.assertAlmostEqual(result["accuracy"], int(correct) / int(images))


@unittest.skipUnless(DOCUMENTS.is_dir(), f"not built: {DOCUMENTS}")
class Manual(ProgramTest):
    page = DOCUMENTS / "nnmf-train.1"

    def check_silent(self, *command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b""))

    @needs("groff")
    def test_groff(self):
        self.check_silent("groff", "-man", "-ww", "-z", "-Tutf8", self.page)

    @needs("mandoc")
    def test_mandoc(self):
        self.check_silent("mandoc", "-T", "lint", "-W", "warning", self.page)

    @needs("man", "groff")
    def test_text(self):
        env = {**os.environ, "MANWIDTH": "78", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(["man", "--warnings", "-l", self.page], env=env, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.stderr, b"")
        text = done.stdout.decode()
        for command in COMMANDS:
            self.assertRegex(text, rf"\n {{7}}{command}\b")
            for option in options_of(self.succeed(command, "--help").out):
                self.assertRegex(text, rf"\n {{7}}--{option}\b")
        self.assertIn("Default: 1e\\-9.\n", self.page.read_text())


@unittest.skipUnless(DOCUMENTS.is_dir(), f"not built: {DOCUMENTS}")
class Completion(ProgramTest):
    def setUp(self):
        super().setUp()
        (self.folder / "weights one.safetensors").touch()
        (self.folder / "data folder").mkdir()

    def bash(self, *words):
        """The completions of bash for the last of the words, split as bash splits a line."""
        script = (f"source {DOCUMENTS}/nnmf-train.bash || exit\n"
                  "COMP_WORDS=(nnmf-train \"$@\") COMP_CWORD=$#\n"
                  "complete -p nnmf-train >/dev/null || exit\n"
                  "_nnmf_train nnmf-train \"${!#}\" x\n"
                  "printf '%s\\n' \"${COMPREPLY[@]}\"\n")
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", *words], cwd=self.folder,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode().split("\n")[:-1]

    @needs("bash")
    def test_bash(self):
        self.assertEqual(self.bash(""), COMMANDS)
        self.assertEqual(self.bash("ev"), ["eval"])
        for command in COMMANDS:
            names = [f"--{name}" for name in options_of(self.succeed(command, "--help").out)]
            self.assertEqual(self.bash(command, "--"), names)
        self.assertEqual(self.bash("--ep"), ["--epsilon", "--epochs"])
        self.assertEqual(self.bash("eval", "--epo"), [""])
        self.assertEqual(self.bash("--device", ""), ["auto", "cpu", "cuda"])
        self.assertEqual(self.bash("--device", "=", "cu"), ["cuda"])
        self.assertEqual(self.bash("--device", "="), ["auto", "cpu", "cuda"])
        self.assertEqual(self.bash("eval", "--weights", "we"), ["weights one.safetensors"])
        self.assertEqual(self.bash("eval", "--data", ""), ["data folder"])
        self.assertEqual(self.bash("--epochs", ""), [""])
        self.assertEqual(self.bash("predict", "we"), ["weights one.safetensors"])

    def type_into(self, command, setup, keys):
        """Types into an interactive shell -> the line after each part of `keys`."""
        source, target = pty.openpty()
        env = {**os.environ, "TERM": "dumb", "HOME": str(self.folder), "PS1": "$ ", "LC_ALL": "C",
               "PATH": f"{self.folder}:{os.environ['PATH']}"}
        shell = subprocess.Popen(command, stdin=target, stdout=target, stderr=target,
                                 cwd=self.folder, env=env, start_new_session=True)
        os.close(target)
        seen = b""
        try:
            for text, answer in ((setup, b"ready-1"), *keys):
                os.write(source, text)
                deadline = time.monotonic() + 60
                while answer not in seen:
                    if not select.select([source], [], [], deadline - time.monotonic())[0]:
                        self.fail(f"no {answer!r} in {seen!r}")
                    seen += os.read(source, 4096)
                seen = b""
        finally:
            shell.kill()
            shell.wait()
            os.close(source)

    def make_program(self):
        """Makes a program of that name that prints its arguments."""
        script = self.folder / "nnmf-train"
        script.write_text("#!/bin/sh\nfor word; do printf '<%s>' \"$word\"; done; echo\n")
        script.chmod(0o755)

    KEYS = ((b"nnmf-train ev\t --quie\t\n", b"<eval><--quiet>"),
            (b"nnmf-train eval --weights weig\t\n", b"<eval><--weights><weights one.safetensors>"),
            (b"nnmf-train --device cud\t\n", b"<--device><cuda>"),
            (b"nnmf-train train --log-format=js\t\n", b"<train><--log-format=json>"),
            (b"nnmf-train eval --data dat\t\n", b"<eval><--data><data folder"))

    @needs("bash")
    def test_bash_typed(self):
        self.make_program()
        setup = f"source {DOCUMENTS}/nnmf-train.bash; echo ready-$((0 + 1))\n".encode()
        self.type_into(["bash", "--norc", "-i"], setup, self.KEYS)

    @needs("zsh")
    def test_zsh_typed(self):
        self.make_program()
        setup = (f"fpath=({DOCUMENTS} $fpath); autoload -U compinit; compinit -u -D; "
                 "echo ready-$((0 + 1))\n").encode()
        self.type_into(["zsh", "-f", "-i", "-o", "no_beep"], setup, self.KEYS)

    @needs("shellcheck")
    def test_shellcheck(self):
        subprocess.run(["shellcheck", DOCUMENTS / "nnmf-train.bash"], check=True)


if __name__ == "__main__":
    program.main()
