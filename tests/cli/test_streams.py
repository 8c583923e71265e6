#!/usr/bin/env python3
"""Standard streams that are closed when the program starts."""

import os
import signal

import program
from program import SMALL, ProgramTest, Running

FAILED = 1
STREAMS = (0, 1, 2)


def closing(*descriptors):
    """For `prepare`."""
    def close():
        for descriptor in descriptors:
            os.close(descriptor)
    return close


class Closed(ProgramTest):
    """`<&-`, `>&-`, `2>&-`, and all of them at once."""

    CASES = ((0,), (1,), (2,), STREAMS)

    def setUp(self):
        super().setUp()
        self.options = ["--data", program.mnist_folder(), *SMALL, "--device", "cpu"]

    def test_files_stay_apart(self):
        """No file of a run gets the descriptor of a standard stream."""
        for closed in self.CASES:
            with self.subTest(closed=closed):
                run = self.folder / f"run-{len(closed)}-{closed[0]}"
                running = Running(*self.options, "--epochs", 1000000, "--out", run,
                                  prepare=closing(*closed))
                self.addCleanup(running.process.kill)
                program.wait_until(lambda: (run / "best.safetensors").exists())
                opened = [os.readlink(f"/proc/{running.process.pid}/fd/{number}")
                          for number in STREAMS]
                running.signal(signal.SIGTERM)
                result = running.finish()
                for number in closed:
                    self.assertEqual(opened[number], "/dev/null", result)
                # Writing to a closed standard output fails.
                self.assertEqual(result.status, FAILED if 1 in closed else 128 + signal.SIGTERM)
                (events,) = run.glob("events.out.tfevents.*")
                for text in (b"Actual lr:", b"standard output", b"Stopped in epoch"):
                    self.assertNotIn(text, events.read_bytes())

    def test_error_with_closed_streams(self):
        """The exit status is the same, and the message only goes to standard error."""
        for closed in self.CASES:
            with self.subTest(closed=closed):
                result = program.execute(*self.options, "--train-range", "0:61",
                                         prepare=closing(*closed), cwd=self.folder)
                self.assertEqual(result.status, 2, result)
                self.assertEqual(result.out, "", result)
                self.assertEqual("0:61" in result.err, 2 not in closed, result)
                self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    program.main()
