"""Frames of a connection between a launcher and its far end (`far`): a head in JSON, and a load.

The length of the head (4 bytes) and of the load (8 bytes), the head, the load. The standard library
alone: the text of this file is sent along.
"""

from __future__ import annotations

import json
import os
import select
from typing import Any, Final

SIGN_OF_LIFE: Final = bytes(12)  # an empty frame, while an answer takes long
GREETING: Final = b"\0timetrial far 1\n"  # what a login shell prints comes before it


class GoneError(Exception):
    """The other end is gone, or silent for too long."""


def frame(head: object, load: bytes = b"") -> bytes:
    """Return one frame."""
    text = json.dumps(head).encode()
    return len(text).to_bytes(4, "big") + len(load).to_bytes(8, "big") + text + load


class Inbox:
    """Frames from a file descriptor; knows when the other end is gone."""

    def __init__(self, handle: int) -> None:
        """Read from `handle`; nothing yet."""
        self._handle = handle
        self._held = b""

    def read(self, silent_s: float) -> tuple[Any, bytes]:
        """Return the next frame.

        Raises:
            GoneError: End of file, or not a byte for `silent_s`.
        """
        sizes = self._take(12, silent_s)
        head = self._take(int.from_bytes(sizes[:4], "big"), silent_s)
        return json.loads(head), self._take(int.from_bytes(sizes[4:], "big"), silent_s)

    def is_gone(self, wait_s: float) -> bool:
        """Return whether the other end is gone, after `wait_s` at most.

        To be asked while a request is answered: none follows before its answer.
        """
        if select.select([self._handle], [], [], wait_s)[0]:
            more = os.read(self._handle, 1 << 16)
            self._held += more
            return not more
        return False

    def _take(self, size: int, silent_s: float) -> bytes:
        pieces, missing = [self._held], size - len(self._held)
        while missing > 0:
            if not select.select([self._handle], [], [], silent_s)[0]:
                raise GoneError
            more = os.read(self._handle, min(missing, 1 << 20))
            if not more:
                raise GoneError
            pieces.append(more)
            missing -= len(more)
        whole = b"".join(pieces)
        self._held = whole[size:]
        return whole[:size]
