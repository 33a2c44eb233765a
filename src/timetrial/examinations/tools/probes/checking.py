"""Organizing: what is asked of a tool after the sweep, and whether it answers with the sweep."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final, NoReturn, final

from timetrial.examinations.tools.probes.telling import Telling

LIMIT_S: Final = 30  # some clients try for ever to reach a server


@final
class Check:
    """One question; `expect` says whether the answer was right."""

    def __init__(self) -> None:
        """Begin with no answer."""
        self.passed = False
        self.line = "nothing was compared"

    def expect(self, seen: object, wanted: object) -> None:
        """Compare what the tool gave with what the sweep had."""
        self.passed = seen == wanted
        self.line = "" if self.passed else f"got {str(seen)[:200]}, wanted {str(wanted)[:200]}"


@contextlib.contextmanager
def checked(telling: Telling, what: str, how: str) -> Iterator[Check]:
    """Ask one question within; tell whether it was answered, whatever the tool raised."""
    check = Check()
    try:
        with limited():
            yield check
    except Exception as error:  # noqa: BLE001 what a tool raises is what is looked for
        check.passed = False
        check.line = last_line(error)
    telling.tell("checked", what=what, passed=check.passed, how=how, line=check.line)


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Let what stands within take LIMIT_S and no longer.

    Raises:
        TimeoutError: It took longer.
    """

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"no answer in {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def last_line(error: BaseException) -> str:
    """Return an exception as the last line of its traceback."""
    text = f"{type(error).__name__}: {error}".strip()
    return text.splitlines()[-1][:500] if text else type(error).__name__


def close_to(seen: float, wanted: float) -> bool:
    """Compare two values of which one may have been stored in float32."""
    return abs(seen - wanted) <= 1e-6 * max(1.0, abs(wanted))
