"""Where a data set's files are: the folders searched, the sources asked, what each had to say."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from timetrial.datasets._content import Copy, CopyStatus, read_copy
from timetrial.datasets._fetch import (
    Limits,
    Progress,
    fetch_from_address,
    fetch_from_debian,
)
from timetrial.datasets.info import (
    Address,
    DataFile,
    DatasetInfo,
    DebianPackage,
    PackageFolder,
    SystemFolder,
)
from timetrial.errors import DataError, MissingExtraError
from timetrial.spec import Record

_log = logging.getLogger(__name__)

AttemptStatus: TypeAlias = Literal[CopyStatus, "failed", "not tried"]


class SearchPath(Record, frozen=True, kw_only=True):
    """Where to look for data sets, and where to keep them. All paths are absolute."""

    data_dirs: tuple[str, ...]
    cache_dir: str
    offline: bool


class Attempt(Record, frozen=True, kw_only=True):
    """What became of one look for one file in one place."""

    place: str
    file: str
    status: AttemptStatus
    detail: str


class Located(Record, frozen=True, kw_only=True):
    """Where the checked files of a data set are."""

    dataset: str
    files: Mapping[str, str]  # file name -> absolute path
    places: Mapping[str, str]  # file name -> the place that gave it
    passed_over: tuple[Attempt, ...]  # copies that were there and wrong


class Availability(Record, frozen=True, kw_only=True):
    """Whether a data set can be used: here, only after a fetch (which may fail), or not at all."""

    dataset: str
    state: Literal["here", "fetchable", "unavailable"]
    reason: str


class CheckRow(Record, frozen=True, kw_only=True):
    """The state of one copy of one file; one row "missing" where there is no copy at all."""

    dataset: str
    file: str
    place: str
    path: str | None
    status: CopyStatus
    detail: str


def search_path(environ: Mapping[str, str]) -> SearchPath:
    """Return the search path that the environment asks for.

    TIMETRIAL_DATA: folders to read in place, separated as in PATH. TIMETRIAL_CACHE: where fetched
    files are kept; else $XDG_CACHE_HOME/timetrial, %LOCALAPPDATA%/timetrial or ~/.cache/timetrial;
    for a user without a home, a folder in the temporary directory. TIMETRIAL_OFFLINE: anything but
    empty and 0 keeps off the network.
    """
    folders = [name for name in environ.get("TIMETRIAL_DATA", "").split(os.pathsep) if name]
    return SearchPath(
        data_dirs=tuple(str(Path(name).expanduser().absolute()) for name in folders),
        cache_dir=str(_cache_dir(environ).absolute()),
        offline=environ.get("TIMETRIAL_OFFLINE", "") not in ("", "0"),
    )


def locate(
    info: DatasetInfo,
    path: SearchPath,
    *,
    fetch: bool,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Located:
    """Return where each file is, its content checked; with `fetch`, after fetching what is missing.

    Without `fetch`, or offline, the network is not touched.

    Raises:
        MissingExtraError: The data set lies in a Python package that is not installed.
        DataError: A file cannot be had; lists all that was tried.
    """
    attempts: list[Attempt] = []
    found = _found_here(info, path, attempts)
    _warn(info, attempts)
    if not _is_whole(info, found):
        attempts += _fetch(
            info, path, found, fetch=fetch, progress=progress, limits=limits or Limits()
        )
    if not _is_whole(info, found):
        raise _cannot_be_had(info, path, found, attempts, fetch)
    return Located(
        dataset=info.name,
        files={name: str(where) for name, (where, _) in found.items()},
        places={name: place for name, (_, place) in found.items()},
        passed_over=tuple(a for a in attempts if _is_bad_copy(a)),
    )


def available(info: DatasetInfo, path: SearchPath) -> Availability:
    """Return whether the data set is here, may be fetched, or cannot be had; asks no network."""
    try:
        if info.decoder == "pillow" and importlib.util.find_spec("PIL") is None:
            raise no_pillow(info)
        located = locate(info, path, fetch=False)
    except MissingExtraError as error:
        return Availability(dataset=info.name, state="unavailable", reason=str(error))
    except DataError as error:
        if info.is_brought:
            reason = how_to_bring(info)
            return Availability(dataset=info.name, state="unavailable", reason=reason)
        fetchable = bool(_network_places(info)) and not path.offline
        reason = (
            f"not here; to fetch it: timetrial data fetch {info.name}" if fetchable else str(error)
        )
        state: Literal["fetchable", "unavailable"] = "fetchable" if fetchable else "unavailable"
        return Availability(dataset=info.name, state=state, reason=reason)
    return Availability(
        dataset=info.name,
        state="here",
        reason=", ".join(dict.fromkeys(located.places.values())),
    )


def check(info: DatasetInfo, path: SearchPath) -> list[CheckRow]:
    """Return the state of every copy on this machine, in the order in which they are looked for.

    A file of an alternative that is nowhere is not told: it is not needed.
    """
    rows: list[CheckRow] = []
    for file in (file for files in info.file_sets for file in files):
        looked: list[str] = []
        copies: list[CheckRow] = []
        for spot in _spots(info, path, file):
            looked.append(spot.place)
            if spot.path is None:
                continue
            status, detail, _ = _copy(info, spot.path, file)
            if status != "missing":
                row = CheckRow(
                    dataset=info.name,
                    file=file.name,
                    place=spot.place,
                    path=str(spot.path),
                    status=status,
                    detail=detail,
                )
                copies.append(row)
        if not copies and file not in info.files:
            continue
        rows += copies or [
            CheckRow(
                dataset=info.name,
                file=file.name,
                place=", ".join(looked),
                path=None,
                status="missing",
                detail=f"to fetch it: timetrial data fetch {info.name}"
                if _network_places(info)
                else how_to_bring(info),
            )
        ]
    return rows


def is_whole(info: DatasetInfo, rows: Sequence[CheckRow]) -> bool:
    """Return whether what `check` saw is enough: a good copy of every file of one set."""
    return _is_whole(info, {row.file for row in rows if row.status == "ok"})


def kept_folder(info: DatasetInfo, path: SearchPath) -> Path:
    """Return the folder of the cache for this data set."""
    return Path(path.cache_dir) / "data" / info.name


def how_to_bring(info: DatasetInfo) -> str:
    """Return what the owner of a data set that nobody else can bring has to do, else ""."""
    if not info.is_brought:
        return ""
    name = info.files[0].name
    return (
        f"{info.name} is not to be fetched: its owner brings it ({info.homepage}). Lay it out as "
        f"{name}/train/<class>/*.JPEG and {name}/val/<class>/*.JPEG ({_expected(info)}), and set "
        f"TIMETRIAL_DATA to the folder above {name}"
    )


def no_pillow(info: DatasetInfo) -> MissingExtraError:
    """Return the error to raise where images are to be decoded without Pillow."""
    return MissingExtraError(
        f"Pillow, which decodes the images of the data set {info.name!r},", extra="images"
    )


# --- on this machine -----------------------------------------------------------------------------


class _Spot(NamedTuple):
    """A path where a file may lie; None where the place itself is missing, for that reason."""

    place: str
    path: Path | None
    why: str = ""


def _cache_dir(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("TIMETRIAL_CACHE"):
        return Path(chosen).expanduser()
    if base := environ.get("XDG_CACHE_HOME") or environ.get("LOCALAPPDATA"):
        return Path(base) / "timetrial"
    if home := environ.get("HOME"):
        return Path(home) / ".cache" / "timetrial"
    try:
        return Path.home() / ".cache" / "timetrial"
    except RuntimeError:  # a container's made-up user; contents are checked, so any folder will do
        return Path(tempfile.gettempdir()) / "timetrial-cache"


def _spots(info: DatasetInfo, path: SearchPath, file: DataFile) -> Iterator[_Spot]:
    for name in path.data_dirs:
        for folder in (Path(name) / info.name, Path(name)):
            yield _Spot(f"TIMETRIAL_DATA: {folder}", folder / file.name)
    kept = kept_folder(info, path)
    yield _Spot(f"cache: {kept}", kept / file.name)
    for place in info.places:
        if isinstance(place, SystemFolder):
            yield _Spot(f"system: {place.folder}", Path(place.folder) / file.name)
        elif isinstance(place, PackageFolder):
            root = _module_folder(place)
            if root is None:
                why = f"not installed; pip install 'timetrial[{place.extra}]'"
                yield _Spot(f"package: {place.distribution}", None, why)
            else:
                yield _Spot(f"package: {place.distribution}", root / place.folder / file.name)


def _expected(info: DatasetInfo) -> str:
    """Return what `ImagenetFolder.summary` says of a whole layout."""
    return (
        f"{info.examples} training and {info.test_examples} validation images in "
        f"{info.classes} classes"
    )


def _copy(info: DatasetInfo, path: Path, file: DataFile) -> Copy:
    copy = read_copy(path, file)
    if file.kind == "layout" and copy.status == "ok" and copy.detail != _expected(info):
        return Copy("cut", f"{copy.detail}; expected {_expected(info)}", None)
    return copy


def _module_folder(place: PackageFolder) -> Path | None:
    """Return the package's folder; a look-up of a top-level name imports nothing."""
    spec = importlib.util.find_spec(place.module)
    roots = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(roots))) if roots else None


def _found_here(
    info: DatasetInfo, path: SearchPath, attempts: list[Attempt]
) -> dict[str, tuple[Path, str]]:
    """Return the files of the first set that is whole here; else what there is of `info.files`."""
    first: dict[str, tuple[Path, str]] = {}
    for files in info.file_sets:
        found: dict[str, tuple[Path, str]] = {}
        for file in files:
            _look(info, path, file, found, attempts)
        if len(found) == len(files):
            return found
        if files == info.files:
            first = found
    return first


def _is_whole(info: DatasetInfo, names: Collection[str]) -> bool:
    return any(all(file.name in names for file in files) for files in info.file_sets)


def _look(
    info: DatasetInfo,
    path: SearchPath,
    file: DataFile,
    found: dict[str, tuple[Path, str]],
    attempts: list[Attempt],
) -> None:
    for spot in _spots(info, path, file):
        status: CopyStatus = "missing"
        detail = spot.why
        if spot.path is not None:
            status, detail, _ = _copy(info, spot.path, file)
            if status == "ok":
                found[file.name] = (spot.path, spot.place)
                return
        attempts.append(Attempt(place=spot.place, file=file.name, status=status, detail=detail))


def _is_bad_copy(attempt: Attempt) -> bool:
    return attempt.status in ("cut", "wrong checksum", "unreadable")


def _warn(info: DatasetInfo, attempts: Sequence[Attempt]) -> None:
    for bad in filter(_is_bad_copy, attempts):
        _log.warning(
            "%s: passed over %s in %s: %s: %s",
            info.name,
            bad.file,
            bad.place,
            bad.status,
            bad.detail,
        )


# --- on the network ------------------------------------------------------------------------------


def _network_places(info: DatasetInfo) -> list[Address | DebianPackage]:
    return [place for place in info.places if isinstance(place, Address | DebianPackage)]


def _title(place: Address | DebianPackage) -> str:
    return place.base_url if isinstance(place, Address) else f"apt-get download {place.package}"


def _fetch(
    info: DatasetInfo,
    path: SearchPath,
    found: dict[str, tuple[Path, str]],
    *,
    fetch: bool,
    progress: Progress | None,
    limits: Limits,
) -> list[Attempt]:
    """Fetch what is not in `found` and enter it there; return what failed.

    A place that fails once is left at once: four files at a dead address cost one wait, not four.
    """
    attempts: list[Attempt] = []
    kept = kept_folder(info, path)
    for place in _network_places(info):
        missing = [file for file in info.files if file.name not in found]
        title, current = _title(place), missing[0] if missing else None
        if current is None:
            break
        if path.offline or not fetch:
            why = "TIMETRIAL_OFFLINE is set" if path.offline else "this command does not fetch"
            attempts.append(Attempt(place=title, file=current.name, status="not tried", detail=why))
            continue
        try:
            if isinstance(place, DebianPackage):
                fetch_from_debian(place, missing, kept, limits=limits, progress=progress)
            for current in missing:
                if isinstance(place, Address):
                    fetch_from_address(
                        place.base_url, current, kept, limits=limits, progress=progress
                    )
                found[current.name] = (kept / current.name, title)
        except (DataError, OSError) as error:
            detail = str(error)
            if isinstance(error, OSError):
                detail = f"cannot write {kept}: {error.strerror or error}"
            attempts.append(Attempt(place=title, file=current.name, status="failed", detail=detail))
    return attempts


# --- what to say ---------------------------------------------------------------------------------


def _cannot_be_had(
    info: DatasetInfo,
    path: SearchPath,
    found: Mapping[str, object],
    attempts: Sequence[Attempt],
    fetch: bool,
) -> DataError | MissingExtraError:
    missing = [file.name for file in info.files if file.name not in found]
    told = [attempt for attempt in attempts if attempt.file in missing]
    packages = [place for place in info.places if isinstance(place, PackageFolder)]
    only_absent = all(attempt.status == "missing" for attempt in told)
    for package in packages:
        if only_absent and not _network_places(info) and _module_folder(package) is None:
            return MissingExtraError(
                f"{package.distribution}, which carries the data set {info.name!r},",
                extra=package.extra,
            )
    groups: dict[str, list[str]] = {}
    for attempt in told:
        line = f"{attempt.place}: {attempt.status}"
        line += f": {attempt.detail}" if attempt.detail else ""
        groups.setdefault(line, []).append(attempt.file)
    lines = [
        f"  {line}" if names == missing else f"  {line} ({', '.join(names)})"
        for line, names in groups.items()
    ]
    others = [", ".join(file.name for file in files) for files in info.alternatives]
    instead = f" (instead of them: {'; or '.join(others)})" if others else ""
    by_hand = (
        f"put the files{instead} into a folder {info.name}, set TIMETRIAL_DATA to the folder above "
        f"it, and see what `timetrial data check {info.name}` says"
    )
    if info.is_brought:
        step = how_to_bring(info)
    elif _network_places(info) and not fetch and not path.offline:
        step = f"timetrial data fetch {info.name}; or {by_hand}"
    else:
        step = f"{by_hand}. Its home page: {info.homepage}"
    return DataError(
        f"The data set {info.name!r} cannot be had: {len(missing)} of its {len(info.files)} files "
        f"missing ({', '.join(missing)}). Tried, in this order:\n"
        + "\n".join(lines)
        + f"\nNext step: {step}."
    )
