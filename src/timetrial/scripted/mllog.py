""":::MLLOG lines out of a stream of bytes that may hold anything.

As MLPerf's own reader does, what stands before the last `:::MLLOG ` of a line is passed over (a
rank's prefix, a progress bar). A line is kept up to LINE_MAX bytes, whatever its length.

Source: mlperf_logging, compliance_checker/mlp_parser (mlcommons/logging 4.1), read 2026-11-22.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, final

import msgspec

from timetrial.spec import MALFORMED

TOKEN: Final = b":::MLLOG "
LINE_MAX: Final = 64 * 1024
QUOTED: Final = 120  # characters of a line that are shown


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `time_ms` is the writer's own clock; keys that are not named here are passed over.

    `metadata` of None is none: the format has both.
    """

    key: str
    value: Any = None
    metadata: dict[str, Any] | None = None
    time_ms: float | None = None


class Malformed(msgspec.Struct, frozen=True, kw_only=True):
    """A line with the token that cannot be read."""

    why: str
    quoted: str


@final
class LineReader:
    """Takes the stream in pieces and gives its :::MLLOG lines; holds at most LINE_MAX bytes."""

    def __init__(self) -> None:
        """Nothing read yet."""
        self._held = bytearray()
        self._too_long = False
        self._decoder = msgspec.json.Decoder(Line)

    def feed(self, piece: bytes) -> Iterator[Line | Malformed]:
        """Yield the lines that end in `piece`."""
        *ends, rest = piece.split(b"\n")
        for part in ends:
            self._hold(part)
            yield from self._finish()
        self._hold(rest)

    def close(self) -> Iterator[Line | Malformed]:
        """Yield the last line if it had no end."""
        yield from self._finish()

    def _hold(self, part: bytes) -> None:
        room = LINE_MAX - len(self._held)
        self._held += part[:room]
        self._too_long = self._too_long or len(part) > room

    def _finish(self) -> Iterator[Line | Malformed]:
        line, too_long = bytes(self._held), self._too_long
        self._held.clear()
        self._too_long = False
        at = line.rfind(TOKEN)
        if at < 0:
            return
        if too_long:
            yield Malformed(why=f"longer than {LINE_MAX} bytes", quoted=quote(line[at:]))
            return
        try:
            yield self._decoder.decode(line[at + len(TOKEN) :])
        except MALFORMED as error:
            yield Malformed(why=str(error), quoted=quote(line[at:]))


def quote(text: bytes | str, longest: int = QUOTED) -> str:
    """Return the beginning of a text from outside, without what a terminal would act on."""
    if isinstance(text, bytes):
        text = text[: 4 * longest].decode("utf-8", errors="replace")
    shown = "".join(c if c.isprintable() else "�" for c in text.strip())
    return shown if len(shown) <= longest else shown[:longest] + "…"
