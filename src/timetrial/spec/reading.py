"""Reads the types of all records before several threads do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import msgspec

_ONE_AT_A_TIME: Final = threading.Lock()
_OURS: Final = __name__.partition(".")[0]
_read: set[type[msgspec.Struct]] = set()


def read_record_types() -> int:
    """Have msgspec read the types of all records defined so far; return how many were new.

    It does so when a type is first decoded. Two threads that decode for the first time at once end
    in a segmentation fault (msgspec 0.22.0: 4 of 40 tries), so whoever starts threads calls this.
    """
    with _ONE_AT_A_TIME:
        new = [kind for kind in _below(msgspec.Struct) if kind not in _read]
        for kind in new:
            msgspec.json.Decoder(kind)
            _read.add(kind)
        return len(new)


def _below(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for kind in base.__subclasses__():
        if kind.__module__.partition(".")[0] == _OURS:
            yield kind
        yield from _below(kind)
