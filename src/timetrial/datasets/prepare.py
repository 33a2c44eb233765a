"""Brings a data set to where a worker reads it at once: located, and decoded where that is slow."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from pathlib import Path

from timetrial.datasets import _decoded
from timetrial.datasets._decoded import Decoded, Origin
from timetrial.datasets._fetch import Limits, Progress
from timetrial.datasets.info import DatasetInfo
from timetrial.datasets.load import read_examples
from timetrial.datasets.sources import Located, SearchPath, kept_folder, locate, no_pillow
from timetrial.errors import DataError

_log = logging.getLogger(__name__)

_READERS = 1  # version of our own readers: raise it when one makes other arrays of the same bytes


def prepare(
    info: DatasetInfo,
    path: SearchPath,
    *,
    fetch: bool,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Located:
    """Return the files that a worker reads: the data set's own, or the decoded one in the cache.

    Decodes where no whole file of the same origin (sources, description, decoder) is there.
    `progress` is told of what is fetched, then of what is decoded.

    Raises:
        MissingExtraError: The package that holds the data set, or the decoder, is not installed.
        DataError: A file cannot be had, cannot be decoded, or the cache cannot be written.
    """
    located = locate(info, path, fetch=fetch, progress=progress, limits=limits)
    if info.decoder == "none":
        return located
    by_name = {file.name: file for files in info.file_sets for file in files}
    origin = Origin(
        format=_decoded.FORMAT,
        dataset=info,
        sources={name: by_name[name].sha256 for name in located.files},
        decoder=_decoder(info),
    )
    decoded = _kept(info, path, origin)
    if decoded is None:
        seen = None if progress is None else _Told(f"decoding {info.name}", progress)
        examples = read_examples(info, located.files, seen=seen)
        target = kept_folder(info, path) / origin.file_name()
        decoded = _decoded.write(target, origin, examples)
    sources = "; ".join(f"{name} in {place}" for name, place in located.places.items())
    return Located(
        dataset=info.name,
        files={decoded.key(): str(decoded.path)},
        places={decoded.key(): f"decoded by {origin.decoder} from {sources}"},
        passed_over=located.passed_over,
    )


class _Told:
    """Tells of every further hundredth, not of each of 60,000 small files."""

    def __init__(self, what: str, progress: Progress) -> None:
        self._what = what
        self._progress = progress
        self._told_bytes = 0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        if done_bytes == total_bytes or done_bytes - self._told_bytes > total_bytes / 100:
            self._told_bytes = done_bytes
            self._progress(self._what, done_bytes, total_bytes)


def _kept(info: DatasetInfo, path: SearchPath, origin: Origin) -> Decoded | None:
    kept = kept_folder(info, path) / origin.file_name()
    try:
        return _decoded.find(kept, origin)
    except DataError as error:
        _log.warning("%s: decoded again: %s", info.name, error)
        return None


def _decoder(info: DatasetInfo) -> str:
    """Return what decodes the data set, with the versions that may change its values.

    Raises:
        MissingExtraError: It is not installed.
    """
    ours = f"timetrial's reader {_READERS}{_foreign(info)}"
    if info.decoder != "pillow":
        return ours
    try:
        import PIL
        from PIL import features
    except ImportError as error:
        raise no_pillow(info) from error
    turbo = features.version("libjpeg_turbo")
    jpeg = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    return f"Pillow {PIL.__version__} with {jpeg} and {ours}"


def _foreign(info: DatasetInfo) -> str:
    """Return what tells a reader that is not ours from its other versions: its file's hash."""
    module = info.reader.partition(":")[0]
    if module.startswith("timetrial."):
        return ""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return f" and {module}"
    return f" and {module} {hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()[:12]}"
