"""Runs as offline runs of Weights & Biases, which `wandb sync` sends later, from anywhere.

W&B's own client writes the files, in a process of its own (`wandb_child`): it keeps a service and
hooks for as long as its process lives, and may have a run of the caller's already. There it is
told to send nothing, its reports of errors and use included.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from timetrial.errors import MissingExtraError, StoreError
from timetrial.interop import Receipt, place_errors, receipt
from timetrial.interop.tracked import TrackedRun
from timetrial.interop.wandb_child import Answer, run_id
from timetrial.rundir import pretty_json, write_atomically
from timetrial.spec import MALFORMED, Record

_MARK: Final = "timetrial.json"


class _Mark(Record, frozen=True, kw_only=True):
    """Written last into the folder of an exported run: without it, an export was cut off."""

    identity: str
    fingerprint: str


class WandbExporter:
    """Exports to a folder: `into` is the one that holds W&B's folder `wandb`."""

    def export(self, runs: Sequence[TrackedRun], into: str) -> Iterator[Receipt]:
        """Write one offline run per run, with the logs as its files.

        Raises:
            MissingExtraError: W&B's client is not installed.
            StoreError: W&B refuses, or the folder cannot be written.
        """
        if importlib.util.find_spec("wandb") is None:
            raise MissingExtraError("Exporter wandb needs W&B's client, which", extra="wandb")
        place = Path(into).absolute()
        with place_errors(place):
            place.mkdir(parents=True, exist_ok=True)
        with _Client(place) as client:
            for run in runs:
                known = _known(place, run)
                mark = _Mark(identity=run.identity, fingerprint=run.fingerprint())
                whole = next((folder for folder in known if _mark_of(folder) == mark), None)
                if whole is not None:
                    yield receipt(run, "unchanged", str(whole))
                    continue
                with place_errors(place):
                    for folder in known:
                        shutil.rmtree(folder)
                folder = client.write(run)
                write_atomically(folder / _MARK, pretty_json(mark))
                yield receipt(run, "replaced" if known else "exported", str(folder))


def _known(place: Path, run: TrackedRun) -> list[Path]:
    """Return the folders of this run that are there, whole or not."""
    found = (place / "wandb").glob(f"offline-run-*-{run_id(run)}")
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _mark_of(folder: Path) -> _Mark | None:
    try:
        return msgspec.json.decode((folder / _MARK).read_bytes(), type=_Mark)
    except (FileNotFoundError, *MALFORMED):
        return None


class _Client:
    """W&B's client in a process of its own, started with the first run that it is to write."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, run: TrackedRun) -> Path:
        """Return the folder of the offline run that was written.

        Raises:
            StoreError: W&B's client refuses, or its process has ended.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "timetrial.interop.wandb_child", str(self._place)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "WANDB_ERROR_REPORTING": "false"},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(msgspec.json.encode(run) + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise StoreError(
                f"W&B's client ended with status {self._process.wait()} while it wrote "
                f"{run.name} into {self._place}; its last words are above. Check that "
                "`wandb --version` works here."
            )
        answer = msgspec.json.decode(line, type=Answer)
        if answer.refusal is not None:
            raise StoreError(
                f"W&B's client cannot write {run.name} into {self._place}: {answer.refusal}. "
                "Choose another place with --into."
            )
        return Path(answer.folder)

    def __exit__(self, *exception: object) -> None:
        """End the process, which waits until W&B has written everything."""
        if self._process is not None:
            self._process.communicate()
