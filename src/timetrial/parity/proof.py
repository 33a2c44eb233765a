"""The checks of a proof: each framework beside the NumPy reference, all in processes of their own.

The bounds are the project's; what frameworks were seen to give is in docs/results.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from timetrial import frameworks
from timetrial._registry import load_object
from timetrial.errors import ParityError, UnknownNameError, UsageError
from timetrial.parity.scale import Scale, made_up_splits, proof_task, twins_of
from timetrial.parity.side import GIVEN, ORDERS, SEED, Order, seen_file
from timetrial.plan import choose_framework, find_task
from timetrial.spec import Build, Precision, Record, Task, Workload

REFERENCE: Final = "timetrial.tasks.networks.reference:build"
WARM_STEPS: Final = 3  # of the reference, before its variables are given to all sides
FLOAT32_STEPS: Final = 2
OWN_ROUNDING: Final = 3
"""In float32 a gradient may be off by as many times what NumPy's own float32 is off by.

Where that is more than the stated bound: such gradients are small rests of large sums.
"""
TIMEOUT_S: Final = 1800


class Bounds(Record, frozen=True, kw_only=True):
    """How far a side may be from the float64 reference.

    A tensor below `negligible` of the largest of its kind is compared on that scale. Some gradients
    are zero in exact arithmetic, such as that of a shift that a later batch normalisation takes
    away: their rounding errors have no relation to each other.
    """

    negligible: float
    inputs: float
    eval_scores: float  # of the largest score
    scores: float  # in training mode
    loss: float  # of one step, relative
    gradients: float  # per tensor, of its largest number
    losses: float  # of the steps, relative
    variables: float  # after the steps, per tensor
    final_scores: float


FLOAT64: Final = Bounds(
    negligible=1e-6,
    inputs=1e-12,
    eval_scores=1e-10,
    scores=1e-10,
    loss=1e-10,
    gradients=1e-8,
    losses=1e-8,
    variables=1e-7,
    final_scores=1e-7,
)
FLOAT32: Final = Bounds(
    negligible=1e-4,  # x gradients: 42 roundings; in float64 it is 45
    inputs=1e-6,
    eval_scores=1e-5,
    scores=1e-4,
    loss=1e-6,
    gradients=5e-2,  # loose: torch against itself in float64 gave 2.6e-2
    losses=1e-4,  # of two steps
    variables=5e-2,
    final_scores=5e-2,
)


class Check(Record, frozen=True, kw_only=True):
    """One comparison with the reference."""

    framework: str
    precision: Precision
    what: str
    seen: float  # the largest difference, on the scale of the bound
    bound: float
    detail: str  # where the largest difference is

    @property
    def ok(self) -> bool:
        """Whether the difference is within the bound; NaN never is."""
        return self.seen <= self.bound


class TwinCheck(Record, frozen=True, kw_only=True):
    """Whether a broken twin was told apart."""

    framework: str
    twin: str
    seen: float  # its largest difference, as a multiple of the bound
    caught: bool


class Proof(Record, frozen=True, kw_only=True):
    """The proof of one task."""

    task: str
    task_hash: str
    scale: Scale
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    twins: tuple[TwinCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether something was checked, every check holds and every twin was caught."""
        every = [*(check.ok for check in self.checks), *(twin.caught for twin in self.twins)]
        return bool(self.checks) and all(every)


Say = Callable[[str], None]


def prove(
    task: str | Task,
    names: Sequence[str] = (),
    *,
    device: str = "cpu",
    threads: int = 1,
    scale: Scale | None = None,
    precisions: Sequence[Precision] = ("float64", "float32"),
    twins: Sequence[str] = (),
    say: Say = lambda text: None,
) -> Proof:
    """Compare a task's implementations (all installed ones by default) with the reference.

    `twins` names the frameworks in which every mutated twin is run too. `say` is told what goes on.

    Raises:
        UsageError: The task has no reference or no such framework, or nothing can be compared.
        MissingExtraError: A framework asked for is not installed.
        ParityError: A side could not be run; holds what it printed.
    """
    task = find_task(task) if isinstance(task, str) else task
    size = scale or Scale()
    small = proof_task(task, size)
    chosen = _frameworks(task, names)
    if unknown := [name for name in twins if name not in chosen]:
        raise UnknownNameError("framework of the proof", unknown[0], chosen)
    rounds = [
        (precision, bounds, steps)
        for precision, bounds, steps in _rounds(size)
        if precision in task.precisions and precision in precisions
    ]
    if not rounds:
        raise UsageError(
            f"Nothing of task {task.name} can be compared: it computes in "
            f"{', '.join(task.precisions)}, and was to be compared in {', '.join(precisions)}. "
            "Allowed: float64 and float32. Add one to the task's precisions."
        )
    if twins and "float64" not in {precision for precision, _, _ in rounds}:
        raise UsageError(
            f"Twins of task {task.name} cannot be told apart: they are run in float64, and it "
            f"computes in {', '.join(task.precisions)}. Add float64 to the task's precisions, or "
            "leave --twins out."
        )
    say(f"reference: {size.steps} steps in NumPy")
    given = _given(small)
    orders = [_order(small, None, task, "cpu", "float64", threads, size.steps)]
    if "float32" in {precision for precision, _, _ in rounds}:
        orders.append(_order(small, None, task, "cpu", "float32", threads, FLOAT32_STEPS))
    reference, *coarse = _run(orders, given)
    checks: list[Check] = []
    seen_twins: list[TwinCheck] = []
    for name in chosen:
        orders = [_order(small, name, task, device, row[0], threads, row[2]) for row in rounds]
        mutated = twins_of(small) if name in twins else []
        of_twins = [
            msgspec.structs.replace(orders[-1], task=twin.task, look=False) for twin in mutated
        ]
        asked = ", ".join(f"{order.steps} steps in {order.precision}" for order in orders)
        say(f"{name}: {asked}, {len(mutated)} twins")
        sides = _run([*orders, *of_twins], given)
        for (precision, bounds, steps), side in zip(rounds, sides, strict=False):
            own = coarse[0] if precision == "float32" else None
            checks += _compare(name, precision, bounds, side, reference, steps, own)
        for twin, other in zip(mutated, sides[len(rounds) :], strict=True):
            apart = _apart(other, reference)
            seen_twins.append(
                TwinCheck(framework=name, twin=twin.name, seen=apart, caught=not apart <= 1)
            )
    return Proof(
        task=task.name,
        task_hash=task.hash(),
        scale=size,
        notes=_notes(task, small),
        checks=tuple(checks),
        twins=tuple(seen_twins),
    )


def _frameworks(task: Task, names: Sequence[str]) -> list[str]:
    """Return the frameworks asked for, or all of the task's that are installed.

    Raises:
        UsageError: The task has no such framework, or none of its own is installed.
        MissingExtraError: One asked for is not installed.
    """
    chosen = [choose_framework(task, name) for name in names]
    for name in chosen:
        frameworks.require(name)
    if not chosen:
        chosen = [name for name in task.implementations if frameworks.installed(name)]
    if not chosen:
        raise UsageError(
            f"Nothing of task {task.name} can be compared: none of its frameworks "
            f"({', '.join(task.implementations)}) is installed. `timetrial list frameworks` shows "
            "how to install them."
        )
    return chosen


def _rounds(scale: Scale) -> tuple[tuple[Precision, Bounds, int], ...]:
    """Return precision, bounds and steps of each round, in the order in which a side runs them.

    float32 comes first: it is what a fresh process gives. Anything that it left behind would show
    in float64, whose bounds are narrow; the other way round nothing would show.
    """
    return ("float32", FLOAT32, FLOAT32_STEPS), ("float64", FLOAT64, scale.steps)


def _notes(task: Task, small: Task) -> tuple[str, ...]:
    notes = [
        f"made-up data of the task's shape, {small.dataset.train_count} examples in batches of "
        f"{small.batch_size}, the last of an epoch partial",
    ]
    if small.optimizer != task.optimizer:
        notes.append(f"optimizer of the proof: {small.optimizer}")
    if "float64" not in task.precisions:
        notes.append(
            f"float64 is not among the task's precisions: compared in float32, {FLOAT32_STEPS} "
            "steps within wider bounds"
        )
    return tuple(notes)


def _given(small: Task) -> dict[str, np.ndarray]:
    """Return variables with running statistics that say something: the reference's, warmed up."""
    work = Workload(task=small, seed=SEED, device="cpu", precision="float64")
    build: Build = load_object(REFERENCE)  # type: ignore[assignment]
    made = build(work, made_up_splits(small), lambda part: None)
    made.advance(WARM_STEPS)
    return made.variables()  # type: ignore[attr-defined,no-any-return]


def _order(
    small: Task,
    framework: str | None,
    task: Task,
    device: str,
    precision: Precision,
    threads: int,
    steps: int,
) -> Order:
    return Order(
        task=small,
        framework=framework,
        implementation=REFERENCE if framework is None else task.implementations[framework],
        device=device,
        precision=precision,
        threads=threads,
        steps=steps,
        look=True,
    )


def _run(orders: Sequence[Order], given: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return what each order gave; all are of one framework."""
    with tempfile.TemporaryDirectory(prefix="timetrial-parity-") as folder:
        place = Path(folder)
        (place / ORDERS).write_bytes(msgspec.json.encode(orders))
        with (place / GIVEN).open("wb") as file:
            np.savez(file, allow_pickle=False, **given)
        command = [sys.executable, "-P", "-m", "timetrial.parity.side", folder]
        limit = TIMEOUT_S * len(orders)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired as error:
            last = _unfollowed(orders, place)
            raise ParityError(
                f"{last.framework or 'the reference'} did not end within {limit:g} s with task "
                f"{last.task.name} in {last.precision} on {last.device}. Ask for less: fewer "
                "--steps, a smaller --batch."
            ) from error
        if done.returncode != 0:
            last = _unfollowed(orders, place)
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-6:])
            raise ParityError(
                f"{last.framework or 'the reference'} could not run task {last.task.name} in "
                f"{last.precision} on {last.device} (exit code {done.returncode}):\n{said}"
            )
        return [_read(place / seen_file(number)) for number in range(len(orders))]


def _unfollowed(orders: Sequence[Order], place: Path) -> Order:
    """Return the order at which a side ended: the first that left nothing."""
    left = (order for n, order in enumerate(orders) if not (place / seen_file(n)).exists())
    return next(left, orders[-1])


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as seen:
        return {name: seen[name] for name in seen.files}


# --- comparing -----------------------------------------------------------------------------------


def _compare(
    name: str,
    precision: Precision,
    bounds: Bounds,
    side: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    steps: int,
    coarse: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Check]:
    """Yield the checks; `coarse` is the reference in float32, for a side in float32."""

    def check(what: str, difference: tuple[float, str], bound: float) -> Check:
        seen, detail = difference
        return Check(
            framework=name, precision=precision, what=what, seen=seen, bound=bound, detail=detail
        )

    yield check("parameters and shapes", _same_shapes(side, reference), 0)
    start = bounds.inputs
    yield check("initial weights", _worst(side, reference, "initial", bounds), start)
    yield check("mini-batch, pixel for pixel", _array(side, reference, "inputs"), bounds.inputs)
    scores = _array(side, reference, "eval_scores")
    yield check("scores, evaluation", scores, bounds.eval_scores)
    yield check("scores, training", _array(side, reference, "scores"), bounds.scores)
    yield check("loss of one step", _array(side, reference, "loss"), bounds.loss)
    gradients = _worst(side, reference, "gradient", bounds, coarse)
    yield check("gradients", gradients, bounds.gradients)
    losses = _relative(side["losses"], reference["losses"][:steps])
    yield check(f"losses of {steps} steps", losses, bounds.losses)
    if precision == "float64":
        final = _worst(side, reference, "final", bounds)
        yield check(f"variables after {steps} steps", final, bounds.variables)
        scores = _array(side, reference, "final_scores")
        yield check(f"scores after {steps} steps", scores, bounds.final_scores)


def _apart(side: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of the steps, as a multiple of its bound; NaN stays NaN."""
    multiples = (
        _relative(side["losses"], reference["losses"])[0] / FLOAT64.losses,
        _worst(side, reference, "final", FLOAT64)[0] / FLOAT64.variables,
        _array(side, reference, "final_scores")[0] / FLOAT64.final_scores,
    )
    return float(np.max(multiples))


def _same_shapes(
    side: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> tuple[float, str]:
    ours, theirs = (
        {name: value.shape for name, value in arrays.items() if name.startswith("initial/")}
        for arrays in (side, reference)
    )
    wrong = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    count = sum(
        value.size
        for name, value in side.items()
        if name.startswith("initial/") and not name.endswith((".mean", ".variance"))
    )
    return float(len(wrong)), ", ".join(sorted(wrong)[:3]) or f"{count:,} parameters"


def _array(
    side: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], name: str
) -> tuple[float, str]:
    """Return the largest difference of an array, relative to its largest number."""
    expected = reference[name]
    if side[name].shape != expected.shape:
        return float("inf"), f"shape {side[name].shape}, not {expected.shape}"
    return _largest(side[name], expected, 0.0), ""


def _worst(
    side: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    group: str,
    bounds: Bounds,
    coarse: Mapping[str, np.ndarray] | None = None,
) -> tuple[float, str]:
    """Return the largest difference of a group's tensors, each relative to its largest number.

    Where `coarse` itself is off by more than `bounds.gradients` / OWN_ROUNDING, the difference is
    counted in units of what it may be.
    """
    names = [name for name in reference if name.startswith(f"{group}/")]
    floor = bounds.negligible * max(float(np.abs(reference[name]).max()) for name in names)
    worst, where = 0.0, ""
    for name in names:
        seen = side.get(name)
        if seen is None or seen.shape != reference[name].shape:
            return float("inf"), f"{name.removeprefix(f'{group}/')} is missing or of other shape"
        apart = _largest(seen, reference[name], floor)
        if np.isnan(apart):
            return apart, name.removeprefix(f"{group}/")
        if coarse is not None:
            allowed = OWN_ROUNDING * _largest(coarse[name], reference[name], floor)
            apart /= max(1.0, allowed / bounds.gradients)
        if apart > worst:
            worst, where = apart, name.removeprefix(f"{group}/")
    return worst, where


def _largest(seen: np.ndarray, expected: np.ndarray, floor: float) -> float:
    difference = float(np.abs(seen.astype(np.float64) - expected).max())  # NaN if any is
    scale = max(float(np.abs(expected).max()), floor)
    return difference / scale if scale else difference


def _relative(seen: np.ndarray, expected: np.ndarray) -> tuple[float, str]:
    """Return the largest relative difference of numbers one by one."""
    apart = np.abs(seen - expected) / np.abs(expected)
    worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    return float(apart[worst]), f"step {worst}"
