"""Runs a script of the repository in the test's process, so that its imports are only done once."""

import contextlib
import importlib.machinery
import importlib.util
import io
import sys
from unittest import mock

import program


class Script:
    def __init__(self, name, folder="scripts"):
        self.name, self.path = name, program.TESTS.parent / folder / name
        loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(self.path))
        spec = importlib.util.spec_from_loader(loader.name, loader)
        self.module = importlib.util.module_from_spec(spec)
        loader.exec_module(self.module)

    def run(self, *arguments):
        """Runs the script -> the text of the error that ended it, or None; its standard output."""
        out, argv = io.StringIO(), [self.name, *map(str, arguments)]
        with contextlib.redirect_stdout(out), mock.patch.object(sys, "argv", argv):
            try:
                self.module.main()
            except SystemExit as end:
                return end.code, out.getvalue()
        return None, out.getvalue()
