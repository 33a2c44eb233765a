"""A worker's run directory on another machine, kept the same here.

Logs come back by offset while they grow, so that what a launcher shows is live and one that dies
has lost little; states to resume from, and what an examination leaves, come back whole. At the end
the SHA-256 of every file is compared, and what differs is fetched once more.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from timetrial.errors import LaunchError
from timetrial.launch.remote.link import FarEnd, Look
from timetrial.rundir import LogWriter, RunDir, disk_errors, sha256

_SENT: Final = "plan.json"  # the only file there that is not to come back: it is made for there
LIVE_BYTES: Final = 1 << 20  # in one look: at five looks a second, 5 MB/s beside the training
_FETCH_BYTES: Final = 1 << 22  # the same after it
_NOTHING: Final = hashlib.sha256(b"").hexdigest()

_log = logging.getLogger(__name__)


@final
class Mirror:
    """The files of one worker and attempt, here and there."""

    def __init__(self, run: RunDir, far: FarEnd, *, attempt: int, rank: int) -> None:
        """Mirror nothing yet."""
        self.run = run
        self._far = far
        suffix = rf"\.{attempt}" if attempt else ""
        state = rf"\.{rank}" if rank else ""
        self._streams = re.compile(
            rf"events\.{rank}\.jsonl|stdout\.{rank}\.log|meter\.[A-Za-z0-9_-]+{suffix}\.jsonl"
        )
        left = "" if rank else r"|exhibits/[A-Za-z0-9][A-Za-z0-9._-]*"  # of an examination
        self._states = re.compile(rf"checkpoints/step-\d+{state}\.npz{left}")
        self._reports = re.compile(
            rf"(begun|exit)\.{attempt}\.{rank}\.json|(machine|ceilings)\.[A-Za-z0-9_-]+\.json"
        )
        self._parts: dict[str, tuple[int, int]] = {}  # files coming: size and time of change there
        self._whole: dict[str, tuple[int, int]] = {}  # files that came, likewise
        self._own_log = run.events(rank)

    def send(self, plan: bytes) -> None:
        """Send the plan and what an earlier attempt left for the worker to go on from.

        Raises:
            LostError, LaunchError: It could not be sent.
        """
        with LogWriter(self._own_log):  # cuts a torn last line: the worker would
            pass
        self._far.put(_SENT, plan)
        for name in self.run.files():
            path = self.run.path / name
            is_log = name.startswith(("events.", "stdout.")) and self._streams.fullmatch(name)
            if is_log or self._states.fullmatch(name):
                self._far.put(name, path.read_bytes())
        for name, stamp in self._far.look({}, wait_s=0, most_bytes=0)[0].files.items():
            if self._states.fullmatch(name):
                self._whole[name] = stamp

    def wanted(self, seen: Look) -> dict[str, int]:
        """Return what to ask for next: name -> offset; small and live files first."""
        streams = {name: self._size(name) for name in seen.files if self._streams.fullmatch(name)}
        longer = (name for name, size in streams.items() if size > seen.files[name][0])
        streams.update(dict.fromkeys(longer, 0))  # never seen: logs only grow
        wholes = {name: self._begun(name, stamp) for name, stamp in self._missing(seen).items()}
        small = {name: offset for name, offset in wholes.items() if self._reports.fullmatch(name)}
        return {**small, **streams, **wholes}

    def take(self, seen: Look, load: bytes) -> None:
        """Keep what has come; what there is not there any more goes here too.

        Raises:
            DiskError, StoreError: The disk here refuses.
        """
        at = 0
        for name, offset, length in seen.pieces:
            content, at = load[at : at + length], at + length
            if self._streams.fullmatch(name):
                self._write(self.run.path / name, offset, content)
            elif name in self._parts:
                self._write(self._part(name), offset, content)
                if offset + length == self._parts[name][0]:
                    with disk_errors(self.run.path):
                        self._part(name).replace(self.run.path / name)
                    self._whole[name] = self._parts.pop(name)
        for name, (size, _) in seen.files.items():
            if size == 0 and self._is_mine(name):
                self._write(self.run.path / name, 0, b"")
        if not self._missing(seen):
            self._drop(seen)

    def is_whole(self, seen: Look) -> bool:
        """Return whether all that was seen there is here."""
        behind = (
            name
            for name, (size, _) in seen.files.items()
            if self._streams.fullmatch(name) and self._size(name) != size
        )
        return not self._missing(seen) and next(behind, None) is None

    def settle(self) -> None:
        """Compare every file with the one there, and fetch once more what differs.

        Raises:
            LostError: The connection is gone.
            LaunchError: A file differs still; where the whole is kept there.
        """
        hashes = self._far.hashes()
        wrong = self._differing(hashes)
        if wrong:
            _log.warning("%s: came back changed, fetched anew: %s", self._far.host, sorted(wrong))
            for name in wrong:
                (self.run.path / name).unlink(missing_ok=True)
                self._whole.pop(name, None)
                self._parts.pop(name, None)
            self.fetch()
            wrong = self._differing(hashes)
        if wrong:
            raise LaunchError(
                f"{', '.join(sorted(wrong))} came back from {self._far.host} with another SHA-256 "
                f"than there, twice. The run directory is kept there as {self._far.keep()}. Check "
                "the network and both disks, and copy it by hand."
            )
        left = [n for n in hashes if n != _SENT and not self._is_mine(n)]
        if left:
            _log.warning("%s: not brought back: %s", self._far.host, ", ".join(sorted(left)))

    def fetch(self) -> None:
        """Fetch until all that is there is here."""
        seen, load = self._far.look({}, wait_s=0, most_bytes=0)
        while not self.is_whole(seen):
            seen, load = self._far.look(self.wanted(seen), wait_s=0, most_bytes=_FETCH_BYTES)
            self.take(seen, load)

    def tidy(self) -> None:
        """Remove what came in parts only."""
        for name in self._parts:
            self._part(name).unlink(missing_ok=True)
        self._parts.clear()

    def _is_mine(self, name: str) -> bool:
        patterns = (self._streams, self._states, self._reports)
        return any(pattern.fullmatch(name) for pattern in patterns)

    def _missing(self, seen: Look) -> dict[str, tuple[int, int]]:
        """Return the whole files that are there as they are not here."""
        return {
            name: stamp
            for name, stamp in seen.files.items()
            if self._is_mine(name)
            and not self._streams.fullmatch(name)
            and stamp[0] > 0
            and self._whole.get(name) != stamp
        }

    def _begun(self, name: str, stamp: tuple[int, int]) -> int:
        """Return how much of a whole file has come; nothing of one that was replaced."""
        if self._parts.get(name) != stamp:
            self._part(name).unlink(missing_ok=True)
            self._parts[name] = stamp
        part = self._part(name)
        return part.stat().st_size if part.exists() else 0

    def _drop(self, seen: Look) -> None:
        for name in [name for name in self._whole if name not in seen.files]:
            del self._whole[name]
            if self._states.fullmatch(name):
                (self.run.path / name).unlink(missing_ok=True)

    def _differing(self, hashes: Mapping[str, str]) -> list[str]:
        mine = {name: digest for name, digest in hashes.items() if self._is_mine(name)}
        paths = {name: self.run.path / name for name in mine}
        return [
            name
            for name, digest in mine.items()
            if (sha256(paths[name]) if paths[name].is_file() else _NOTHING) != digest
        ]

    def _size(self, name: str) -> int:
        path = self.run.path / name
        return path.stat().st_size if path.exists() else 0

    def _part(self, name: str) -> Path:
        path = self.run.path / name
        return path.with_name(f".{path.name}.coming.part")

    def _write(self, path: Path, offset: int, content: bytes) -> None:
        with disk_errors(path):
            path.parent.mkdir(exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            with os.fdopen(handle, "wb") as file:
                file.seek(offset)
                file.write(content)
                file.truncate()
