"""The types of records are read before threads decode them."""

from __future__ import annotations

import json

import msgspec

from timetrial.spec import Record, read_record_types


def test_every_record_is_read_once(monkeypatch):
    read_record_types()
    assert read_record_types() == 0

    class Inner(Record, frozen=True, kw_only=True):
        size: int

    class Outer(Record, frozen=True, kw_only=True):
        sizes: dict[str, tuple[int, ...]]

    seen = []
    decoder = msgspec.json.Decoder
    monkeypatch.setattr(msgspec.json, "Decoder", lambda kind: seen.append(kind) or decoder(kind))
    assert read_record_types() == 2
    assert set(seen) == {Inner, Outer}
    given = {"sizes": {"a": [1, 2]}}
    assert msgspec.json.decode(json.dumps(given), type=Outer).sizes == {"a": (1, 2)}
