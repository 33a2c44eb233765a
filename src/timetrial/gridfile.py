"""TOML files that name a grid of runs: any option of `timetrial run`, a value or a list of values.

store = "runs"            # optional, like --store
seeds = 3                 # a number, or a list of seeds

[[run]]
task = ["digits-cnn", "mnist-cnn"]
cores = [1, 2]
set = { checkpoint_every_s = 0 }

A file with a table [task] is a task of one's own (owntask): [[run]] may then be left out, and one
that names no task means this one. `task` may name other such files, .toml or .py.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from timetrial import units
from timetrial.errors import UnknownNameError, UsageError
from timetrial.plan import Request, grid, usual_workers

KEYS: Final = {
    # key of [[run]] -> (field of Request, kind of its value)
    "task": ("task", str),
    "framework": ("framework", str),
    "device": ("device", str),
    "cores": ("cores", int),
    "memory": ("memory_bytes", units.parse_bytes),
    "precision": ("precision", str),
    "workers": ("workers", int),
    "launcher": ("launcher", str),
    "network": ("network", str),
    "algorithm": ("algorithm", str),
    "partition": ("partition", str),
    "cluster": ("cluster", str),
    "division": ("division", str),
    "dataset": ("dataset", str),
    "target": ("target", float),
    "budget": ("budget_s", units.parse_duration),
    "inference": ("inference_s", units.parse_duration),
    "light": ("light", bool),
    "price_per_hour": ("price_usd_per_h", float),
    "provider": ("provider", str),
    "region": ("region", str),
    "image": ("image", str),
}
TOP: Final = ("run", "seeds", "store", "task")
TASK_FILES: Final = (".toml", ".py")


class GridFile(NamedTuple):
    """What a file asks for."""

    requests: list[Request]
    seeds: int | list[int] | None
    store: Path | None


def read_grid(path: Path) -> GridFile:
    """Return the requests of a TOML file.

    Raises:
        UsageError: No such file, not TOML, or a value of the wrong kind; names the key.
        UnknownNameError: An unknown key, with the nearest known one.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}. Name a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    for key in content:
        if key not in TOP:
            raise UnknownNameError(f"key in {path}", key, TOP)
    own = content.get("task")
    if own is not None and not isinstance(own, dict):
        raise UsageError(
            f"{path}: task = {own!r} stands outside of a [[run]]. Write [[run]] above it; a task "
            "of your own is a table [task]."
        )
    tables = content.get("run", [{}] if own is not None else None)
    if (
        not isinstance(tables, list)
        or not tables
        or not all(isinstance(table, dict) for table in tables)
    ):
        raise UsageError(f'{path} names no runs. Add a table [[run]] with task = "digits-cnn".')
    seeds = content.get("seeds")
    if seeds is not None and not _is_seeds(seeds):
        raise UsageError(
            f"{path}: seeds = {seeds!r} is not possible. Allowed: a number of runs from 1, or a "
            "list of seeds from 0, each once."
        )
    store = content.get("store")
    if store is not None and not isinstance(store, str):
        raise UsageError(f"{path}: store = {store!r} is not possible. Allowed: a folder's name.")
    return GridFile(
        requests=[request for table in tables for request in _requests(path, table, own)],
        seeds=seeds,
        store=path.parent / store if store is not None else None,
    )


def _is_seeds(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value >= 1
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(seed) is int and 0 <= seed < 2**63 for seed in value)
        and len(set(value)) == len(value)
    )


def _requests(path: Path, table: dict[str, object], own: dict[str, object] | None) -> list[Request]:
    choices: dict[str, list[object]] = {}
    settings: dict[str, str | int | float | bool] = {}
    for key, value in table.items():
        if key == "set":
            if not isinstance(value, dict):
                raise UsageError(f"{path}: set = {value!r} is not a table such as {{ key = 1 }}.")
            settings = value
        elif key in KEYS:
            field, kind = KEYS[key]
            values = value if isinstance(value, list) else [value]
            if not values:
                raise UsageError(
                    f"{path}: {key} = [] names nothing to run. Allowed: a value, or a list of "
                    "at least one."
                )
            choices[field] = [_convert(path, key, kind, single) for single in values]
        else:
            raise UnknownNameError(f"key in [[run]] of {path}", key, [*KEYS, "set"])
    if own is not None:
        choices = {"task": [str(path)], **choices}
    choices["task"] = [_beside(path, task) for task in choices.get("task", [])]
    if not choices["task"]:
        raise UsageError(f'{path}: a [[run]] names no task. Add: task = "digits-cnn".')
    return [
        Request(**{"workers": usual_workers(str(values["task"])), **values}, settings=settings)  # type: ignore[arg-type]
        for values in grid(choices)
    ]


def _beside(path: Path, task: object) -> object:
    """Return the name of a task, or the path of a task file, which lies beside the grid's."""
    named = isinstance(task, str) and task.endswith(TASK_FILES) and task != str(path)
    return str(path.parent / str(task)) if named else task


def _convert(path: Path, key: str, kind: object, value: object) -> object:
    if kind in (str, bool, int):
        if type(value) is not kind:
            raise UsageError(
                f"{path}: {key} = {value!r} is not possible. "
                f"Allowed: {getattr(kind, '__name__', kind)}, or a list of such."
            )
        return value
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{path}: {key} = {value!r} is not possible. Allowed: a number.")
        return float(value)
    assert callable(kind)
    try:
        return kind(str(value))
    except UsageError as error:
        raise UsageError(f"{path}: {key} = {value!r} is not possible. {error}") from error
