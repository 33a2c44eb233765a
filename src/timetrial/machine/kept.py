"""Where this machine's ceilings are kept between runs: ceilings/ in the user's cache folder.

<host>.json        the last whole measurement
<host>.light.json  the last light one; it counts only where no whole one fits

A home folder may be shared by many machines, and a machine may change: what is kept counts only
where it fits the machine as it is now.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from timetrial.datasets.sources import search_path
from timetrial.errors import FormatError, StoreError
from timetrial.machine.ceilings import FORMAT, Ceilings
from timetrial.machine.records import MachineRecord
from timetrial.rundir import RunDir, host_in_name, pretty_json, write_atomically
from timetrial.spec import MALFORMED

_log = logging.getLogger(__name__)


def kept_file(host: str, environ: Mapping[str, str], *, light: bool = False) -> Path:
    """Return the file that keeps a host's ceilings."""
    folder = Path(search_path(environ).cache_dir) / "ceilings"
    return folder / f"{host_in_name(host)}{'.light' if light else ''}.json"


def make_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that keeps ceilings, made where it was not there.

    Raises:
        StoreError: It cannot be made or written.
    """
    folder = kept_file("", environ).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"Cannot keep ceilings in {folder}: {error.strerror}. Name a folder that can be "
            "written with TIMETRIAL_CACHE."
        ) from error
    return folder


def keep(ceilings: Ceilings, environ: Mapping[str, str]) -> Path:
    """Write the ceilings where runs find them; return the file.

    Raises:
        DiskError, StoreError: It cannot be written.
    """
    make_folder(environ)
    file = kept_file(ceilings.hostname, environ, light=ceilings.light)
    write_atomically(file, pretty_json(ceilings))
    return file


def find_kept(here: MachineRecord, environ: Mapping[str, str]) -> Ceilings | None:
    """Return the ceilings kept for this machine, None without any that fit it.

    A damaged file is none, with a warning: a run does not depend on it.
    """
    for light in (False, True):
        file = kept_file(here.hostname, environ, light=light)
        if not file.is_file():
            continue
        try:
            found = read_ceilings(file)
        except (FormatError, OSError) as error:
            _log.warning("%s The runs go without ceilings.", error)
            continue
        if found.fits(here):
            return found
    return None


def carry(run: RunDir, here: MachineRecord, environ: Mapping[str, str]) -> None:
    """Write the ceilings kept for this machine into a run directory, if there are any.

    Raises:
        DiskError, StoreError: It cannot be written.
    """
    found = find_kept(here, environ)
    if found is not None:
        write_atomically(run.ceilings(here.hostname), pretty_json(found))


def read_ceilings(file: Path) -> Ceilings:
    """Return the ceilings in a file.

    Raises:
        FormatError: Damaged, or written by a newer version.
        OSError: It cannot be read.
    """
    content = file.read_bytes()
    try:
        told = msgspec.json.decode(content, type=dict[str, object]).get("format")
        if told == 1:
            return msgspec.convert(_of_format_1(msgspec.json.decode(content)), Ceilings)
        if isinstance(told, int) and told > FORMAT:
            raise FormatError(
                f"{file} has format {told}; this timetrial reads up to {FORMAT}. Install a newer "
                "one, or measure again: timetrial machine"
            )
        return msgspec.json.decode(content, type=Ceilings)
    except MALFORMED as error:
        raise FormatError(
            f"{file} is damaged: {error}. Measure again: timetrial machine"
        ) from error


def _of_format_1(seen: dict[str, Any]) -> dict[str, Any]:
    """Return what format 1 held, whose values were medians with the best round beside them."""
    for ceiling in seen["ceilings"]:
        best = ceiling.pop("best", None)
        if best is not None:
            median = ceiling["value"]
            ends = (
                {"low": None, "high": best}
                if ceiling["unit"] == "s"
                else {"low": best, "high": None}
            )
            ceiling.update(value=best, median=median, **ends)
    return {**seen, "format": FORMAT}
