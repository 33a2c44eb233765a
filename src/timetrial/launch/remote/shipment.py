"""What a worker on another machine runs: this timetrial, and the versions installed here.

The wheel is made from the installed package itself, the same bytes each time; the lock names the
installed version of all that timetrial and the extras need, so that it is the same as long as they
are.

Source: PEP 427 and the Binary distribution format of packaging.python.org, read 2026-11-22.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import platform
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import timetrial
from timetrial.datasets import get as find_dataset
from timetrial.datasets.info import PackageFolder
from timetrial.errors import LaunchError, UnknownNameError
from timetrial.frameworks import REQUIREMENTS
from timetrial.machine.software import packages
from timetrial.plan import Plan
from timetrial.spec import Record

_NAME: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[(?P<extras>[^\]]*)\])?")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([A-Za-z0-9._-]+)['"]""")
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # of every file in the wheel: the same bytes each time


class Contents(Record, frozen=True, kw_only=True):
    """What an environment holds."""

    timetrial: str  # version
    source_sha256: str  # of timetrial's files
    python: str
    packages: Mapping[str, str]  # canonical name -> version


class Shipment(Record, frozen=True, kw_only=True):
    """What is sent where an environment is to be built."""

    wheel_name: str
    wheel: bytes
    constraints: bytes
    extras: tuple[str, ...]

    def name(self, machine: str) -> str:
        """Return the environment's name on a machine, which is described by a text."""
        parts = (self.wheel, self.constraints, " ".join(self.extras).encode(), machine.encode())
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
        return f"env-{digest.hexdigest()[:16]}"


def contents() -> Contents:
    """Return what this environment holds."""
    found = {_canonical(name): version for name, version in packages().items()}
    return Contents(
        timetrial=timetrial.__version__,
        source_sha256=_digest(f"{name} {_sha256(content)}" for name, content in _package()),
        python=platform.python_version(),
        packages=dict(sorted(found.items())),
    )


def differences(there: Contents, here: Contents, framework: str) -> dict[str, tuple[str, str]]:
    """Return name -> (version there, version here) of what a run depends on and differs.

    "none" where it is not installed.
    """
    names = [needed.name for needed in _requirements("timetrial") if needed.only_with is None]
    required = REQUIREMENTS.get(framework)
    names += [n for group in (required.modules.values() if required else ()) for n in group]
    pairs = {
        name: (there.packages.get(name, "none"), here.packages.get(name, "none"))
        for name in map(_canonical, names)
    }
    pairs["python"] = there.python, here.python
    return {name: pair for name, pair in sorted(pairs.items()) if pair[0] != pair[1]}


def make_shipment(plan: Plan) -> Shipment:
    """Return the wheel of this timetrial, and the lock of all that the plan's workers need.

    Raises:
        LaunchError: timetrial runs from bare files: nobody knows what it needs.
    """
    try:
        own = importlib.metadata.distribution("timetrial")
    except importlib.metadata.PackageNotFoundError as error:
        raise LaunchError(
            "timetrial itself is not installed here, so it is not known what it needs elsewhere. "
            "Install it with pip, or name a Python of the other machine that has it."
        ) from error
    extras = _extras(plan)
    version = timetrial.__version__
    metadata = {
        "METADATA": (own.read_text("METADATA") or "").encode(),
        "WHEEL": b"Wheel-Version: 1.0\nGenerator: timetrial\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    if points := own.read_text("entry_points.txt"):
        metadata["entry_points.txt"] = points.encode()
    return Shipment(
        wheel_name=f"timetrial-{version}-py3-none-any.whl",
        wheel=_wheel(f"timetrial-{version}.dist-info", metadata),
        constraints=_lock(extras).encode(),
        extras=extras,
    )


def _extras(plan: Plan) -> tuple[str, ...]:
    """Return the extras of timetrial that a plan's workers need."""
    found: set[str] = set()
    if plan.framework in REQUIREMENTS:
        found.add(REQUIREMENTS[plan.framework].extra)
    if plan.device.startswith("cuda"):
        found.add("gpu")
    name = plan.learned.dataset.name if plan.learned is not None else None
    if plan.examination is not None:
        found.update([plan.examination.extra] if plan.examination.extra else [])
        name = plan.examination.dataset
    if name is None:
        return tuple(sorted(found))
    try:
        info = find_dataset(name)
    except UnknownNameError:  # a user's own, which is sent decoded
        return tuple(sorted(found))
    found.update(place.extra for place in info.places if isinstance(place, PackageFolder))
    if info.decoder == "pillow":
        found.add("images")
    return tuple(sorted(found))


def _lock(extras: Sequence[str]) -> str:
    """Return a constraint per line: what timetrial and the extras need, directly or not.

    A local part of a version, such as +cpu, says how it was built, and is left out: another index
    may name it otherwise.
    """
    versions = contents().packages
    wanted = [("timetrial", frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        name, chosen = wanted.pop()
        if (name, chosen) not in seen and name in versions:
            seen.add((name, chosen))
            wanted += [
                (_canonical(needed.name), needed.extras)
                for needed in _requirements(name)
                if needed.only_with is None or needed.only_with in chosen
            ]
    names = {name for name, _ in seen} - {"timetrial"}
    return "".join(f"{name}=={versions[name].partition('+')[0]}\n" for name in sorted(names))


class _Requirement(NamedTuple):
    name: str
    extras: frozenset[str]  # of it
    only_with: str | None  # an extra of what requires it


def _requirements(distribution: str) -> Iterator[_Requirement]:
    """Yield what an installed distribution requires, on whatever system."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        named, only_with = _NAME.match(line), _EXTRA.search(line)
        if named is not None:
            extras = frozenset(
                re.split(r"[\s,]+", named["extras"].strip()) if named["extras"] else ()
            )
            yield _Requirement(named["name"], extras, only_with[1] if only_with else None)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _package() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file of the installed timetrial."""
    root = Path(timetrial.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"timetrial/{path.relative_to(root).as_posix()}", path.read_bytes()


def _wheel(info: str, metadata: Mapping[str, bytes]) -> bytes:
    files = dict(_package())
    files.update({f"{info}/{name}": content for name, content in metadata.items()})
    record = [
        f"{name},sha256={_base64(hashlib.sha256(content).digest())},{len(content)}"
        for name, content in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _base64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(lines: Iterator[str]) -> str:
    return _sha256("\n".join(lines).encode())
