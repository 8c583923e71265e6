#!/usr/bin/env python3
"""Tests of scripts/gpu-pack and scripts/gpu-run. A build tree with the CUDA back end is packed and
the checkout copied and moved; there every GPU test is found and skipped. With a small made-up tree
and small data: what they unpack, print and leave behind when something is missing or broken.

    test_gpu_pack.py TREE [TEST...]

Environment: NNMF_DATA and NNMF_REFERENCE, which are packed too if they are set.
"""

import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
from gpu_check import parts  # noqa: E402

TREE = None  # of the command line
# Not that of a virtual environment in the checkout, which the other machine does not have.
PYTHON = os.path.realpath(sys.executable)
NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
IMAGES = 250  # of a small batch
PARTS = ("tests", "images-a", "images-b")


def has_pillow():
    return subprocess.run([PYTHON, "-c", "import numpy, PIL._webp"], check=False,
                          capture_output=True).returncode == 0


PILLOW = has_pillow()
need_pillow = unittest.skipUnless(PILLOW, f"no Pillow with WebP: {PYTHON}")


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nnmf-gpu-pack-")).resolve()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.project = self.folder / "project"
        self.bin = self.folder / "bin"  # first in PATH
        self.bin.mkdir()
        self.env = {key: value for key, value in os.environ.items()
                    if key not in ("NNMF_DATA", "NNMF_REFERENCE", "NNMF_COMMIT", "BUILD")}
        self.env |= {"PATH": f"{self.bin}:{os.environ['PATH']}", "NNMF_PYTHON": PYTHON,
                     "CUDA_VISIBLE_DEVICES": "", "OUT": str(self.folder / "out")}

    def script(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + text + "\n")
        path.chmod(0o755)

    def call(self, *command, env=None, limit=None):
        """limit: maximum size of files in KiB, instead of a full disk."""
        command = [str(word) for word in command]
        if limit:
            command = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "limited", *command]
        return subprocess.run(command, env=self.env | (env or {}), cwd=self.project, text=True,
                              capture_output=True, check=False, timeout=600)

    def succeed(self, *command, **how):
        done = self.call(*command, **how)
        self.assertEqual(done.returncode, 0, done)
        return done

    def fail_with(self, line, *command, **how):
        """The command must fail with one line on standard error that begins with `line`."""
        done = self.call(*command, **how)
        self.assertNotEqual(done.returncode, 0, done)
        self.assertEqual(len(done.stderr.splitlines()), 1, done)
        self.assertTrue(done.stderr.startswith(line), done)
        return done


# ---- the real tree ----


class Moved(Folder):
    """The checkout, copied with its pack, and moved."""

    def copy(self):
        """Copies what a user copies: tracked files, and untracked ones that are not ignored."""
        done = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z",
                               "--cached", "--others", "--exclude-standard"], check=True,
                              capture_output=True)
        for name in filter(None, done.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (self.project / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.project / name)

    def pack(self):
        given = {name: os.environ[name] for name in ("NNMF_DATA", "NNMF_REFERENCE")
                 if name in os.environ}
        if not PILLOW:
            given.pop("NNMF_DATA", None)
        done = self.succeed(ROOT / "scripts" / "gpu-pack", "--build", TREE, "--out",
                            self.project / ".gpu", env=given)
        print(done.stdout, flush=True)
        if "NNMF_REFERENCE" not in given:
            self.assertIn("no reference files", done.stdout)

    def named(self, label):
        done = self.succeed("ctest", "--test-dir", TREE, "-L", label, "--show-only=json-v1")
        tests = json.loads(done.stdout)["tests"]
        return {test["name"] for test in tests for of in test.get("properties", [])
                if of["name"] == "LABELS" and label in of["value"]}

    def check_paths(self):
        """No file contains the checkout's path, except for source names in programs' messages."""
        old = re.compile(rb"(?:" + b"|".join(re.escape(os.fsencode(path)) for path in (ROOT, TREE))
                         + rb")(?![\w.-])[^\0\n\"';]*")
        files = [path for path in (self.project / ".gpu").rglob("*") if path.is_file()
                 and path.suffix not in (".webp", ".bin", ".safetensors")]
        self.assertGreater(len(files), 5)
        for path in files:
            found = [name for name in old.findall(path.read_bytes())
                     if not re.search(rb"\.(?:c|cc|cu|h|cuh)$", name)]
            self.assertEqual(found, [], path)

    @unittest.skipUnless((ROOT / ".git").exists(), "not a git checkout: the tracked files are copied")
    def test_every_gpu_test_is_found_and_skipped(self):
        top = sorted(path.name for path in ROOT.iterdir())
        self.copy()
        self.pack()
        self.assertEqual(sorted(path.name for path in ROOT.iterdir()), top)
        self.project = self.project.rename(self.folder / "moved & away")
        run = self.project / "scripts" / "gpu-run"
        done = self.succeed(run, "bash", "-c", 'ctest --test-dir "$BUILD" -L gpu -j 2')
        cases = parts.parse_ctest(done.stdout)
        expected = self.named("gpu")
        self.assertGreater(len(expected), 10)
        self.assertEqual({name: case["result"] for name, case in cases.items()
                          if not name.endswith("cli.data")},
                         {name: "skipped" for name in expected}, done)
        print(f"{len(expected)} GPU tests, all skipped", flush=True)
        self.check_paths()

        # The check of a GPU gets as far as finding no GPU, under both names.
        self.script(self.bin / "nvidia-smi", "echo 'GPU 0: none'")
        errors = [self.fail_with("gpu-check: no ", run, "bash", "-c", command).stderr
                  for command in ('scripts/gpu-check --build "$BUILD" --seconds 9 --results "$OUT"',
                                  'python3 bench/gpu_check.py "$BUILD" --seconds 9 --results "$OUT"')]
        self.assertEqual(*errors)


# ---- a small tree ----


class Small(Folder):
    """A project with only scripts/, and a tree of programs that only print."""

    def setUp(self):
        super().setUp()
        shutil.copytree(ROOT / "scripts", self.project / "scripts")
        self.tree, self.pack = self.folder / "tree", self.project / ".gpu"
        self.unpacked = self.pack / "unpacked"
        self.script(self.tree / "nnmf-train", 'echo "trained with $NNMF_DATA"')
        self.script(self.tree / "tests" / "gpu" / "ceilings", "exit 1")
        self.script(self.tree / "tests" / "gpu" / "with_gpu", "exit 77")
        self.script(self.tree / "src" / "other", "exit 1")
        (self.tree / "nnmf-train.o").write_text("object")
        (self.tree / "CMakeCache.txt").write_text(
            f"NNMF_PYTHON:STRING=/opt/python3\nCMAKE_CACHEFILE_DIR:INTERNAL={self.tree}\n"
            f"CMAKE_HOME_DIRECTORY:INTERNAL={self.project}\n")
        (self.tree / "CTestTestfile.cmake").write_text('subdirs("tests/gpu")\n')
        (self.tree / "tests" / "gpu" / "CTestTestfile.cmake").write_text(
            f'add_test(a "{self.tree}/tests/gpu/with_gpu" "/opt/python3" "{self.project}/a.py")\n'
            f'# "{self.tree}-2/x" "{self.project}2" "{self.project}" A={self.tree};B=1\n')

    def make_data(self):
        """CIFAR-10 with fewer images, and its checksums."""
        self.data, sums = self.folder / "data", self.folder / "sums"
        self.data.mkdir()
        sums.mkdir()
        numbers = random.Random(1)
        lines = ["# a comment"]
        for name in NAMES:
            data = b"".join(bytes([numbers.randrange(10)]) + bytes([numbers.randrange(256)]) * 1000
                            + numbers.randbytes(2072) for _ in range(IMAGES))
            (self.data / f"{name}.bin").write_bytes(data)
            lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}.bin")
        (self.data / "batches.meta.txt").write_text("airplane\n")
        (sums / "cifar10.sha256").write_text("\n".join(lines) + "\n")
        self.env |= {"NNMF_DATA": str(self.data), "NNMF_DATA_CHECKSUMS": str(sums)}

    def gpu_pack(self, *arguments, **how):
        return self.succeed("scripts/gpu-pack", "--build", self.tree, *arguments, **how)

    def elsewhere(self):
        """Moves the project and unsets NNMF_DATA."""
        self.project = self.project.rename(self.folder / "elsewhere")
        self.pack = self.project / ".gpu"
        self.unpacked = self.pack / "unpacked"
        self.env.pop("NNMF_DATA", None)

    def nothing_half_done(self):
        left = [path.name for folder in (self.pack, self.unpacked, self.unpacked / "cifar10")
                if folder.exists() for path in folder.iterdir()]
        self.assertEqual([name for name in left if name.startswith(".")], [])
        return left


class Trees(Small):
    def test_without_data_and_reference(self):
        done = self.gpu_pack()
        self.assertIn("gpu-pack: no CIFAR-10: ", done.stdout)
        self.assertIn("gpu-pack: no reference files: ", done.stdout)
        self.assertEqual(sorted(path.name for path in self.pack.iterdir()), ["tests"])
        self.elsewhere()
        done = self.succeed("scripts/gpu-run", "bash", "-c", "echo $BUILD ${NNMF_DATA-none} "
                            "${NNMF_REFERENCE-none} $NNMF_COMMIT; pwd")
        self.assertEqual((done.stdout, done.stderr),
                         (f"{self.unpacked}/tree none none unknown\n{self.project}\n", ""))
        files = {str(path.relative_to(self.unpacked / "tree"))
                 for path in (self.unpacked / "tree").rglob("*") if path.is_file()}
        self.assertEqual(files, {".stamp", "CTestTestfile.cmake", "nnmf-train",
                                 "tests/gpu/CTestTestfile.cmake", "tests/gpu/ceilings",
                                 "tests/gpu/with_gpu"})
        text = (self.unpacked / "tree" / "tests/gpu/CTestTestfile.cmake").read_text()
        python = re.search(r'with_gpu" "([^"]*)"', text)[1]
        self.assertTrue(os.access(python, os.X_OK), python)
        self.assertNotEqual(python, "/opt/python3")
        self.assertEqual(text,
                         f'add_test(a "{self.unpacked}/tree/tests/gpu/with_gpu" "{python}" '
                         f'"{self.project}/a.py")\n'
                         f'# "{self.tree}-2/x" "{self.folder}/project2" "{self.project}" '
                         f"A={self.unpacked}/tree;B=1\n")

    def test_moved_again_and_packed_again(self):
        self.gpu_pack()
        self.succeed("scripts/gpu-run", "true")
        kept = self.unpacked / "tree" / "kept"
        kept.touch()
        self.succeed("scripts/gpu-run", "true")
        self.assertTrue(kept.exists())
        old, self.project = self.project, self.project.rename(self.folder / "again")
        self.pack = self.project / ".gpu"
        self.unpacked = self.pack / "unpacked"
        self.succeed("scripts/gpu-run", "true")
        text = (self.unpacked / "tree" / "tests" / "gpu" / "CTestTestfile.cmake").read_text()
        self.assertIn(f'"{self.project}/a.py"', text)
        self.assertNotIn(f"{old}/", text)
        self.assertFalse((self.unpacked / "tree" / "kept").exists())

    def test_reference_and_folder(self):
        reference = self.folder / "reference"
        reference.mkdir()
        for name in ("a.safetensors", "b.csv", "c.txt"):
            (reference / name).write_text(name)
        self.gpu_pack("--out", "other", "tests", env={"NNMF_REFERENCE": str(reference)})
        self.assertFalse(self.pack.exists())
        self.fail_with("gpu-run: not packed: ", "scripts/gpu-run", "true")
        done = self.succeed("scripts/gpu-run", "--pack", "other", "sh", "-c",
                            'cd "$NNMF_REFERENCE" && ls')
        self.assertEqual(done.stdout, "a.safetensors\nb.csv\n")
        self.fail_with("gpu-pack: no folder: /nowhere: $NNMF_REFERENCE", "scripts/gpu-pack",
                       "--build", self.tree, "tests", env={"NNMF_REFERENCE": "/nowhere"})

    def test_libraries(self):
        self.gpu_pack()
        run = ("scripts/gpu-run", "sh", "-c", "echo $LD_LIBRARY_PATH")
        done = self.succeed(*run)
        self.assertTrue(done.stdout.startswith(f"{self.pack}/tests/lib"), done)
        self.assertNotIn("lib-last", done.stdout)
        self.script(self.bin / "ldd", """\
            case $LD_LIBRARY_PATH in *lib-last*) exit ;; esac
            echo "        libgomp.so.1 => not found" """)
        done = self.succeed(*run)
        self.assertRegex(done.stdout, f"{self.pack}/tests/lib-last$")
        self.script(self.bin / "ldd", 'echo "        libcublas.so.13 => not found"')
        self.fail_with("gpu-run: libraries missing: libcublas.so.13: ", *run)

    def test_broken(self):
        self.gpu_pack()
        path = self.pack / "tests" / "tree.tar.gz"
        path.write_bytes(path.read_bytes()[:-20])
        self.fail_with("gpu-run: wrong SHA-256: ", "scripts/gpu-run", "true")
        self.assertEqual(self.nothing_half_done(), ["tests", "unpacked"])

    def test_full_disk(self):
        (self.tree / "nnmf-train").write_bytes(b"#!/bin/sh\n" + random.Random(1).randbytes(90000))
        done = self.call("scripts/gpu-pack", "--build", self.tree, limit=20)
        self.assertNotEqual(done.returncode, 0, done)
        self.assertEqual(self.nothing_half_done(), [])
        self.gpu_pack()
        before = (self.pack / "tests" / "SHA256SUMS").read_text()
        self.assertNotEqual(self.call("scripts/gpu-pack", "--build", self.tree,
                                      limit=20).returncode, 0)
        self.assertEqual((self.pack / "tests" / "SHA256SUMS").read_text(), before)
        self.fail_with("gpu-run: cannot unpack: ", "scripts/gpu-run", "true", limit=20)
        self.assertEqual(sorted(self.nothing_half_done()), ["tests", "unpacked"])
        self.succeed("scripts/gpu-run", "true")

    def test_arguments(self):
        for line, *arguments in (
            ("gpu-pack: unexpected argument: images: ", "images"),
            ("gpu-pack: unexpected argument: --quick: ", "--quick"),
            ("gpu-pack: option without a value: --arch", "--arch"),
            ("gpu-pack: option without a value: --out", "--out", ""),
            ("gpu-pack: bad value: --arch: 'native': ", "--arch", "native"),
            ("gpu-pack: bad value: --arch: '90,': ", "--arch", "90,"),
            ("gpu-pack: bad value: --arch: '9.0': ", "--arch", "9.0"),
            ("gpu-pack: no build tree: /nowhere: ", "--build", "/nowhere"),
            ("gpu-pack: no CIFAR-10: images-a: ", "images-a"),
            ("gpu-pack: cannot make folder: scripts/lib.sh/x: ", "--build", self.tree, "--out",
             "scripts/lib.sh/x"),
        ):
            with self.subTest(arguments=arguments):
                self.fail_with(line, "scripts/gpu-pack", *arguments)
        for line, *arguments in (
            ("gpu-run: no command: ",),
            ("gpu-run: unexpected argument: --quick: ", "--quick"),
            ("gpu-run: option without a value: --pack: ", "--pack"),
            ("gpu-run: not packed: /nowhere/tests: ", "--pack", "/nowhere", "true"),
        ):
            with self.subTest(arguments=arguments):
                self.fail_with(line, "scripts/gpu-run", *arguments)
        self.gpu_pack()
        self.fail_with("gpu-run: no such command: no-such-program", "scripts/gpu-run",
                       "no-such-program")
        self.assertEqual(self.call("scripts/gpu-run", "sh", "-c", "exit 9").returncode, 9)
        for script in ("gpu-pack", "gpu-run"):
            self.assertIn(f"scripts/{script} [", self.succeed(f"scripts/{script}", "--help").stdout)

    def test_another_tree(self):
        (self.tree / "CMakeCache.txt").write_text("CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere\n")
        self.fail_with("gpu-pack: another checkout's tree: ", "scripts/gpu-pack", "--build",
                       self.tree)
        (self.tree / "tests" / "gpu" / "ceilings").unlink()
        self.fail_with("gpu-pack: no GPU tests: ", "scripts/gpu-pack", "--build", self.tree)


@need_pillow
class Images(Small):
    def setUp(self):
        super().setUp()
        self.make_data()

    def check_images(self, *copies):
        """The unpacked files are the data, but those named in `copies` are copies of the first."""
        for name in NAMES:
            path = self.unpacked / "cifar10" / f"{name}.bin"
            expected = self.data / f"{'data_batch_1' if name in copies else name}.bin"
            self.assertTrue(path.read_bytes() == expected.read_bytes(), name)
            self.assertEqual(path.is_symlink(), name in copies, name)
        self.assertEqual((self.unpacked / "cifar10" / "batches.meta.txt").read_text(), "airplane\n")
        self.nothing_half_done()

    def test_all(self):
        done = self.gpu_pack()
        self.assertNotIn("no CIFAR-10", done.stdout)
        self.assertEqual(sorted(path.name for path in self.pack.iterdir()), sorted(PARTS))
        self.elsewhere()
        done = self.succeed("scripts/gpu-run", "sh", "-c", '"$BUILD/nnmf-train"')
        self.assertEqual((done.stdout, done.stderr),
                         (f"trained with {self.unpacked}/cifar10\n", ""))
        self.check_images()
        # Existing files are kept, without NumPy and Pillow.
        self.script(self.folder / "python", f"exec {PYTHON} -S \"$@\"")
        before = (self.unpacked / "cifar10" / "data_batch_3.bin").stat()
        done = self.succeed("scripts/gpu-run", "true", env={
            "NNMF_PYTHON": str(self.folder / "python"), "PATH": f"{self.bin}:/usr/bin:/bin"})
        self.assertEqual((self.unpacked / "cifar10" / "data_batch_3.bin").stat(), before)

    def test_part_by_part(self):
        self.gpu_pack("tests")
        copies = ["data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"]
        for part, real in ((None, 0), ("images-a", 3), ("images-b", 1)):
            if part:
                self.succeed("scripts/gpu-pack", part)
            copies = copies[real:]
            done = self.succeed("scripts/gpu-run", "true")
            if copies:
                self.assertIn(f"gpu-run: NOT ALL OF CIFAR-10: {', '.join(copies)}: ", done.stderr)
            else:
                self.assertEqual(done.stderr, "")
            self.check_images(*copies)

    def test_packed_again(self):
        self.gpu_pack()
        pictures = {path: path.read_bytes() for path in self.pack.rglob("*.webp")}
        self.assertEqual(len(pictures), 6)
        # The pictures exist already, so neither NumPy nor Pillow is used.
        self.script(self.folder / "python", """\
            case "$*" in *gpu_images.py*) set -- -S "$@" ;; esac
            exec """ + PYTHON + ' "$@"')
        self.gpu_pack(env={"NNMF_PYTHON": str(self.folder / "python")})
        self.assertEqual({path: path.read_bytes() for path in pictures}, pictures)

    def test_broken(self):
        self.gpu_pack()
        labels = self.pack / "images-a" / "data" / "data_batch_3.labels"
        right = labels.read_bytes()
        labels.write_bytes(bytes([right[0] ^ 1]) + right[1:])
        self.fail_with("gpu-run: wrong SHA-256: ", "scripts/gpu-run", "true")
        labels.write_bytes(right)
        picture = labels.with_suffix(".webp")
        right = picture.read_bytes()
        picture.write_bytes(right[:5000])
        self.fail_with("gpu-run: cannot read: ", "scripts/gpu-run", "true")
        self.assertFalse((self.unpacked / "cifar10" / "data_batch_3.bin").exists())
        picture.unlink()  # leaves the part incomplete
        self.fail_with("gpu-run: cannot read: ", "scripts/gpu-run", "true")
        picture.write_bytes(right)
        self.succeed("scripts/gpu-run", "true")
        self.check_images()

    def test_full_disk(self):
        self.gpu_pack()
        self.fail_with("gpu-run: cannot write: ", "scripts/gpu-run", "true", limit=100)
        self.nothing_half_done()
        self.assertEqual(list((self.unpacked / "cifar10").iterdir()), [])
        before = (self.pack / "images-b" / "data" / "data_batch_5.webp").read_bytes()
        kept = self.pack / "images-b" / "data" / "data_batch_5.sha256"
        right = kept.read_text()
        kept.write_text("of another file\n")
        self.fail_with("gpu-pack: cannot write: ", "scripts/gpu-pack", "images-b", limit=100)
        self.nothing_half_done()
        self.assertEqual((self.pack / "images-b" / "data" / "data_batch_5.webp").read_bytes(),
                         before)
        kept.write_text(right)
        self.succeed("scripts/gpu-run", "true")
        self.check_images()

    def test_other_data(self):
        path = self.data / "data_batch_5.bin"
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        self.fail_with(f"gpu-pack: wrong SHA-256: {path}: ", "scripts/gpu-pack", "images-b")
        path.unlink()
        self.fail_with(f"gpu-pack: cannot read: {path}: ", "scripts/gpu-pack", "images-b")
        self.nothing_half_done()

    def test_no_pillow(self):
        self.gpu_pack()
        self.elsewhere()
        for name in ("python3", "python"):
            self.script(self.bin / name, f'[ "$1" != -c ] || exit 1; exec {PYTHON} -S "$@"')
        (self.project / "scripts" / "lib.sh").write_text(
            (self.project / "scripts" / "lib.sh").read_text().replace(" /usr/bin/python3;", ";"))
        self.fail_with("gpu-run: no ", "scripts/gpu-run", "true",
                       env={"NNMF_PYTHON": "python3"})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    TREE = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
