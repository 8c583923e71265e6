#!/usr/bin/env python3
"""The order of the rooms: no include points upward, and include/nnmf only has headers of C and CUDA.

A room is a folder of src. It includes its own headers, those of rooms on lower floors, all by room
("training/steps.h"), and those of include/nnmf. kernels includes its own headers and include/nnmf.
"""

import pathlib
import re
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[1]
FLOORS = (("base",), ("formats",), ("data",), ("operations",), ("network",),
          ("training", "pictures", "robustness"), ("settings",), ("run",), ("commands",))
MADE = {"base/version.h", "commands/commit.h", "event.pb-c.h"}  # by CMake
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def sources(folder, *suffixes):
    return sorted(path for path in folder.rglob("*") if path.suffix in suffixes)


def included(path):
    return INCLUDE.findall(path.read_text())


def fault(room, name, src, shared):
    """-> the error if a file of `room` includes `name`, or None."""
    if name in MADE:
        return None
    if name.startswith("nnmf/"):
        return None if (shared / name).is_file() else "is not in include/nnmf"
    if not (src / name).is_file():
        return "does not name a header by its room"
    other = name.split("/")[0]
    if other == room or FLOOR[other] < FLOOR[room]:
        return None
    return f"points upward from {room}"


def faults(src, shared):
    found = []
    for path in sources(src, ".c", ".h"):
        room = path.relative_to(src).parts[0]
        for name in included(path):
            why = fault(room, name, src, shared)
            if why:
                found.append(f"{path.relative_to(src)}: {name} {why}")
    return found


class Rooms(unittest.TestCase):
    src, shared, kernels = ROOT / "src", ROOT / "include", ROOT / "kernels"

    def test_every_room_has_a_floor(self):
        rooms = {path.name for path in self.src.iterdir() if path.is_dir()}
        self.assertEqual(rooms, set(FLOOR))

    def test_no_include_points_upward(self):
        self.assertEqual(faults(self.src, self.shared), [])

    def test_sources_are_seen(self):
        """An empty search would find no fault."""
        self.assertGreater(len(sources(self.src, ".c", ".h")), 100)
        self.assertGreater(len(sources(self.kernels, ".cu", ".cuh")), 15)

    def test_faults_are_found(self):
        for room, name, why in (("training", "run/run.h", "points upward"),
                                ("network", "training/steps.h", "points upward"),
                                ("formats", "data/dataset.h", "points upward"),
                                ("training", "pictures/sheets.h", "points upward"),
                                ("training", "steps.h", "by its room"),
                                ("training", "nnmf/steps.h", "not in include/nnmf")):
            with self.subTest(room=room, name=name):
                self.assertIn(why, fault(room, name, self.src, self.shared) or "")
        for room, name in (("run", "training/steps.h"), ("training", "training/batches.h"),
                           ("base", "nnmf/error.h"), ("data", "formats/picture.h")):
            with self.subTest(room=room, name=name):
                self.assertIsNone(fault(room, name, self.src, self.shared))

    def test_kernels_include_their_own_headers_and_the_shared_ones(self):
        for path in sources(self.kernels, ".cu", ".cuh"):
            for name in included(path):
                known = (self.shared if name.startswith("nnmf/") else self.kernels) / name
                self.assertTrue(known.is_file(), f"{path.name}: {name}")

    def test_the_shared_headers_are_shared(self):
        """Each is reached from kernels and from src."""
        for folder in (self.kernels, self.src):
            seen, queue = set(), []
            for path in sources(folder, ".c", ".h", ".cu", ".cuh"):
                queue += [name for name in included(path) if name.startswith("nnmf/")]
            while queue:
                name = queue.pop()
                if name not in seen:
                    seen.add(name)
                    queue += [n for n in included(self.shared / name) if n.startswith("nnmf/")]
            have = {f"nnmf/{path.name}" for path in (self.shared / "nnmf").iterdir()}
            self.assertEqual(seen, have, folder.name)

    def test_the_shared_headers_include_no_room(self):
        for path in sources(self.shared, ".h"):
            for name in included(path):
                self.assertTrue(name.startswith("nnmf/"), f"{path.name}: {name}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
