#!/usr/bin/env python3
"""scripts/release rejects invalid tags and builds only from the tag.

The Debian package of the build tree $NNMF_BUILD (test Package): its files, what it depends on, and a
training step with the program in it. Ends with 77 where a program that makes packages is missing.
"""

import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).resolve().parent
ROOT = TESTS.parent
sys.path.insert(0, str(TESTS / "cli"))
import program  # noqa: E402

# Replaces functions of lib.sh: installs nothing, and prints what would be built.
STUBS = """
need() { :; }; need_to_build() { :; }
build() {
    shown=$(cat "$root/CMakeLists.txt" "$root/src/commit.cmake" "$root/new.txt" 2>&1 || true)
    die "builds: $*: $shown"
}
"""


class Refusals(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nnmf release ")).resolve()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("GIT_")}
        self.environment |= {f"GIT_CONFIG_{name}": "/dev/null" for name in ("GLOBAL", "SYSTEM")}
        self.environment |= {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER")
                             for what in ("NAME", "EMAIL")}
        for name in ("scripts/release", "scripts/lib.sh", "src/commit.cmake", ".gitattributes"):
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        with open(self.folder / "scripts/lib.sh", "a", encoding="ascii") as library:
            library.write(STUBS)
        self.git("init", "-q")
        self.commit("0.2.0", "# Changelog\n\n## 0.2.0\n\n- All.\n\n## 0.1.0\n\n- The first.\n")

    def git(self, *words):
        done = subprocess.run(["git", "-C", self.folder, *words], env=self.environment, check=True,
                              capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, version, changelog):
        (self.folder / "CMakeLists.txt").write_text(
            f"project(nnmf-train VERSION {version} LANGUAGES C\n")
        (self.folder / "CHANGELOG.md").write_text(changelog)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", version)

    def fail_with(self, expected, *arguments):
        """-> the last line, which begins so."""
        done = subprocess.run([self.folder / "scripts/release", "--cuda", "off", *arguments],
                              cwd=self.folder, env=self.environment, check=False, timeout=60,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertTrue(done.stderr.startswith(f"release: {expected}"), done.stderr)
        return done.stderr

    def one_line(self, expected, *arguments):
        self.assertEqual(self.fail_with(expected, *arguments).count("\n"), 1)
        self.assertFalse((self.folder / "release").exists())

    def test_no_release(self):
        self.one_line("no such tag: v0.2.0: ")
        self.one_line("no such tag: main: ", "main")
        self.one_line("no such tag: 0.1.0: ", "0.1.0")
        self.git("tag", "v0.1.0")
        self.one_line("wrong version: v0.1.0: its CMakeLists.txt has 0.2.0", "v0.1.0")
        for changelog in ("# Changelog\n\n## 0.1.0\n", "## 0.2.0.1\n", "## 10.2.0\n", "## 0x2.0\n",
                          "- 0.2.0\n"):
            self.commit("0.2.0", changelog)
            self.git("tag", "-f", "v0.2.0")
            self.one_line("no entry in the changelog: v0.2.0: ")
        self.git("rm", "-q", "CHANGELOG.md")
        self.git("commit", "-q", "-m", "no changelog")
        self.git("tag", "-f", "v0.2.0")
        self.one_line("no entry in the changelog: v0.2.0: ")

    def test_arguments(self):
        self.one_line("option without a value: --out", "--out")
        self.one_line("bad value: --cuda: 'maybe': ", "--cuda", "maybe")
        self.one_line("bad value: --arch: '9.0': ", "--arch", "9.0")
        self.one_line("unexpected argument: --all: ", "--all")
        self.one_line("unexpected argument: v2: one tag ", "v1", "v2")

    def test_builds_from_the_tag(self):
        """Not from the working tree, and the sources know their commit."""
        for heading in ("## 0.2.0", "## [0.2.0] - 2026-12-01", "# v0.2.0 (December)", "## 0.2.0:"):
            self.commit("0.2.0", f"{heading}\n")
            self.git("tag", "-f", "v0.2.0")
            (self.folder / "CMakeLists.txt").write_text("project(nnmf-train VERSION 0.2.0 CHANGED")
            (self.folder / "new.txt").write_text("UNCOMMITTED")
            shown = self.fail_with("builds: ", "--out", "here", "v0.2.0")
            self.assertIn("VERSION 0.2.0 LANGUAGES C", shown)
            self.assertNotIn("CHANGED", shown)
            self.assertNotIn("UNCOMMITTED", shown)
            self.assertIn(f'if("{self.git("rev-parse", "v0.2.0")}" MATCHES', shown)
            self.assertEqual(list((self.folder / "here").iterdir()), [])
            (self.folder / "new.txt").unlink()


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tree = os.environ["NNMF_BUILD"]
        for tool in ("cpack", "dpkg-deb", "dpkg-shlibdeps", "file", "gzip"):
            if not shutil.which(tool):
                print(f"skipped: no {tool}")
                sys.exit(77)
        cls.folder = program.temporary_folder()
        subprocess.run(["cpack", "-G", "DEB", "-B", cls.folder], cwd=tree, check=True, timeout=100,
                       stdout=subprocess.DEVNULL)
        cls.package, = cls.folder.glob("*.deb")
        cls.root = cls.folder / "root"
        subprocess.run(["dpkg-deb", "-x", cls.package, cls.root], check=True)

    def field(self, name):
        done = subprocess.run(["dpkg-deb", "-f", self.package, name], check=True, text=True,
                              capture_output=True)
        return done.stdout.strip()

    def test_control(self):
        version = re.search(r"nnmf-train VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
        self.assertEqual(self.package.name, f"nnmf-train_{version}_{self.field('Architecture')}.deb")
        self.assertEqual((self.field("Package"), self.field("Version"), self.field("Section"),
                          self.field("Priority")), ("nnmf-train", version, "science", "optional"))
        self.assertRegex(self.field("Maintainer"), r".+ <.+@.+>")
        depends = self.field("Depends").split(", ")
        for one in depends:
            self.assertRegex(one, r"^[a-z][a-z0-9.+-]+ \(>= [\d:.+~a-z-]+\)$")
        for library in ("libc6", "libjansson4", "libpng16", "libprotobuf-c1", "libisal2"):
            self.assertTrue(any(one.startswith(library) for one in depends), depends)
        for line in self.field("Description").splitlines():
            self.assertLessEqual(len(line), 80)

    def test_files(self):
        share = self.root / "usr/share"
        self.assertEqual((share / "doc/nnmf-train/copyright").read_bytes(),
                         (ROOT / "LICENSE").read_bytes())
        manual = gzip.decompress((share / "man/man1/nnmf-train.1.gz").read_bytes())
        self.assertIn(b'.TH NNMF', manual)
        for changelog in ("changelog", *(["CHANGELOG.md"] if (ROOT / "CHANGELOG.md").exists() else [])):
            self.assertTrue(gzip.decompress((share / f"doc/nnmf-train/{changelog}.gz").read_bytes()))
        self.assertIn("complete -F", (share / "bash-completion/completions/nnmf-train").read_text())
        self.assertTrue((share / "zsh/vendor-completions/_nnmf-train").read_text().startswith("#compdef"))
        self.assertFalse((share / "zsh/site-functions").exists())
        for path in self.root.rglob("*"):
            mode = path.lstat().st_mode & 0o777
            self.assertIn(mode, (0o755,) if path.is_dir() else (0o755, 0o644), path)

    def test_fetch_data(self):
        """Looks for its checksums beside it, and would write below the current folder."""
        script = self.root / "usr/share/nnmf-train/scripts/fetch-data"
        done = subprocess.run([script, "mnist"], cwd=self.folder, check=False, capture_output=True,
                              text=True, env={**os.environ, "NNMF_DATA_URL": "file:///nowhere"},
                              timeout=60)
        self.assertIn("fetch-data: cannot download: file:///nowhere/train-images", done.stderr)
        self.assertTrue((self.folder / "data/mnist").is_dir())

    def test_trains(self):
        run = self.folder / "run"
        subprocess.run([self.root / "usr/bin/nnmf-train", "--data", program.mnist_folder(10, 5),
                        *program.SMALL, "--max-steps", "1", "--device", "cpu", "--out", run],
                       check=True, stdout=subprocess.DEVNULL, timeout=100)
        self.assertIn("last.safetensors", os.listdir(run))


if __name__ == "__main__":
    unittest.main(verbosity=2)
