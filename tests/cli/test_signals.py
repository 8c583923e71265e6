#!/usr/bin/env python3
"""Signals, and a reader of standard output that goes away: what ends a run, and what it leaves
behind."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time
import unittest

import program
from program import SMALL, WRAPPER, Running, make_fixtures
from test_runs import RunTest


def processor_seconds(process):
    """-> processor time of a process and its children."""
    folder = pathlib.Path(f"/proc/{process}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = (folder / "task" / str(process) / "children").read_text().split()
    return own + sum(map(processor_seconds, children))


class SignalTest(RunTest):
    """An epoch of 400 steps that never finishes; comparisons end after 30 steps."""

    def setUp(self):
        super().setUp()
        self.options = ["--data", program.mnist_folder(2000, 30), *SMALL, "--epochs", 9]
        self.run_folder = self.folder / "run"

    def start(self, *arguments, **how):
        running = Running(*arguments, **how)
        self.addCleanup(running.process.kill)
        return running

    def start_long_steps(self, **how):
        """-> a run in its first step, which takes far too long."""
        running = self.start("--data", program.mnist_folder(), "--dataset", "mnist", "--device",
                             "cpu", "--batch-size", 50, "--iterations", 1000000, "--epochs", 1,
                             "--out", self.run_folder, **how)
        self.wait_for_step(running)
        return running

    def wait_for_step(self, running):
        """Waits until the process is in its first step, which it would not start after a signal. It
        is there once it has used processor time for a while, since before there is little work."""
        running.wait_for(b"Run: ")
        before = processor_seconds(running.process.pid)
        program.wait_until(lambda: processor_seconds(running.process.pid) > before + 0.5)

    def signal_until_it_ends(self, process, send, pause):
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            send()
            time.sleep(pause)

    def interrupt(self, run, number, terminal=False):
        running = Running(*self.options, "--out", run, terminal=terminal)
        running.wait_for(b"Expected:")
        running.signal(number)
        return running.finish()

    def check_checkpoint(self, run, result, number):
        """-> the number of steps in the checkpoint."""
        self.assertEqual(result.status, 128 + number, result)
        self.assertEqual(result.error_lines(), [], result)
        self.assertIn(f"nnmf-train --resume {run}", result.out, result)
        self.check_no_leftovers(run)
        return int(program.read_checkpoint(run / "last.safetensors")[1]["updates"])


class Orderly(SignalTest):
    def test_in_training(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            for terminal in (False, True):
                with self.subTest(signal=number, terminal=terminal):
                    run = self.folder / f"run-{number}-{terminal}"
                    result = self.interrupt(run, number, terminal)
                    steps = self.check_checkpoint(run, result, number)
                    last = run / "last.safetensors"
                    self.assertGreater(steps, 10)
                    self.assertLess(steps, 400)
                    self.resume(run, "--max-steps", steps + 3)
                    whole = self.folder / f"whole-{number}-{terminal}"
                    self.succeed(*self.options, "--out", whole, "--max-steps", steps + 3)
                    self.check_same_checkpoint(last, whole / "last.safetensors")

    def test_in_testing(self):
        images = 400 if WRAPPER else 1500 if program.is_sanitized() else 6000
        data = program.mnist_folder(10, images)
        options = ["--data", data, *SMALL, "--epochs", 1]
        run = self.folder / "run"
        running = Running(*options, "--out", run, terminal=True)
        running.wait_for(b"Testing epoch")
        running.signal(signal.SIGINT)
        result = running.finish()
        self.assertEqual(result.status, 128 + signal.SIGINT, result)
        _, metadata = program.read_checkpoint(run / "last.safetensors")
        self.assertEqual((metadata["epoch"], metadata["step"]), ("0", "2"), result)
        self.resume(run)
        self.succeed(*options, "--out", self.folder / "whole")
        self.check_same_run(self.folder / "whole", run)

    def test_signals_of_other_systems(self):
        """From a terminal that hangs up, or a batch system before a time limit."""
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
            with self.subTest(signal=number):
                run = self.folder / f"run-{number}"
                result = self.interrupt(run, number)
                self.assertGreater(self.check_checkpoint(run, result, number), 10)

    def test_reason_in_json(self):
        running = self.start(*self.options, "--out", self.run_folder, "--log-format", "json")
        running.wait_for(b'"start"')
        running.signal(signal.SIGHUP)
        result = running.finish()
        self.assertEqual(result.status, 128 + signal.SIGHUP, result)
        end = json.loads(result.out.splitlines()[-1])
        self.assertEqual((end["event"], end["reason"], end["signal"]),
                         ("end", "signal", signal.SIGHUP), result)

    def test_ignored_signal_stays_ignored(self):
        """As with nohup, or in the background of a shell script."""
        ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1)

        def ignore():
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)

        running = self.start("--data", program.mnist_folder(), *SMALL, "--epochs", 1000000,
                             "--out", self.run_folder, prepare=ignore)
        running.wait_for(b"Epoch: 0\n")
        for number in ignored:
            running.signal(number)
        running.seen = b""
        running.wait_for(b"sec\n\nEpoch: ")
        running.signal(signal.SIGTERM)
        self.check_checkpoint(self.run_folder, running.finish(), signal.SIGTERM)


class Repeated(SignalTest):
    def interrupt_twice(self, *numbers):
        """Sends two signals 0.01 s apart, within a longer step."""
        running = self.start("--data", program.mnist_folder(), "--dataset", "mnist", "--device",
                             "cpu", "--batch-size", 50, "--iterations", 50, "--epochs",
                             1000000, "--out", self.run_folder)
        self.wait_for_step(running)
        for number in numbers:
            running.signal(number)
            time.sleep(0.01)
        return running.finish()

    def test_same_interruption(self):
        """Sent twice, as by timeout(1) to a process and then to its group, or by one key press to two."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                self.run_folder = self.folder / f"run-{number}"
                result = self.interrupt_twice(number, number)
                self.check_checkpoint(self.run_folder, result, number)

    def test_the_first_is_the_reason(self):
        result = self.interrupt_twice(signal.SIGHUP, signal.SIGTERM)
        self.check_checkpoint(self.run_folder, result, signal.SIGHUP)

    def test_later_signal(self):
        """A second signal more than a second later ends the program without waiting for the step."""
        running = self.start_long_steps()
        running.signal(signal.SIGTERM)
        time.sleep(0.2)
        self.assertIsNone(running.process.poll(), "the step was too short")
        self.signal_until_it_ends(running.process, lambda: running.signal(signal.SIGINT), 1.1)
        result = running.finish()
        self.assertEqual(result.status, -signal.SIGINT, result)
        self.check_no_leftovers(self.folder)


class Killed(SignalTest):
    def test_killed_in_the_first_epoch(self):
        """There is a checkpoint before the first epoch ends."""
        run = self.folder / "run"
        result = self.interrupt(run, signal.SIGKILL)
        self.assertEqual(result.status, -signal.SIGKILL, result)
        self.resume(run, "--max-steps", 15)
        self.succeed(*self.options, "--out", self.folder / "whole", "--max-steps", 15)
        self.check_same_checkpoint(run / "last.safetensors",
                                   self.folder / "whole" / "last.safetensors")

    def test_killed_again_and_again(self):
        """Killed at random moments of short epochs, so often while it writes files."""
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        run = self.folder / "run"
        options = ["--data", program.mnist_folder(), *SMALL, "--train-range", "0:10",
                   "--test-range", "0:5"]
        start = [*options, "--epochs", 100000, "--out", run]
        with self.subTest(seed=seed):
            for _ in range(3 if WRAPPER else 8):
                last, best = run / "last.safetensors", run / "best.safetensors"
                running = Running(*start)
                # The first best weights are written after the first epoch's line.
                running.wait_for(b"Epoch: " if best.exists() else b"Epoch: 1\n")
                time.sleep(chance.uniform(0.0, 0.1))
                running.signal(signal.SIGKILL)
                result = running.finish()
                self.assertEqual(result.status, -signal.SIGKILL, result)
                self.succeed("eval", "--weights", best, "--data", program.mnist_folder(), *SMALL)
                epoch = int(program.read_checkpoint(last)[1]["epoch"])
                start = ["--resume", run]
            self.resume(run, epochs=epoch + 1)
            self.succeed(*options, "--epochs", epoch + 1, "--out", self.folder / "whole")
            self.check_same_run(self.folder / "whole", run)


class Reader(SignalTest):
    """The reader of standard output goes away, and training continues."""

    GONE = "nnmf-train: standard output: closed by its reader: continuing without it"

    def execute(self, *arguments):
        """Runs with a pipe that nobody reads."""
        source, target = os.pipe()
        os.close(source)
        try:
            return program.execute(*arguments, stdout=target)
        finally:
            os.close(target)

    def check(self, *options):
        result = self.execute("--data", program.mnist_folder(), *SMALL, "--device", "cpu",
                              "--epochs", 3, "--out", self.run_folder, *options)
        self.assertEqual(result.status, 0, result)
        self.assertEqual(result.error_lines(), [self.GONE], result)
        self.assertEqual(len(program.metrics_rows(self.run_folder)), 4)
        self.assertTrue((self.run_folder / "best.safetensors").exists())

    def test_pipe(self):
        self.check()

    def test_json(self):
        self.check("--log-format", "json")

    def check_leaving(self, terminal):
        """After some lines."""
        run = self.folder / f"run-{terminal}"
        running = self.start("--data", program.mnist_folder(), *SMALL, "--device", "cpu",
                             "--epochs", 1000000, "--out", run, terminal=terminal)
        running.wait_for(b"Epoch: 0")
        running.leave()
        rows = len(program.metrics_rows(run)) + 2
        program.wait_until(lambda: running.process.poll() is not None
                           or len(program.metrics_rows(run)) > rows)
        running.signal(signal.SIGTERM)
        result = running.finish()
        self.assertEqual(result.status, 128 + signal.SIGTERM, result)
        self.assertEqual(result.error_lines(), [self.GONE], result)

    def test_head(self):
        self.check_leaving(terminal=False)

    def test_terminal(self):
        self.check_leaving(terminal=True)

    def test_other_commands(self):
        """Their output is their only result, so they end as other programs do."""
        self.assertEqual(self.execute("info").status, -signal.SIGPIPE)

    def test_robustness(self):
        """Continues if it writes a table."""
        weights, table = self.folder / "w.safetensors", self.folder / "table.csv"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        arguments = ["robustness", *SMALL, "--device", "cpu", "--data", program.mnist_folder(),
                     "--weights", weights, "--kind", "contrast"]
        result = self.execute(*arguments, "--out", table)
        self.assertEqual(result.status, 0, result)
        self.assertEqual(result.error_lines(), [self.GONE], result)
        self.assertEqual(len(table.read_text().splitlines()), 8)
        self.assertEqual(self.execute(*arguments).status, -signal.SIGPIPE)


class Robustness(SignalTest):
    """`robustness` keeps finished tests."""

    def arguments(self, *options):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        return ["robustness", *SMALL, "--device", "cpu", "--data", program.mnist_folder(),
                "--weights", weights, "--out", self.folder / "table.csv", *options]

    def rows(self):
        return (self.folder / "table.csv").read_text().splitlines()

    def test_interrupted(self):
        for number in (signal.SIGINT, signal.SIGHUP):
            with self.subTest(signal=number):
                levels = ",".join(["0.1"] * 64)
                arguments = self.arguments("--kind", "uniform-noise", "--levels", levels,
                                           "--repetitions", 40)
                running = self.start(*arguments)
                running.wait_for(b"amplitude\n")
                running.signal(number)
                result = running.finish()
                self.assertEqual(result.status, 128 + number, result)
                self.assertEqual(result.error_lines(), [], result)
                header, *lines, ended = result.out.splitlines()
                rows = self.rows()[1:]
                self.assertRegex(header, r"\Akind +level ")
                self.assertEqual(len(rows), len(lines), result)
                self.assertLess(len(rows), 65)
                self.assertEqual(ended, f"Stopped after {len(rows)} of 65 tests")
                self.assertTrue(rows[0].startswith("0,none,"), rows)
                self.assertTrue(rows[1].startswith("1,uniform-noise,0.1,40,"), rows)
                self.check_no_leftovers(self.folder)

    def test_many_repetitions(self):
        """The program can end between repetitions of the same batch."""
        running = self.start(*self.arguments("--kind", "uniform-noise", "--levels", "0.1",
                                             "--batch-size", 30, "--repetitions", 1000,
                                             "--iterations", 100))
        running.wait_for(b"none ")
        time.sleep(0.5)  # until it is in the repetitions
        running.signal(signal.SIGHUP)
        result = running.finish()
        self.assertEqual(result.status, 128 + signal.SIGHUP, result)
        self.assertIn("Stopped after 1 of 2 tests", result.out)

    def test_killed(self):
        """Each finished test is already in the table."""
        running = self.start(*self.arguments("--kind", "uniform-noise", "--levels",
                                             ",".join(["0.1"] * 64), "--repetitions", 40))
        program.wait_until(lambda: (self.folder / "table.csv").exists() and len(self.rows()) >= 3)
        running.signal(signal.SIGKILL)
        running.finish()
        self.assertLess(len(self.rows()), 66)


def new_process_one():
    """-> a command that runs another one as process 1, as in a container, or None if not permitted."""
    for options in ([], ["--user"]):
        command = ["unshare", *options, "--pid", "--fork"]
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            return None
    return None


PROCESS_ONE = new_process_one()


@unittest.skipUnless(PROCESS_ONE, "no process may be process 1 here")
class ProcessOne(SignalTest):
    """The default action of a signal does not end process 1."""

    def start(self, *arguments):
        # LeakSanitizer looks for its threads in /proc by their outer ids.
        without_leaks = ["env", "ASAN_OPTIONS=detect_leaks=0"]
        running = super().start(*arguments, before=[*without_leaks, *PROCESS_ONE])
        parent = running.process.pid
        children = pathlib.Path(f"/proc/{parent}/task/{parent}/children")
        program.wait_until(lambda: children.read_text() or running.process.poll() is not None)
        self.one = int(children.read_text())
        self.addCleanup(self.kill, signal.SIGKILL)
        return running

    def kill(self, number):
        try:
            os.kill(self.one, number)
        except ProcessLookupError:
            pass

    def check_end(self, running, number, pause):
        self.signal_until_it_ends(running.process, lambda: self.kill(number), pause)
        ended = running.process.poll()
        self.kill(signal.SIGKILL)
        running.finish()
        self.assertEqual(ended, 128 + number)

    def test_other_command(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(signal=number):
                running = self.start("eval", "--dataset", "mnist", "--data", program.mnist_folder(),
                                     "--weights", weights, "--device", "cpu", "--iterations",
                                     1000000)
                self.check_end(running, number, 0.1)

    def test_training(self):
        """The first signal waits for the end of the step, a later one does not."""
        running = self.start_long_steps()
        self.check_end(running, signal.SIGTERM, 1.1)

    def test_checkpoint(self):
        running = self.start(*self.options, "--out", self.run_folder)
        running.wait_for(b"Expected:")
        self.kill(signal.SIGUSR1)
        self.check_checkpoint(self.run_folder, running.finish(), signal.SIGUSR1)


if __name__ == "__main__":
    program.main()
