#!/usr/bin/env python3
"""Checks the PTX of the kernels for forbidden instructions. Needs nvcc, but no GPU.

    test_code.py NVCC
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NVCC = sys.argv.pop(1) if len(sys.argv) > 1 else "nvcc"

# Sources, pattern that their PTX must not contain, and the reason.
FORBIDDEN = (
    ("*", r"membar\.(gl|sys)|fence\.sc", "a sequentially consistent fence: acq_rel suffices"),
    ("nnmf*", r"div\.rn\.f32", "a division with a slow path, which zeros take"),
    ("adam", r"div\.rn\.f32", "the same, when gradients are 0"),
    ("unfold", r"(div|rem)\.[us](32|64)", "an integer division: the host knows the divisors"),
)
# Patterns that it must contain, which shows that the ones above match the PTX syntax of nvcc.
FOUND = (
    ("columns", "convolution", r"atom\.add\.acq_rel\.gpu"),
    ("grid", "batchnorm", r"atom\.add\.release\.gpu"),
    ("tensor cores", "nnmf_forward_tensor", r"mma\.sync\.aligned\.m16n8k8"),
    ("rounding", "nnmf_forward_tensor", r"cvt\.rna\.tf32\.f32"),
    ("reciprocals", "nnmf_forward_fused", r"rcp\.approx\.ftz\.f32"),
    ("divisors", "unfold", r"mul\.hi\.u32"),
)


def ptx_of(source, folder):
    ptx = pathlib.Path(folder, source.stem)
    done = subprocess.run(
        [NVCC, "-std=c++17", "-O3", "-DNDEBUG", "-arch=sm_90", "-ptx", f"-I{ROOT / 'include'}",
         "-o", str(ptx), str(source)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nvcc failed: {source.name}: {done.stderr}")
    return source.stem, ptx.read_text()


class Code(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sources = sorted((ROOT / "kernels").glob("*.cu"))
        with tempfile.TemporaryDirectory() as folder, \
                concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            cls.ptx = dict(pool.map(lambda source: ptx_of(source, folder), sources))

    def test_nothing_forbidden(self):
        for files, pattern, why in FORBIDDEN:
            for name, text in self.ptx.items():
                if not pathlib.PurePath(name).match(files):
                    continue
                with self.subTest(source=name, pattern=pattern):
                    found = re.search(rf"^.*\b(?:{pattern})\b.*$", text, re.MULTILINE)
                    self.assertIsNone(found, f"{why}: {found and found[0].strip()}")

    def test_expected_instructions(self):
        for what, name, pattern in FOUND:
            with self.subTest(what):
                self.assertTrue(re.search(pattern, self.ptx[name]), f"no {pattern} in {name}")


if __name__ == "__main__":
    unittest.main()
