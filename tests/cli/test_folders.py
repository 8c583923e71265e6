#!/usr/bin/env python3
"""A folder belongs to one run: runs that start in the same second, and a run in use."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import program
from program import SMALL, ProgramTest, Running

FAILED = 1
HOST = re.sub(r"[^-\w.]", "_", socket.gethostname()[:63], flags=re.ASCII)


class FolderTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / "run"
        self.options = ["--data", program.mnist_folder(), *SMALL, "--train-range", "0:10",
                        "--test-range", "0:5", "--device", "cpu"]

    def holder(self, running):
        return f"process {running.process.pid} on {HOST}"

    def endless(self, *options):
        """A run that is training."""
        running = Running(*options, "--epochs", 1000000)
        self.addCleanup(running.process.kill)
        running.wait_for(b"Epoch: ")
        return running


class New(FolderTest):
    def train(self, *options):
        return self.succeed(*self.options, "--epochs", 1, *options, cwd=self.folder)

    def test_next_free_name(self):
        """The folder of every second in which the run may start exists."""
        names = {time.strftime("mnist-%Y%m%d-%H%M%S", time.localtime(time.time() + second))
                 for second in range(2 * program.TIMEOUT)}
        for name in names:
            os.makedirs(self.folder / "runs" / name)
        result = self.train()
        self.assertRegex(result.out, r"\nRun: runs/mnist-\d{8}-\d{6}-2\n")
        name = re.search(r"\nRun: runs/(.*)-2\n", result.out)[1]
        self.assertEqual(os.listdir(self.folder / "runs" / name), [])
        for name in names:
            os.makedirs(self.folder / "runs" / f"{name}-2", exist_ok=True)
        self.assertRegex(self.train().out, r"\nRun: runs/mnist-\d{8}-\d{6}-3\n")

    def begin_together(self, *options):
        command = program.command_line([*self.options, "--epochs", 3, *options])
        processes = [subprocess.Popen(command, cwd=self.folder, env=program.environment(),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE) for _ in range(4)]
        results = []
        for process in processes:
            out, err = process.communicate(timeout=program.TIMEOUT)
            results.append(program.Result(command, process.returncode, out.decode(), err.decode()))
        return results

    def test_together_without_out(self):
        results = self.begin_together()
        for result in results:
            self.check_success(result)
        folders = {re.search(r"^Run: (.*)$", result.out, re.MULTILINE)[1] for result in results}
        self.assertEqual(len(folders), 4, folders)
        for folder in folders:
            self.assertEqual(len(program.metrics_rows(self.folder / folder)), 4, folder)

    def test_together_with_the_same_out(self):
        results = self.begin_together("--out", self.run_folder)
        winners = [result for result in results if result.status == 0]
        self.assertEqual(len(winners), 1, "".join(map(str, results)))
        for result in results:
            if result.status != 0:
                self.check_failure(result, FAILED, self.run_folder, "--out")
                self.assertEqual(result.out, "", result)
        self.assertEqual(len(program.metrics_rows(self.run_folder)), 4)
        self.check_no_leftovers(self.folder)

    def test_empty_folder_is_taken(self):
        self.run_folder.mkdir()
        self.train("--out", self.run_folder)
        self.assertTrue((self.run_folder / "last.safetensors").is_file())
        self.assertFalse((self.run_folder / "lock").exists())

    def test_failed_start_leaves_nothing(self):
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.run_folder,
                       "--log-steps", self.folder / "nowhere" / "steps.csv", mention="nowhere")
        self.assertEqual(os.listdir(self.folder), [])


class Lock(FolderTest):
    def test_run_at_work(self):
        """Neither --out nor --resume disturbs it; their errors name its process."""
        running = self.endless(*self.options, "--out", self.run_folder)
        holder = self.holder(running)
        self.assertEqual((self.run_folder / "lock").read_text(), f"{holder}\n")
        self.fail_with(FAILED, "--resume", self.run_folder, "--epochs", 1,
                       mention=(self.run_folder, holder))
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.run_folder,
                       mention=(self.run_folder, holder, "--out"))
        running.signal(signal.SIGTERM)
        self.assertEqual(running.finish().status, 128 + signal.SIGTERM)
        self.assertFalse((self.run_folder / "lock").exists())
        epochs = len(program.metrics_rows(self.run_folder)) - 1
        self.succeed("--resume", self.run_folder, "--epochs", epochs + 1)
        self.assertEqual(len(program.metrics_rows(self.run_folder)), epochs + 2)

    def test_resumed_run_at_work(self):
        self.succeed(*self.options, "--epochs", 3, "--out", self.run_folder)
        running = self.endless("--resume", self.run_folder)
        self.fail_with(FAILED, "--resume", self.run_folder, "--epochs", 3,
                       mention=(self.run_folder, self.holder(running)))
        self.assertGreater(len(program.metrics_rows(self.run_folder)), 3)
        running.signal(signal.SIGTERM)
        self.assertEqual(running.finish().status, 128 + signal.SIGTERM)
        self.assertFalse((self.run_folder / "lock").exists())

    def test_statistics_of_a_run_at_work(self):
        """Writing to the run's own files would lose the epochs since they were read."""
        last = self.run_folder / "last.safetensors"
        running = self.endless(*self.options, "--out", self.run_folder)
        for name in ("last.safetensors", "best.safetensors"):
            self.fail_with(FAILED, "statistics", "--weights", last, "--out", self.run_folder / name,
                           *self.options[:2], mention=(self.run_folder, self.holder(running)))
            self.fail_with(FAILED, "statistics", "--weights", name, "--out", name,
                           *self.options[:2], cwd=self.run_folder, mention=self.holder(running))
        self.succeed("statistics", "--weights", last, *self.options[:2], "--out",
                     self.run_folder / "other.safetensors")
        running.signal(signal.SIGTERM)
        self.assertEqual(running.finish().status, 128 + signal.SIGTERM)
        self.succeed("statistics", "--weights", last, *self.options[:2], "--out", last)
        self.assertFalse((self.run_folder / "lock").exists())

    def endless_epoch(self):
        """A run in its first epoch, which ends on request."""
        running = Running("--data", program.mnist_folder(2000, 30), *SMALL, "--device", "cpu",
                          "--epochs", 1, "--iterations", 200, "--out", self.run_folder)
        self.addCleanup(running.process.kill)
        running.wait_for(b"Run: ")
        return running

    def test_folder_of_another_run_now(self):
        """The folder was moved or removed and another run starts there: its files are not changed."""
        for change in (lambda: self.run_folder.rename(self.folder / "moved"),
                       lambda: shutil.rmtree(self.run_folder)):
            running = self.endless_epoch()
            change()
            other = self.endless(*self.options, "--out", self.run_folder)
            running.signal(signal.SIGTERM)
            self.check_failure(running.finish(), FAILED, self.run_folder, self.holder(other))
            other.signal(signal.SIGTERM)
            self.assertEqual(other.finish().status, 128 + signal.SIGTERM)
            metadata = program.read_checkpoint(self.run_folder / "last.safetensors")[1]
            self.assertEqual(json.loads(metadata["options"])["train-range"], "0:10")
            self.assertEqual(len(program.metrics_rows(self.run_folder)),
                             int(metadata["epoch"]) + 1)
            shutil.rmtree(self.run_folder)
        self.assertTrue((self.folder / "moved" / "lock").exists())

    def test_removed_lock(self):
        """The user removes the lock of a running process."""
        running = self.endless(*self.options, "--out", self.run_folder)
        (self.run_folder / "lock").unlink()
        program.wait_until((self.run_folder / "lock").exists)
        self.fail_with(FAILED, "--resume", self.run_folder, "--epochs", 1,
                       mention=(self.run_folder, self.holder(running)))
        running.signal(signal.SIGTERM)
        self.assertEqual(running.finish().status, 128 + signal.SIGTERM)

    def test_killed_run(self):
        """The file stays, but is not locked."""
        running = self.endless(*self.options, "--out", self.run_folder)
        running.signal(signal.SIGKILL)
        self.assertEqual(running.finish().status, -signal.SIGKILL)
        self.assertTrue((self.run_folder / "lock").exists())
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.run_folder,
                       mention=("folder has a run", "--resume"))
        epochs = len(program.metrics_rows(self.run_folder)) - 1
        self.succeed("--resume", self.run_folder, "--epochs", epochs + 1)
        self.assertFalse((self.run_folder / "lock").exists())

    def test_file_of_a_new_run_that_has_no_other_yet(self):
        self.run_folder.mkdir()
        (self.run_folder / "lock").write_text("process 1 on elsewhere\n")
        self.fail_with(FAILED, *self.options, "--epochs", 1, "--out", self.run_folder,
                       mention=(self.run_folder, "--resume"))
        self.assertEqual(os.listdir(self.run_folder), ["lock"])

    def test_folder_without_a_run(self):
        self.run_folder.mkdir()
        self.fail_with(FAILED, "--resume", self.run_folder, mention="config.json")
        self.assertEqual(os.listdir(self.run_folder), [])

    def test_bad_configuration(self):
        self.run_folder.mkdir()
        (self.run_folder / "config.json").write_text("{")
        self.fail_with(FAILED, "--resume", self.run_folder, mention="config.json")
        self.assertEqual(os.listdir(self.run_folder), ["config.json"])

    def test_folder_that_takes_no_lock(self):
        self.succeed(*self.options, "--epochs", 1, "--out", self.run_folder)
        (self.run_folder / "lock").mkdir()
        self.fail_with(FAILED, "--resume", self.run_folder, "--epochs", 2,
                       mention=("cannot lock", self.run_folder / "lock"))
        (self.run_folder / "lock").rmdir()
        if os.geteuid() != 0:
            self.run_folder.chmod(0o500)
            self.addCleanup(self.run_folder.chmod, 0o700)
            self.fail_with(FAILED, "--resume", self.run_folder, "--epochs", 2,
                           mention=("cannot lock", self.run_folder / "lock"))


if __name__ == "__main__":
    program.main()
