"""A task cut down to a proof of seconds, data for it, and the twins that the proof must catch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np

from timetrial.errors import UsageError
from timetrial.spec import (
    BatchNorm,
    Conv2d,
    CropFlip,
    Dropout,
    InverseTimeDecay,
    Layer,
    Milestones,
    Network,
    OneCycle,
    PlateauHalving,
    PolynomialDecay,
    Record,
    Residual,
    Schedule,
    Sgd,
    Split,
    SplitName,
    Task,
    placed,
    walk,
)

WARMUP_STEPS_MIN: Final = 3
DEEP: Final = 24  # convolutions; deeper ones amplify rounding at their full learning rate
DEEP_RATE: Final = 0.02  # of the task's learning rate, for deep ones


class Scale(Record, frozen=True, kw_only=True):
    """How large the proof is."""

    steps: int = 20
    batch_size: int = 16
    train_count: int = 40  # not a multiple of the batch: the last batch of an epoch is partial
    test_count: int = 20


def sgd_of(task: Task) -> Sgd:
    """Return the task's optimizer.

    Raises:
        UsageError: The task is not a network trained by SGD: there is no reference for it.
    """
    if not isinstance(task.optimizer, Sgd) or not isinstance(task.model, Network):
        raise UsageError(
            f"Task {task.name} has no NumPy reference: the proof covers networks trained by SGD. "
            "Name one of those; `timetrial list tasks` shows all."
        )
    return task.optimizer


def proof_task(task: Task, scale: Scale) -> Task:
    """Return the task with few examples and steps, its schedule squeezed into them.

    Milestones and warm-up keep their place in the run; a warm-up has at least three steps and, so
    that it can be seen, starts at half the rate where the task's own starts at the full one.

    Raises:
        UsageError: The task is not a network trained by SGD.
    """
    changed = msgspec.structs.replace
    optimizer = sgd_of(task)
    rate = optimizer.learning_rate * (DEEP_RATE if _convolutions(task) > DEEP else 1)
    schedule = _squeezed(optimizer.schedule, scale.steps, task.steps_max)
    return changed(
        task,
        dataset=changed(
            task.dataset,
            train_count=scale.train_count,
            validation_count=0,
            test_count=scale.test_count,
        ),
        batch_size=scale.batch_size,
        steps_max=scale.steps,
        optimizer=changed(optimizer, learning_rate=rate, schedule=schedule),
    )


def _convolutions(task: Task) -> int:
    assert isinstance(task.model, Network)
    rows = walk(placed(task.dataset.input_shape, task.model.layers))
    return sum(isinstance(row.layer, Conv2d) for row in rows)


def _squeezed(schedule: Schedule | None, steps: int, steps_max: int) -> Schedule | None:
    changed = msgspec.structs.replace
    match schedule:
        case Milestones(warmup_steps=warmup, start_factor=start, milestones=milestones):
            return changed(
                schedule,
                warmup_steps=max(warmup * steps // steps_max, WARMUP_STEPS_MIN) if warmup else 0,
                start_factor=0.5 if warmup and start == 1 else start,
                milestones=tuple(milestone * steps // steps_max for milestone in milestones),
            )
        case OneCycle(warmup_steps=warmup):
            return changed(
                schedule, warmup_steps=max(warmup * steps // steps_max, WARMUP_STEPS_MIN)
            )
        case PlateauHalving():
            return changed(schedule, threshold=0.5, floor_factor=0.1)  # so that it does halve
        case _:
            return schedule


def made_up_splits(task: Task) -> Mapping[SplitName, Split]:
    """Return data of the task's shape: each class is a pattern of its own under noise."""
    rng = np.random.Generator(np.random.Philox(key=2026))
    use = task.dataset
    patterns = rng.integers(0, 200, size=(use.classes, *use.input_shape))
    splits: dict[SplitName, Split] = {}
    counts: dict[SplitName, int] = {
        "train": use.train_count,
        "validation": use.validation_count,
        "test": use.test_count,
    }
    for name, count in counts.items():
        labels = rng.permutation(np.arange(count) % use.classes).astype(np.int64)
        noise = rng.integers(0, 56, size=(count, *use.input_shape))
        values = patterns[labels] + noise
        if len(use.input_shape) == 3:
            splits[name] = Split(name, values.astype(np.uint8), labels)
        else:
            splits[name] = Split(name, _as_stored(task, (values - 128) / 64), labels)
    return splits


def _as_stored(task: Task, inputs: np.ndarray) -> np.ndarray:
    """Return the numbers of a table that preprocessing makes `inputs`: its columns differ much."""
    use = task.dataset
    scaled: np.ndarray = inputs * np.asarray(use.std or 1.0) + np.asarray(use.mean or 0.0)
    return scaled * use.divide_by


# --- twins ---------------------------------------------------------------------------------------


class Twin(Record, frozen=True, kw_only=True):
    """A task with one rule broken, as frameworks' stock pieces or a slip would break it."""

    name: str
    task: Task


def twins_of(task: Task) -> list[Twin]:
    """Return the twins of a proof's task; those that change nothing in it are left out."""
    found = []
    for name, change in _MUTATIONS.items():
        twin = change(task)
        if twin is not None and twin.rules() != task.rules():
            found.append(Twin(name=name, task=twin))
    return found


def _optimizer(task: Task, **changes: object) -> Task:
    replaced = msgspec.structs.replace(sgd_of(task), **changes)
    return msgspec.structs.replace(task, optimizer=replaced)


def _other_momentum_form(task: Task) -> Task | None:
    sgd = sgd_of(task)
    constant = sgd.schedule is None
    if sgd.momentum == 0 or constant:
        return None  # the two forms are one
    return _optimizer(task, rate_in_velocity=not sgd.rate_in_velocity)


def _other_nesterov(task: Task) -> Task | None:
    sgd = sgd_of(task)
    return _optimizer(task, nesterov=not sgd.nesterov) if sgd.momentum else None


def _other_decay(task: Task) -> Task:
    sgd = sgd_of(task)
    if not sgd.weight_decay:
        return _optimizer(task, weight_decay=1e-4)
    return _optimizer(task, decays="weights" if sgd.decays == "all" else "all")


def _late_schedule(task: Task) -> Task | None:
    """Return the task with every change of the learning rate one step late (or early)."""
    sgd, changed = sgd_of(task), msgspec.structs.replace
    match sgd.schedule:
        case InverseTimeDecay(rate=rate):  # step + 1 in place of step
            shifted = changed(sgd.schedule, rate=rate / (1 + rate))
            return _optimizer(task, learning_rate=sgd.learning_rate / (1 + rate), schedule=shifted)
        case OneCycle(warmup_steps=warmup):
            return _optimizer(task, schedule=changed(sgd.schedule, warmup_steps=warmup + 1))
        case PolynomialDecay(fraction=fraction):
            earlier = fraction * (1 - 1 / task.steps_max)
            return _optimizer(task, schedule=changed(sgd.schedule, fraction=earlier))
        case Milestones(milestones=milestones):
            later = tuple(milestone + 1 for milestone in milestones)
            return _optimizer(task, schedule=changed(sgd.schedule, milestones=later))
        case PlateauHalving(patience=patience):
            return _optimizer(task, schedule=changed(sgd.schedule, patience=patience + 1))
        case _:
            return None


def _other_warmup(task: Task) -> Task | None:
    schedule = sgd_of(task).schedule
    if not isinstance(schedule, Milestones) or not schedule.warmup_steps:
        return None
    longer = msgspec.structs.replace(schedule, warmup_steps=schedule.warmup_steps + 1)
    return _optimizer(task, schedule=longer)


def _other_last_batch(task: Task) -> Task:
    other = "keep" if task.last_batch == "drop" else "drop"
    return msgspec.structs.replace(task, last_batch=other)


def _no_flip(task: Task) -> Task | None:
    if task.augmentation is None:
        return None
    plain = CropFlip(padding=task.augmentation.padding, flip=not task.augmentation.flip)
    return msgspec.structs.replace(task, augmentation=plain)


def _no_class_weights(task: Task) -> Task:
    return msgspec.structs.replace(task, class_weights=())


def _layers(change: Callable[[Layer], Layer]) -> Callable[[Task], Task]:
    def within(layer: Layer) -> Layer:
        if isinstance(layer, Residual):
            ways = (tuple(map(within, way)) for way in (layer.body, layer.shortcut))
            body, shortcut = ways
            return msgspec.structs.replace(layer, body=body, shortcut=shortcut)
        return change(layer)

    def mutate(task: Task) -> Task:
        assert isinstance(task.model, Network)
        model = Network(layers=tuple(map(within, task.model.layers)))
        return msgspec.structs.replace(task, model=model)

    return mutate


def _keras_epsilon(layer: Layer) -> Layer:
    """Return batch normalisation with Keras' default ε."""
    if not isinstance(layer, BatchNorm):
        return layer
    return msgspec.structs.replace(layer, epsilon=1e-3)


def _keras_norm_momentum(layer: Layer) -> Layer:
    """Return batch normalisation whose running figures move at Keras' default pace."""
    if not isinstance(layer, BatchNorm):
        return layer
    return msgspec.structs.replace(layer, momentum=0.01)


def _less_dropout(layer: Layer) -> Layer:
    return Dropout(rate=layer.rate / 2) if isinstance(layer, Dropout) else layer


_MUTATIONS: Final[Mapping[str, Callable[[Task], Task | None]]] = {
    "momentum in the other form": _other_momentum_form,
    "Nesterov missing or added": _other_nesterov,
    "weight decay on the wrong parameters": _other_decay,
    "schedule one step late": _late_schedule,
    "warm-up one step long": _other_warmup,
    "last batch dropped or kept": _other_last_batch,
    "no mirroring": _no_flip,
    "no class weights": _no_class_weights,
    "Keras' epsilon in batch normalisation": _layers(_keras_epsilon),
    "Keras' momentum in batch normalisation": _layers(_keras_norm_momentum),
    "half the dropout": _layers(_less_dropout),
}
