"""A breakpoint inside a model, as a debugger sets one: whether and how often it is reached."""

from __future__ import annotations

import bdb
import inspect
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any


class Breakpoint(bdb.Bdb):
    """Stops at one line of one function, looks at a local variable, and goes on.

    It is Python's own debugger without its prompt: what it reaches, `pdb` and an IDE reach.
    """

    def __init__(self, function: Callable[..., object], line: str, look: Callable[[Any], object],
                 variable: str) -> None:  # fmt: skip
        """Set it at the first line of `function` that begins with `line`.

        Each time, `look` is called with the local `variable` there; what it raises means that its
        value cannot be read.
        """
        super().__init__()
        code: CodeType = inspect.unwrap(function).__code__
        lines, first = inspect.getsourcelines(code)
        [place] = [n for n, text in enumerate(lines) if text.strip().startswith(line)]
        self._look, self._variable = look, variable
        self.reached = 0
        self.readable = 0
        self.why_not = ""  # the last value that could not be read
        refused = self.set_break(code.co_filename, first + place)
        assert refused is None, refused  # the line is there: it was just read

    def user_line(self, frame: FrameType) -> None:
        """Called by `bdb` where it stops."""
        if self.break_here(frame):
            self.reached += 1
            try:
                self._look(frame.f_locals[self._variable])
                self.readable += 1
            except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
                self.why_not = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        self.set_continue()

    def during(self, call: Callable[[], object]) -> None:
        """Call with the breakpoint set."""
        self.runcall(call)
