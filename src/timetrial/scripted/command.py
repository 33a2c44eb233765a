"""The words of a command line: what is run, where, and which files are the command's own."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from timetrial.errors import UsageError
from timetrial.plan import Plan, Request, Rhythm, find_task
from timetrial.rundir import RunDir, sha256, write_atomically

COPY_MAX_BYTES: Final = 2**20  # a larger file is no script; its SHA-256 is kept all the same
LABEL: Final = "script"
METRICS: Final = ("accuracy", "error_rate")  # what predictions and claims decide
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")


class Command(NamedTuple):
    """What is run, and the text files that its words name.

    `file` is the first of them, the script where it is one; None where no word names any.
    """

    argv: tuple[str, ...]
    file: Path | None
    others: tuple[Path, ...] = ()


def resolve(words: Sequence[str], folder: Path) -> Command:
    """Return what the words mean in `folder`.

    A first word that ends in .py runs with this Python; a word with a slash is an executable file;
    any other is a program on PATH.

    Raises:
        UsageError: It cannot be run.
    """
    if not words or not words[0]:
        raise UsageError(
            "--task needs a command to run. Write: "
            "timetrial run ./train.py --division open --task TASK"
        )
    first, rest = words[0], words[1:]
    path = folder / first
    if first.endswith(".py"):
        if not _is_file(path):
            raise UsageError(f"There is no script {first} in {folder}. Check its name and folder.")
        others = [other for other in _text_files(folder, rest) if other != path]
        return Command((sys.executable, str(path), *rest), path, tuple(others))
    if os.sep in first or (os.altsep and os.altsep in first):
        if not _is_file(path) or not os.access(path, os.X_OK):
            state = "is not executable" if _is_file(path) else "is not there"
            raise UsageError(
                f"{first} cannot be run: it {state}. Make it executable with chmod +x, or write "
                f"its interpreter before it: -- Rscript {first}"
            )
        return _command((str(path), *rest), _text_files(folder, words))
    program = shutil.which(first)
    if program is None:
        near = f" For the file in this folder write ./{first}." if _is_file(path) else ""
        raise UsageError(
            f"{first} cannot be run: no such program on PATH.{near} Allowed: a .py file, an "
            "executable file written with its folder, or a program on PATH."
        )
    return _command((program, *rest), _text_files(folder, rest))


def _command(argv: tuple[str, ...], files: Sequence[Path]) -> Command:
    return Command(argv, files[0] if files else None, tuple(files[1:]))


def _text_files(folder: Path, words: Sequence[str]) -> list[Path]:
    """Return the text files that words name, alone or after `=`, each once, in their order.

    A word may be anything, such as the text of a program: what cannot be a path is none.
    """
    named = [part for word in words for part in (word, word.partition("=")[2]) if part]
    paths = dict.fromkeys(folder / part for part in named)
    return [path for path in paths if _is_file(path) and is_script(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no path at all, such as a long text, or one that must not be looked at
        return False


def is_script(path: Path) -> bool:
    """Return whether a file is small and text, such as a script.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        if path.stat().st_size > COPY_MAX_BYTES:
            return False
        with path.open("rb") as file:
            return b"\0" not in file.read(8192)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path}, a file of the command, cannot be read: {error.strerror}. What runs is known by "
        "its content: make it readable, or leave it out."
    )


def check_request(request: Request) -> str:
    """Return the framework's label of a script's run.

    Raises:
        UsageError: An option that a script's run cannot follow.
    """
    task = find_task(request.task)
    if request.division != "open":
        raise UsageError(
            f"A script of one's own is not the closed task {request.task}. Add --division open."
        )
    metrics = {target.metric for target in (*task.targets, task.light_target)}
    if odd := metrics.difference(METRICS):
        raise UsageError(
            f"Task {task.name} counts as learned by its {' and '.join(sorted(odd))}, and a script "
            f"reports accuracies. Allowed: a task whose targets are {' or '.join(METRICS)}; "
            "`timetrial list tasks` shows them."
        )
    if task.dataset.train_view != "stored":
        raise UsageError(
            f"The images of task {task.name} are decoded when asked for, and a script gets its "
            "data as .npy files of arrays. Name a task on another data set; `timetrial list tasks` "
            "shows them."
        )
    if request.precision is not None:
        raise UsageError(
            f"--precision {request.precision} does not fit a script: it chooses its own. "
            "Leave it out."
        )
    rules = [key for key in request.settings if key not in Rhythm.__struct_fields__]
    if rules:
        raise UsageError(
            f"--set {rules[0]} does not fit a script: it chooses its own. Allowed: "
            f"{', '.join(name for name in Rhythm.__struct_fields__ if name != 'eval_every_steps')}."
        )
    label = request.framework or LABEL
    if not _LABEL.fullmatch(label):
        raise UsageError(
            f"--framework {label!r} is no label for a script. Allowed: up to 40 letters, digits, "
            "'.', '_', '+' and '-'."
        )
    return label


def complete(draft: Plan, request: Request, folder: Path) -> Plan:
    """Return the plan with its command; the target is read on the test set.

    A script reports what it chooses to, so it cannot be told whether it stopped on validation.

    Raises:
        UsageError: The command cannot be run.
    """
    command = resolve(request.script, folder.absolute())
    target = draft.target or draft.task.targets[-1]
    return msgspec.structs.replace(
        draft,
        target=msgspec.structs.replace(target, split="test"),
        script=command.argv,
        script_folder=str(folder.absolute()),
        script_file=str(command.file) if command.file else None,
        script_sha256=_hash(command.file) if command.file else None,
        script_others={str(path): _hash(path) for path in command.others},
    )


def _hash(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise _unreadable(file, error) from error


def keep_copy(run: RunDir, plan: Plan) -> None:
    """Copy the script and the command's other files into the run directory.

    Of files of one name the first is kept: of all, the plan has the SHA-256.

    Raises:
        UsageError: One was changed since it was planned.
    """
    for path, planned in files_of(plan).items():
        if not is_script(Path(path)):
            continue
        content = Path(path).read_bytes()
        if hashlib.sha256(content).hexdigest() != planned:
            raise UsageError(f"{path} was changed just now. Start again.")
        copy = run.script(Path(path).name)
        if not copy.exists():
            write_atomically(copy, content)


def files_of(plan: Plan) -> dict[str, str]:
    """Return the SHA-256 of each file of the command as it was planned, the script first."""
    if plan.script_file is None or plan.script_sha256 is None:
        return {}
    return {plan.script_file: plan.script_sha256, **plan.script_others}


def hides_code(plan: Plan) -> bool:
    """Return whether no file of the code that runs is known: a module's, a text's, a program's."""
    for word in plan.script[1:]:
        if word in ("-m", "-c"):
            return True
        if not word.startswith("-"):
            break
    return plan.script_file is None


def name_of(plan: Plan) -> str:
    """Return the command for people: its file's or program's name and its arguments, shortened."""
    words = list(plan.script)
    if plan.script_file in words:
        words = words[words.index(plan.script_file) :]
    words = [Path(words[0]).name, *words[1:]]
    text = " ".join(words)
    return text if len(text) <= 60 else text[:59] + "…"


def version_of(plan: Plan) -> str:
    """Return eight digits that are equal only for the same files with the same arguments."""
    others = sorted((Path(path).name, seen) for path, seen in plan.script_others.items())
    content = [plan.script_sha256, others] if others else plan.script_sha256
    parts = msgspec.json.encode([content, plan.script])
    return hashlib.sha256(parts).hexdigest()[:8]
