"""Many runs of one invocation: side by side where their launcher has room, else in turn."""

from __future__ import annotations

import concurrent.futures
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeVar, final

from timetrial.launch import Farms, Launcher
from timetrial.plan import Plan

T = TypeVar("T")
Hear = Callable[[], None]
"""Called often by each run; raises KeyboardInterrupt once for each time the user asked to stop."""

ALONE: Final = 1.0
_ROUNDING: Final = 1e-9


@final
class _Stop:
    """Counts how often the user asked to stop, inside its `with` block, and interrupts nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self._before: Any = None

    def listener(self) -> Hear:
        """Return what tells one run, once for each time."""
        heard = self.asked

        def hear() -> None:
            nonlocal heard
            if heard < self.asked:
                heard += 1
                raise KeyboardInterrupt

        return hear

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # else Ctrl-C is another's
            self._before = signal.signal(signal.SIGINT, self._count)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _count(self, _number: int, _frame: object) -> None:
        self.asked += 1


def share_of(launcher: Launcher, plan: Plan) -> float:
    """Return which share of the free machines a run takes; ALONE: it runs by itself.

    Raises:
        LaunchError, UsageError: The run can never find room.
    """
    room = launcher.capacity(plan) if isinstance(launcher, Farms) else 1
    return ALONE / max(1, room)


def run_all(items: Sequence[T], shares: Sequence[float], work: Callable[[T, Hear], None]) -> None:
    """Do the work of all items in their order, as many at once as have room together.

    One that takes all runs in this thread with no other beside it. Others run in threads of their
    own: Ctrl-C reaches them by `Hear`, and all of them have ended when this returns or raises.
    After an error no further item begins; those that run go on to their end.

    Raises:
        KeyboardInterrupt: The user asked to stop.
        Exception: The first that an item's work raised.
    """
    stop = _Stop()
    waiting = deque(zip(items, shares, strict=True))
    with concurrent.futures.ThreadPoolExecutor(max(1, len(items)), "run") as pool:
        while waiting:
            if waiting[0][1] >= ALONE:
                work(waiting.popleft()[0], lambda: None)
                continue
            with stop:
                error = _side_by_side(waiting, work, pool, stop)
            if stop.asked:
                raise KeyboardInterrupt
            if error is not None:
                raise error


def _side_by_side(
    waiting: deque[tuple[T, float]],
    work: Callable[[T, Hear], None],
    pool: concurrent.futures.ThreadPoolExecutor,
    stop: _Stop,
) -> BaseException | None:
    """Do the work up to the next item that runs alone; return the first error."""
    running: dict[concurrent.futures.Future[None], float] = {}
    errors: list[BaseException] = []
    while True:
        while waiting and not errors and not stop.asked:
            share = waiting[0][1]
            if share >= ALONE or sum(running.values()) + share > ALONE + _ROUNDING:
                break
            item, _ = waiting.popleft()
            running[pool.submit(work, item, stop.listener())] = share
        if not running:
            return errors[0] if errors else None
        first = concurrent.futures.FIRST_COMPLETED
        for future in concurrent.futures.wait(running, return_when=first).done:
            del running[future]
            error = future.exception()
            if error is not None and not isinstance(error, KeyboardInterrupt):
                errors.append(error)
