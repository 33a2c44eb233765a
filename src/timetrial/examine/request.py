"""What a user asks to be examined, checked before it becomes a plan."""

from __future__ import annotations

from timetrial.errors import UsageError
from timetrial.exchange.request import check_unlearned
from timetrial.plan import EXAMINATIONS, Request, check_place
from timetrial.spec import Examination


def find(name: str) -> Examination | None:
    """Return the examination called `name`, None where it is none.

    Raises:
        UsageError: What another package registered is none.
    """
    if name not in EXAMINATIONS.names():
        return None
    found = EXAMINATIONS.get(name)
    if not isinstance(found, Examination):
        raise UsageError(
            f"Examination {name!r} is not a timetrial.spec.Examination but a "
            f"{type(found).__name__}."
        )
    return found


def check(examination: Examination, request: Request) -> None:
    """Refuse what an examination cannot follow.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    check_unlearned(examination, request)
    if request.workers != 1:
        raise UsageError(
            f"--workers {request.workers} is not possible for {examination.name}: its steps are "
            "carried out in one. Allowed: 1."
        )
    check_place(request)
