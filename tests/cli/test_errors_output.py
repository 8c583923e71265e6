#!/usr/bin/env python3
"""Files or standard output that cannot be written: exit status, one-line message, no partial files."""

import os
import resource
import shutil
import signal

import program
from program import SMALL, ProgramTest, make_fixtures

FAILED = 1


class Output(ProgramTest):
    """A run's files that cannot be written."""

    def setUp(self):
        super().setUp()
        self.options = ["--data", program.mnist_folder(), *SMALL, "--train-range", "0:20"]

    def snapshot(self, folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
                if p.is_file()}

    def test_folder_with_a_run(self):
        run = self.folder / "run"
        self.succeed(*self.options, "--epochs", 1, "--out", run)
        before = self.snapshot(run)
        self.fail_with(FAILED, *self.options, "--epochs", 2, "--out", run,
                       mention=(run, "--resume"))
        self.assertEqual(self.snapshot(run), before)

    def test_below_a_file(self):
        (self.folder / "file").write_bytes(b"content")
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.folder / "file",
                       mention=self.folder / "file")
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out",
                       self.folder / "file" / "a" / "b", mention=self.folder / "file")
        self.assertEqual(self.snapshot(self.folder), {"file": b"content"})

    def test_missing_parents_are_made(self):
        run = self.folder / "a" / "b" / "c"
        self.succeed(*self.options, "--epochs", 1, "--out", f"{run}//")
        self.assertTrue((run / "last.safetensors").is_file())

    def test_unwritable_folder(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        self.folder.chmod(0o500)
        self.addCleanup(self.folder.chmod, 0o700)
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.folder / "run",
                       mention=self.folder / "run")

    def test_paths_that_cannot_be_written(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        before = self.snapshot(self.folder)
        common = [*SMALL, "--weights", weights, "--data", program.mnist_folder()]
        for target in (self.folder, "/dev/full", "/dev/null", self.folder / "none" / "file",
                       weights / "file"):
            with self.subTest(target=target):
                self.fail_with(FAILED, "trace", *common, "--out", target, mention=str(target),
                               out=None)
                self.fail_with(FAILED, "eval", *common, "--probabilities", target,
                               mention=str(target), out=None)
                self.fail_with(FAILED, *self.options, "--epochs", 1, "--log-steps", target,
                               "--out", self.folder / f"run-{len(str(target))}",
                               mention=str(target), out=None)
                for run in self.folder.glob("run-*"):
                    shutil.rmtree(run)
        self.assertEqual(self.snapshot(self.folder), before)

    def check_full(self, ignore_signal):
        """A file size limit between the sizes of best and last: the next last cannot be written."""
        run = self.folder / "run"
        self.succeed(*self.options, "--epochs", 1, "--out", run)
        old = (run / "last.safetensors").read_bytes()
        size = (run / "best.safetensors").stat().st_size
        self.assertGreater(len(old), 2 * size)

        def prepare():
            if ignore_signal:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size, 2 * size))

        self.fail_with(FAILED, "--resume", run, "--epochs", 2, prepare=prepare, out=None,
                       mention=run / "last.safetensors")
        self.assertTrue((run / "last.safetensors").read_bytes() == old, "last has changed")
        self.check_no_leftovers(run)
        self.succeed("--resume", run, "--epochs", 2)
        self.succeed(*self.options, "--epochs", 2, "--out", self.folder / "whole")
        self.check_same_checkpoint(run / "last.safetensors",
                                   self.folder / "whole" / "last.safetensors")
        self.assertEqual(program.metrics_rows(run), program.metrics_rows(self.folder / "whole"))

    def test_full_output(self):
        self.check_full(ignore_signal=True)

    def test_file_size_limit_with_sigxfsz(self):
        self.check_full(ignore_signal=False)

    def test_full_output_of_trace_and_eval(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        common = [*SMALL, "--weights", weights, "--data", program.mnist_folder()]

        def prepare():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        for command, option in (("trace", "--out"), ("eval", "--probabilities")):
            self.fail_with(FAILED, command, *common, option, self.folder / "file", out=None,
                           prepare=prepare, mention=self.folder / "file")
        self.assertEqual(os.listdir(self.folder), ["w.safetensors"])


class StandardOutput(ProgramTest):
    """Standard output that is closed or full."""

    def run_into(self, stdout, *arguments):
        if stdout == "closed":
            return program.execute(*arguments, prepare=lambda: os.close(1))
        with open("/dev/full", "wb") as full:
            return program.execute(*arguments, stdout=full)

    def test_texts(self):
        for stdout in ("closed", "full"):
            for arguments in (["info"], ["--help"], ["--version"]):
                with self.subTest(stdout=stdout, arguments=arguments):
                    result = self.run_into(stdout, *arguments)
                    self.check_failure(result, FAILED, "standard output")

    def test_training(self):
        """Training completes, and no file of the run receives standard output."""
        options = ["--data", program.mnist_folder(), *SMALL, "--epochs", 2]
        self.succeed(*options, "--out", self.folder / "good")
        for stdout in ("closed", "full"):
            run = self.folder / stdout
            result = self.run_into(stdout, *options, "--out", run)
            self.check_failure(result, FAILED, "standard output")
            for name in ("last.safetensors", "best.safetensors"):
                self.check_same_checkpoint(run / name, self.folder / "good" / name)
            self.assertEqual(program.metrics_rows(run), program.metrics_rows(self.folder / "good"))

    def test_eval(self):
        weights = self.folder / "w.safetensors"
        make_fixtures.write_safetensors(weights, make_fixtures.weights("mnist"), {})
        for stdout in ("closed", "full"):
            result = self.run_into(stdout, "eval", *SMALL, "--data", program.mnist_folder(),
                                   "--weights", weights)
            self.check_failure(result, FAILED, "standard output")


if __name__ == "__main__":
    program.main()
