"""A task by its name, or a user's own from a file: TOML with a table [task], or Python.

Whoever asks gets the whole task and the description of its data; the plan made of them holds
everything, so that a run is resumed, verified and reported with the file gone.

tables reads TOML strictly, rules makes [task] into a task, layers its network.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from timetrial import datasets, plan
from timetrial.datasets._fetch import Progress
from timetrial.datasets.info import DatasetInfo
from timetrial.datasets.load import load_splits, use_of
from timetrial.datasets.own import csv_table, image_folder
from timetrial.datasets.prepare import prepare
from timetrial.datasets.sources import search_path
from timetrial.errors import TimetrialError, UsageError
from timetrial.gridfile import TASK_FILES
from timetrial.owntask.rules import DataTable, OwnRules, task_of, with_notes
from timetrial.owntask.tables import convert
from timetrial.spec import DatasetUse, Split, SplitName, Task

_NAME: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_KINDS: Final = 'images = "folder"; csv = "file.csv", label = "column"; or dataset = "mnist"'


class Found(NamedTuple):
    """A task; `info` describes the data of a file's task, None: those of the registered name."""

    task: Task
    info: DatasetInfo | None


def is_file_name(name: str) -> bool:
    """Return whether `name` names a task file rather than a task."""
    return name.endswith(TASK_FILES)


def find_task_or_file(
    name: str,
    environ: Mapping[str, str],
    *,
    fetch: bool,
    progress: Progress | None = None,
) -> Found:
    """Return the task called `name`, or that of the file `name` (.toml, .py).

    A Python file is executed: it is the user's own. Reads every file of the data once; decodes
    them into the cache of `environ` where means and deviations are to be computed.

    Raises:
        UnknownNameError: No such task, or an unknown key in the file.
        UsageError: The file cannot be read, or asks for what is not possible.
        DataError: The data cannot be had or read.
    """
    if not is_file_name(name):
        return Found(plan.find_task(name), None)
    path = Path(name)

    def read(info: DatasetInfo, use: DatasetUse) -> Mapping[SplitName, Split]:
        located = prepare(info, search_path(environ), fetch=fetch, progress=progress)
        return load_splits(use, located.files)

    found = _from_toml(path, read) if path.suffix == ".toml" else _from_python(path)
    _check_name(found.task.name, path)
    return found


# --- TOML ----------------------------------------------------------------------------------------


def _from_toml(
    path: Path, read: Callable[[DatasetInfo, DatasetUse], Mapping[SplitName, Split]]
) -> Found:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}. Name a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error
    if "task" not in content:
        raise UsageError(f"{path} describes no task. Add a table [task]; see docs/add-a-task.md.")
    rules = convert(content["task"], OwnRules, f"{path} [task]")
    info, registered = _data(path, rules)
    name = rules.name if rules.name is not None else _slug(path.stem)
    task = task_of(
        rules,
        info,
        name=name,
        where=path.name,
        registered=registered,
        read=lambda use: read(info, use),
    )
    return Found(task, info)


def _data(path: Path, rules: OwnRules) -> tuple[DatasetInfo, bool]:
    """Return the data set that [task.data] names, and whether it is a registered one."""
    where = f"{path} [task.data]"
    data = convert(rules.data, DataTable, where)
    given = [key for key in ("images", "csv", "dataset") if getattr(data, key) is not None]
    if len(given) != 1:
        raise UsageError(f"{where} names {' and '.join(given) or 'no data'}. Allowed: {_KINDS}.")
    if (data.label is None) == (data.csv is not None):
        raise UsageError(
            f"{where}: label = {data.label!r} beside {given[0]}. Allowed: with csv, and only "
            f"there, the column that holds the class. Write such as: {_KINDS}."
        )
    if data.dataset is not None:
        if data.name is not None:
            raise UsageError(f"{where}: name = {data.name!r} is for data of one's own.")
        return datasets.get(data.dataset), True
    place = path.parent / _at_home(data.images or data.csv or "", where)
    name = data.name if data.name is not None else _slug(place.resolve().stem)
    try:
        if data.csv is not None and data.label is not None:
            return csv_table(place, label=data.label, name=name), False
        return image_folder(place, name=name), False
    except UsageError as error:
        hint = "" if data.name else " A name of its own is given by the key name."
        raise UsageError(f"{where}: {error}{hint if 'name of' in str(error) else ''}") from error


def _at_home(text: str, where: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{where}: {text} begins with a home folder that is not known here. Allowed: ~ for "
            "your own, or a path. Write the path in full."
        ) from error


def _slug(text: str) -> str:
    """Return the text as a name: small letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


# --- Python --------------------------------------------------------------------------------------


def _from_python(path: Path) -> Found:
    if not path.is_file():
        raise UsageError(f"There is no file {path}. Name a Python file that defines TASK.")
    if not _names_task(path):
        raise UsageError(
            f"{path} defines no TASK: it is a script, and what it is to learn is not said. Add "
            "--division open --task NAME; `timetrial list` shows the tasks."
        )
    try:
        names = runpy.run_path(str(path), run_name="timetrial_task_file")
    except TimetrialError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise UsageError(
            f"{path} cannot be executed: {type(error).__name__}: {error}. Correct it; "
            "python FILE shows where."
        ) from error
    task = names.get("TASK")
    if not isinstance(task, Task):
        raise UsageError(
            f"{path} defines TASK as {type(task).__name__}. Allowed: a timetrial.spec.Task. A "
            "script that trains by itself runs with --division open --task NAME."
        )
    info = _data_of(path, names.get("DATA"), task)
    for framework, implementation in task.implementations.items():
        module = implementation.partition(":")[0]
        if not module.startswith("timetrial.") and not _is_there(module):
            raise UsageError(
                f"{path}: the implementation {implementation} for {framework} cannot be imported "
                "by a worker. Put it into an installed package; see docs/add-a-task.md."
            )
    return Found(with_notes(_checked(path, task, info)), info)


def _names_task(path: Path) -> bool:
    """Return whether the word TASK stands in the file's code: a script is not executed to see."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError):
        return True  # executing it says what is wrong with it
    return any(
        (isinstance(node, ast.Name) and node.id == "TASK")
        or (isinstance(node, ast.alias) and "TASK" in (node.name, node.asname))
        for node in ast.walk(tree)
    )


def _data_of(path: Path, data: object, task: Task) -> DatasetInfo | None:
    """Return the description of DATA, None where the task names a registered data set."""
    match data:
        case None:
            datasets.get(task.dataset.name)
            return None
        case DatasetInfo():
            info = data
        case str() | Path():
            info = image_folder(path.parent / data, name=task.dataset.name)
        case _:
            raise UsageError(
                f"{path} defines DATA as {type(data).__name__}. Allowed: the path of a folder of "
                "images, or what image_folder and csv_table of timetrial.datasets.own return."
            )
    if info.name in datasets.REGISTRY.names():
        raise UsageError(
            f"{path}: DATA is called {info.name!r}, as a registered data set is. Give it another "
            "name; for the registered one leave DATA out."
        )
    return info


def _checked(path: Path, task: Task, info: DatasetInfo | None) -> Task:
    """Return the task with the content of its data in its rules.

    Raises:
        UsageError: TASK does not say what the data are.
    """
    use = task.dataset
    here = info or datasets.get(use.name)
    true = use_of(here, use.split, divide_by=use.divide_by)
    content = None if info is None else info.content_sha256
    if use.content_sha256 not in (None, content):
        raise UsageError(
            f"{path}: TASK says the content {use.content_sha256}, the data have {content}. They "
            "were changed: restore them, or leave content_sha256 out."
        )
    if use.train_view != "stored" and not here.is_brought:
        raise UsageError(
            f"{path}: TASK says train_view = {use.train_view!r}, which is for images that are "
            f"decoded when asked for; those of {use.name!r} are stored as arrays. Leave it out; "
            "augmentation crops and mirrors stored images."
        )
    right = msgspec.structs.replace(true, mean=use.mean, std=use.std, train_view=use.train_view)
    said = msgspec.structs.replace(use, content_sha256=None)
    for field in said.__struct_fields__:
        if getattr(said, field) != getattr(right, field):
            raise UsageError(
                f"{path}: TASK says {field} = {getattr(said, field)!r}, the data have "
                f"{getattr(right, field)!r}. timetrial.datasets.load.use_of reads it from them."
            )
    return msgspec.structs.replace(
        task, dataset=msgspec.structs.replace(use, content_sha256=content)
    )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _check_name(name: str, path: Path) -> None:
    if name in plan.TASKS.names():
        raise UsageError(
            f"{path}: the task is called {name!r}, as another is. Choose a name that "
            "`timetrial list tasks` does not show."
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{path}: the task is called {name!r}. Allowed: small letters, digits, and single "
            ". _ - between them, such as my-task."
        )
