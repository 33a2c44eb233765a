"""python -m timetrial.interop.wandb_child FOLDER: runs in, as lines of JSON; an answer to each.

Nothing of the machine that exports goes into a run, as it need not be the one that ran: no system
metrics, no host, no git, no console, no list of packages.
Source: `wandb.init`, `wandb.Settings` of W&B 0.31.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from timetrial.interop.tracked import TrackedRun
from timetrial.spec import Record

if TYPE_CHECKING:
    import wandb

_ID_LENGTH: Final = 16  # hexadecimal digits of the identity
_FILES: Final = "timetrial"  # the folder among the run's files


class Answer(Record, frozen=True, kw_only=True):
    """What became of one run."""

    folder: str = ""
    refusal: str | None = None


def run_id(run: TrackedRun) -> str:
    """Return the run's id in W&B."""
    return run.identity[:_ID_LENGTH]


def main(arguments: Sequence[str]) -> int:
    """Write every run that comes on standard input; answer on standard output."""
    from wandb.errors import Error

    place = Path(arguments[0])
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what W&B prints is no answer
        for line in sys.stdin.buffer:
            try:
                folder = _write(msgspec.json.decode(line, type=TrackedRun), place)
                answer = Answer(folder=str(folder))
            except (Error, OSError) as error:
                answer = Answer(refusal=str(error))
            answers.write(msgspec.json.encode(answer) + b"\n")
            answers.flush()
    return 0


def _write(run: TrackedRun, place: Path) -> Path:
    """Write one offline run; return its folder."""
    live = _begun(run, place)
    folder = Path(live.dir)
    if (
        place not in folder.parents
    ):  # where it cannot write, W&B takes the system's temporary folder
        live.finish(exit_code=1)
        raise PermissionError(f"it would write into {folder} instead")
    live.define_metric("step")
    live.define_metric("*", step_metric="step")  # W&B's own step counts rows, not mini-batches
    for moment in run.moments:
        live.log(
            {
                **moment.values,
                "step": moment.step,
                "elapsed_s": moment.at_s,
                "_timestamp": moment.utc_ns / 1e9,
            }
        )
    live.summary.update(dict(run.finals))
    kept = folder / _FILES
    kept.mkdir()
    for name in run.files:
        shutil.copyfile(Path(run.folder) / name, kept / name)
        live.save(str(kept / name), base_path=str(folder), policy="now")
    live.finish(exit_code=0 if run.went_well else 1)
    return folder.parent


def _begun(run: TrackedRun, place: Path) -> wandb.Run:
    import wandb

    return wandb.init(
        mode="offline",
        dir=str(place),
        project=run.experiment,
        group=run.group,
        id=run_id(run),
        name=run.name,
        config=_config(run),
        settings=wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            host=run.tags.get("host", ""),
            save_code=False,
            silent=True,
            symlink=False,
            use_dot_wandb=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )


def _config(run: TrackedRun) -> dict[str, Any]:
    """Return parameters as nested as in plan.json, and the tags under "timetrial"."""
    nested: dict[str, Any] = {}
    for path, value in run.params.items():
        *folders, name = path.split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    times = {"began_utc_s": run.began_utc_ns / 1e9, "ended_utc_s": run.ended_utc_ns / 1e9}
    return {**nested, "timetrial": {"plan_sha256": run.identity, **times, **run.tags}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
