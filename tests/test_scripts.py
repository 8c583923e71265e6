#!/usr/bin/env python3
"""The scripts work the same in any environment, with any configuration and however they are called."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "scripts", "tests", "bench")

# Scripts that print help without checking the machine.
HELPFUL = ("gpu-check", "gpu-pack", "gpu-run", "cuda12-check", "fetch-data", "style", "release")
HELPFUL_PYTHON = ("scripts/kernel-report", "scripts/mutants", "scripts/gpu_images.py",
                  "bench/compare.py", "bench/gpu_check.py")


def sources(interpreter):
    """-> path: text of the files with this interpreter in the first line, and of lib.sh for bash."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in ("", ".sh", ".py") and "corpus" not in path.parts:
                content = path.read_bytes()
                if re.match(rb"#!.*\b%s\b|# shellcheck shell=%s" % (interpreter, interpreter), content):
                    found[path.relative_to(ROOT)] = content.decode()
    return found


def output(*command, cwd=ROOT, **environment):
    """-> exit status, standard output and error together."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, env={**os.environ, **environment},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, timeout=100)
    return done.returncode, done.stdout.decode()


STUBS = {
    "scripts/lib.sh": """root=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")
need() { :; }; need_to_build() { :; }; build() { :; }
say() { echo "$*"; }; die() { echo "$*"; exit 1; }
""",
    "scripts/fetch-data": "#!/bin/sh\nexit 0\n",
    "build/nnmf-train": "#!/bin/sh\nprintf '<%s>' \"$@\"\n",
}


class Temporary(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nnmf scripts ")).resolve()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)


class Train(Temporary):
    """scripts/train, with stubs instead of what it calls."""

    def setUp(self):
        super().setUp()
        for name, text in STUBS.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        shutil.copy(ROOT / "scripts" / "train", self.folder / "scripts")

    def check(self, data_set, *arguments):
        status, printed = output(self.folder / "scripts" / "train", *arguments, cwd=self.folder,
                              NNMF_DATA="")
        data = f"<--data><{self.folder}/data/{data_set}>" if data_set else ""
        self.assertEqual((status, printed), (0, f"<train>{data}" + "".join(f"<{a}>" for a in arguments)))

    def test_data_set(self):
        (self.folder / "new.st").write_text(
            r'{"__metadata__":{"options":"{\"dataset\":\"fashion-mnist\",\"loss\":\"sbs\"}"}}')
        (self.folder / "old.st").write_text('{"__metadata__":{"version":"0.1.0"}}')
        self.check("cifar10")
        self.check("mnist", "--dataset", "mnist")
        self.check("fashion-mnist", "--init", "new.st")
        self.check("fashion-mnist", "--init=new.st", "--epochs", "1")
        self.check("mnist", "--init", "new.st", "--dataset", "mnist", "--override")
        self.check("cifar10", "--init", "old.st")
        self.check("cifar10", "--init", "none.st")
        self.check(None, "--init", "new.st", "--data", "here")


class Bash(Temporary):
    ROOT_OF = '. "$1/lib.sh"; printf %s "$root"'

    def test_root(self):
        """One line, from any working directory and by any path to the library."""
        link = self.folder / "a link"
        link.symlink_to(ROOT)
        for where, path in ((ROOT, "scripts"), (ROOT / "scripts", "."), (ROOT / "tests", "../scripts"),
                            (self.folder, "a link/scripts"), (self.folder, ROOT / "scripts")):
            for name, value in (("CDPATH", ".:..:/"), ("POSIXLY_CORRECT", "1"), ("LANG", "C")):
                with self.subTest(where=where, path=path, variable=name):
                    printed = output("bash", "-c", self.ROOT_OF, "-", path, cwd=where, **{name: value})
                    self.assertEqual(printed, (0, str(ROOT)))

    def test_other_ways_to_call(self):
        for name in HELPFUL:
            path = ROOT / "scripts" / name
            link = self.folder / f"my {name}"
            link.symlink_to(path)
            expected = output(path, "--help")
            self.assertEqual(expected[0], 0)
            self.assertGreater(len(expected[1].splitlines()), 2)
            for way, command, environment in (
                    ("link", (link,), {}), ("sh", ("sh", path), {}),
                    ("CDPATH", (f"scripts/{name}",), {"CDPATH": ".:.."}),
                    ("POSIX mode", (path,), {"POSIXLY_CORRECT": "1"})):
                with self.subTest(name, way=way):
                    self.assertEqual(output(*command, "--help", **environment), expected)

    def test_no_folder_is_computed_with_cd(self):
        """CDPATH makes cd print its new folder, and changes where it goes."""
        scripts = sources(b"bash")
        self.assertGreater(len(scripts), 10)
        for path, text in scripts.items():
            with self.subTest(str(path)):
                self.assertNotRegex(text, r"\$\(\s*cd\b[^)]*\bpwd\b")
                begin = re.search(r"^\s*\(?cd |\(cd ", text, re.MULTILINE)
                safe = re.search(r"^unset .*\bCDPATH\b|^ *\. .*lib\.sh", text, re.MULTILINE)
                if begin:
                    self.assertTrue(safe and safe.start() < begin.start(), "CDPATH is not unset")

    def test_sh_restarts_with_bash(self):
        """Before the first line that sh does not support."""
        for path, text in sources(b"bash").items():
            if path.parts[0] in (".ci", "scripts") and path.name != "lib.sh":
                with self.subTest(str(path)):
                    lines = [line for line in text.splitlines() if not line.startswith("#")]
                    self.assertRegex(lines[0], r'^\[ "\$\{BASH_VERSION:-\}" \] \|\| exec bash "\$0" "\$@"')


class Python(Temporary):
    def test_variables(self):
        for name in HELPFUL_PYTHON:
            expected = output(sys.executable, ROOT / name, "--help")
            self.assertEqual(expected[0], 0, expected)
            for variable, value in (("PYTHONOPTIMIZE", "2"), ("PYTHONSAFEPATH", "1")):
                with self.subTest(name, variable=variable):
                    status, printed = output(sys.executable, ROOT / name, "--help", **{variable: value})
                    self.assertEqual(status, 0, printed)

    def test_texts_may_be_missing(self):
        """With PYTHONOPTIMIZE=2 __doc__ is None."""
        scripts = sources(b"python3")
        self.assertGreater(len(scripts), 20)
        for path, text in scripts.items():
            self.assertNotRegex(text, r"__doc__\.", path)


@unittest.skipUnless(shutil.which("git") and (ROOT / ".git").exists(), "no checkout of Git")
class Checkout(Temporary):
    def test_automatic_ends_of_lines(self):
        """A checkout with core.autocrlf does not change any file."""
        clean = {name: "/dev/null" for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")}
        environment = {**os.environ, **clean}
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            environment.pop(name, None)

        def git(folder, *words):
            return subprocess.run(["git", "-C", folder, "-c", "core.autocrlf=true", *words],
                                  env=environment, check=True, capture_output=True).stdout

        names = [name for name in git(ROOT, "ls-files", "-z").decode().split("\0")
                 if name and (ROOT / name).is_file()]
        self.assertGreater(len(names), 100)
        for name in names:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        git(self.folder, "init", "-q")
        git(self.folder, "add", "-A", "-f")
        for name in names:
            (self.folder / name).unlink()
        git(self.folder, "checkout-index", "-a", "-f")
        changed = [name for name in names
                   if (self.folder / name).read_bytes() != (ROOT / name).read_bytes()]
        self.assertEqual(changed, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
