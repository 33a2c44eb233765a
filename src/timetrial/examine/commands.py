"""A command that a step runs: watched, and ended with the step or with the worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from timetrial.errors import CannotExamineError
from timetrial.scripted.processes import end_with_parent

LOOK_S: Final = 0.1
_ERRORS_BYTES: Final = 64 * 1024  # of standard error, that the worker's own output keeps


def run_command(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    folder: Path,
    environment: Mapping[str, str],
    look_up: Callable[[], None],
) -> str:
    """Run a command to its end; return its standard output.

    It is a process group of its own, which is killed with whatever is left of it when the command
    has ended, took too long, or `look_up`, called several times a second, raises. Its standard
    error is passed on to the worker's.

    Raises:
        CannotExamineError: It cannot be started, took too long, or ended with another code than 0.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CannotExamineError(f"{words[0]} cannot be started: {reason}") from error
        deadline = time.monotonic() + timeout_s
        try:
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise CannotExamineError(f"{words[0]} took longer than {timeout_s:g} s")
                look_up()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
        finally:
            _kill(process)
            said = _end_of(errors)
            sys.stderr.write(said)
        if process.returncode != 0:
            last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
            raise CannotExamineError(
                f"{words[0]} ended with exit code {process.returncode}: {last or 'it said nothing'}"
            )
        output.seek(0)
        return output.read().decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the command's group, also what it left running."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ERRORS_BYTES))
    return file.read().decode(errors="replace")
