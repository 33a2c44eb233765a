"""What a user asks to be measured, checked and turned into the parts of a plan that differ.

What is said here of all that learns nothing holds for examinations too.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from timetrial.errors import UnknownNameError, UsageError
from timetrial.plan import MEASUREMENTS, Request, Rhythm, check_place
from timetrial.spec import Examination, Exchange

Unlearned: TypeAlias = Exchange | Examination

_OF_LEARNING: Final = {  # field of Request -> the option that sets it
    "dataset": "--dataset",
    "eval_split": "--eval-split",
    "target": "--target",
    "budget_s": "--budget",
    "precision": "--precision",
    "partition": "--partition",
    "algorithm": "--algorithm",
    "light_steps": "--light-steps",
    "inference_s": "--inference",
}
_SETTINGS: Final = ("sample_every_s", "timeout_s")


def find(name: str) -> Exchange | None:
    """Return the measuring task called `name`, None where it is none.

    Raises:
        UsageError: What another package registered is none.
    """
    if name not in MEASUREMENTS.names():
        return None
    found = MEASUREMENTS.get(name)
    if not isinstance(found, Exchange):
        raise UsageError(
            f"Measuring task {name!r} is not a timetrial.spec.Exchange but a "
            f"{type(found).__name__}."
        )
    return found


def check(exchange: Exchange, request: Request) -> None:
    """Refuse what a measurement cannot follow.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    check_unlearned(exchange, request)
    if request.workers < 2:
        raise UsageError(
            f"--workers {request.workers} is not possible for {exchange.name}: it measures between "
            "workers. Allowed: 2 and more, such as --workers 2."
        )
    check_place(request)


def check_unlearned(what: Unlearned, request: Request) -> None:
    """Refuse options that only mean something where something is learned.

    Raises:
        UsageError: With the value seen and what is allowed.
    """
    does = "measures" if isinstance(what, Exchange) else "examines"
    for field, option in _OF_LEARNING.items():
        if getattr(request, field) is not None:
            raise UsageError(
                f"{option} {getattr(request, field)} does not fit {what.name}: it {does}, "
                f"nothing is learned in it. Leave {option} out."
            )
    if request.script:
        raise UsageError(
            f"{what.name} {does}, it is no task that a script could learn. Name a task; "
            "`timetrial list` shows them."
        )
    if request.division != "closed":
        raise UsageError(
            f"--division {request.division} does not fit {what.name}: nothing is learned in "
            "it. Allowed: closed."
        )


def choose_framework(what: Unlearned, name: str | None) -> str:
    """Return the framework asked for, or the first.

    Raises:
        UnknownNameError: It is not done in that one.
    """
    if name is None:
        return next(iter(what.implementations))
    if name not in what.implementations:
        raise UnknownNameError(f"framework of {what.name}", name, what.implementations)
    return name


def rhythm_of(
    what: Unlearned, request: Request, steps: int, *, timeout_s: float | None = None
) -> Rhythm:
    """Return the rhythm with `--set` applied: of the sampler and the timeout alone.

    `timeout_s` of None: the usual one.

    Raises:
        UnknownNameError: Another key.
        UsageError: A value that is not possible.
    """
    chosen: dict[str, float] = {} if timeout_s is None else {"timeout_s": timeout_s}
    for key, value in request.settings.items():
        if key not in _SETTINGS:
            raise UnknownNameError(f"key of --set for {what.name}", key, _SETTINGS)
        try:
            chosen[key] = float(value)
        except ValueError as error:
            raise UsageError(
                f"--set {key}={value} is not possible. Allowed: a number of seconds."
            ) from error
        least = 0.0 if key == "sample_every_s" else 1e-9
        if not least <= chosen[key] < float("inf"):
            raise UsageError(
                f"--set {key}={value} is not possible. Allowed: "
                f"{'0 and more' if least == 0 else 'above 0'}."
            )
    return Rhythm(eval_every_steps=steps, fence_every_steps=0, **chosen)
