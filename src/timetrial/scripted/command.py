"""The words of a command line: what is run, where, and which file is the command's own."""

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
from timetrial.rundir import RunDir, disk_errors, sha256, write_atomically

COPY_MAX_BYTES: Final = 2**20  # a larger file is no script; its SHA-256 is kept all the same
LABEL: Final = "script"
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")


class Command(NamedTuple):
    """What is run. `file` is the script, None where no word names one."""

    argv: tuple[str, ...]
    file: Path | None


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
        if not path.is_file():
            raise UsageError(f"There is no script {first} in {folder}. Check its name and folder.")
        return Command((sys.executable, str(path), *rest), path)
    if os.sep in first or (os.altsep and os.altsep in first):
        if not path.is_file() or not os.access(path, os.X_OK):
            state = "is not executable" if path.is_file() else "is not there"
            raise UsageError(
                f"{first} cannot be run: it {state}. Make it executable with chmod +x, or write "
                f"its interpreter before it: -- Rscript {first}"
            )
        return Command((str(path), *rest), _own_file([path, *(folder / word for word in rest)]))
    program = shutil.which(first)
    if program is None:
        near = f" For the file in this folder write ./{first}." if path.is_file() else ""
        raise UsageError(
            f"{first} cannot be run: no such program on PATH.{near} Allowed: a .py file, an "
            "executable file written with its folder, or a program on PATH."
        )
    return Command((program, *rest), _own_file([*(folder / word for word in rest)]))


def _own_file(paths: Sequence[Path]) -> Path | None:
    """Return the first text file among `paths`: the script, not its interpreter."""
    return next((path for path in paths if path.is_file() and is_script(path)), None)


def is_script(path: Path) -> bool:
    """Return whether a file is small and text, such as a script."""
    if path.stat().st_size > COPY_MAX_BYTES:
        return False
    with path.open("rb") as file:
        return b"\0" not in file.read(8192)


def check_request(request: Request) -> str:
    """Return the framework's label of a script's run.

    Raises:
        UsageError: An option that a script's run cannot follow.
    """
    find_task(request.task)
    if request.division != "open":
        raise UsageError(
            f"A script of one's own is not the closed task {request.task}. Add --division open."
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
    )


def _hash(file: Path) -> str:
    with disk_errors(file):
        return sha256(file)


def keep_copy(run: RunDir, plan: Plan) -> None:
    """Copy the script into the run directory.

    Raises:
        UsageError: It was changed since it was planned.
    """
    if plan.script_file is None or not is_script(Path(plan.script_file)):
        return
    content = Path(plan.script_file).read_bytes()
    if hashlib.sha256(content).hexdigest() != plan.script_sha256:
        raise UsageError(f"{plan.script_file} was changed just now. Start again.")
    write_atomically(run.script(Path(plan.script_file).name), content)


def name_of(plan: Plan) -> str:
    """Return the command for people: its file's or program's name and its arguments, shortened."""
    words = list(plan.script)
    if plan.script_file in words:
        words = words[words.index(plan.script_file) :]
    words = [Path(words[0]).name, *words[1:]]
    text = " ".join(words)
    return text if len(text) <= 60 else text[:59] + "…"


def version_of(plan: Plan) -> str:
    """Return eight digits that are equal only for the same script with the same arguments."""
    parts = msgspec.json.encode([plan.script_sha256, plan.script])
    return hashlib.sha256(parts).hexdigest()[:8]
