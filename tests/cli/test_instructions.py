#!/usr/bin/env python3
"""The number of instructions of a training step, which does not depend on the machine's load.

One step of the published network on two images, in one thread, counted by callgrind, against
tests/fixtures/instructions.csv, within 10 % in either direction. After an intended change, write the
new number there. Skipped for compilers and instruction sets that are not in the file.

Environment, besides program.py's: NNMF_COMPILER, "gcc-12" for any GCC 12.
"""

import csv
import os
import re
import shutil
import subprocess
import unittest

import program
from program import FIXTURES, ProgramTest

ALLOWED = 0.10


class Instructions(ProgramTest):
    def recorded(self, instruction_set):
        with open(FIXTURES / "instructions.csv") as file:
            for row in csv.DictReader(file):
                if (row["compiler"], row["instruction_set"]) == (self.compiler, instruction_set):
                    return int(row["instructions"])
        self.skipTest(f"no figure for {self.compiler}, {instruction_set}")
        return None

    @unittest.skipUnless(shutil.which("valgrind"), "no valgrind")
    def test_of_a_training_step(self):
        self.compiler = os.environ.get("NNMF_COMPILER", "unknown")
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                   "--collect-atstart=no", "--toggle-collect=step_run", program.PROGRAM, "train",
                   "--device", "cpu", "--threads", "1", "--data", program.cifar10_folder(),
                   "--batch-size", "2", "--max-steps", "1", "--out", self.folder / "run"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              env=program.environment(), check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        # valgrind supports up to AVX2, so the program may choose other code than without it.
        instruction_set = re.search(r"^Device: CPU, (\w+),", done.stdout, re.MULTILINE)[1]
        counted = int(re.search(r"Collected : (\d+)", done.stderr)[1])
        print(f"{self.compiler}, {instruction_set}: {counted} instructions", flush=True)
        expected = self.recorded(instruction_set)
        self.assertLess(abs(counted / expected - 1.0), ALLOWED,
                        f"{counted} instructions, {expected} are recorded")


if __name__ == "__main__":
    program.main()
