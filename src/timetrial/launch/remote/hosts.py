"""The hosts file of the launcher `ssh`: which machines, how they are reached, what is there.

python = "/opt/timetrial/bin/python"   # keys above the first [[hosts]] hold for all of them

[[hosts]]                              # the first one is where worker 0 runs
host = "node1"                         # as in `ssh node1`
address = "10.0.0.1"                   # as the other machines reach it; else what ssh connects to

[[hosts]]
host = "node2"
slots = 2                              # workers on it
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from timetrial.errors import UsageError
from timetrial.spec import Record

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:%@-]*")  # no option of ssh: no - in front


class Host(Record, frozen=True, kw_only=True):
    """One machine."""

    host: str
    address: str | None = None
    user: str | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    slots: Annotated[int, msgspec.Meta(ge=1)] = 1
    python: str | None = None  # of an environment that has timetrial; None: one is built
    bare_python: str = "python3"  # Python 3.11 or newer, which needs nothing installed
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    ssh_config: str | None = None  # a file for `ssh -F`; None: the user's own


def read_hosts(path: Path) -> list[Host]:
    """Return the hosts of a file, in its order.

    Raises:
        UsageError: It cannot be read, or has an unknown key or an impossible value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"The hosts file {path} cannot be read: {error.strerror}. Name one with "
            "--cluster hosts.toml; docs/launchers.md shows it."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The hosts file {path} is not TOML: {error}.") from error
    listed = content.pop("hosts", [])
    if not isinstance(listed, list) or not listed:
        raise UsageError(f'{path} lists no hosts. Add for each: [[hosts]] and host = "NAME".')
    return [_host({**content, **one}, f"{path}, host {i}", path) for i, one in enumerate(listed, 1)]


def seats(hosts: Sequence[Host], workers: int) -> list[Host]:
    """Return the host of each worker: the slots of the first, then those of the next.

    Raises:
        UsageError: More workers than slots.
    """
    found = [host for host in hosts for _ in range(host.slots)]
    if workers > len(found):
        raise UsageError(
            f"--workers {workers} is not possible: the hosts file has {len(found)} "
            f"{'slot' if len(found) == 1 else 'slots'}. Add hosts, or slots = N to one whose "
            "workers may share it."
        )
    return found[:workers]


def _host(fields: Mapping[str, Any], where: str, path: Path) -> Host:
    try:
        host = msgspec.convert(fields, Host)
    except msgspec.ValidationError as error:
        known = ", ".join(Host.__struct_fields__)
        raise UsageError(f"{where}: {error}. Known keys: {known}.") from error
    for key in ("host", "user", "address"):
        value = getattr(host, key)
        if value is not None and not _NAME.fullmatch(value):
            raise UsageError(
                f"{where}: {key} = {value!r} is not possible. Allowed: letters, digits and ._:%@- "
                "inside."
            )
    if host.ssh_config is None:
        return host
    return msgspec.structs.replace(host, ssh_config=str(path.absolute().parent / host.ssh_config))
