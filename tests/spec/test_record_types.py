"""The types of records are read before threads decode them."""

from __future__ import annotations

import msgspec

from timetrial.spec import Record, read_record_types


def test_every_record_is_read_once(monkeypatch):
    read_record_types()
    assert read_record_types() == 0

    own = {"bases": (Record,), "module": "timetrial.made_up", "frozen": True, "kw_only": True}
    inner = msgspec.defstruct("Inner", [("size", int)], **own)
    outer = msgspec.defstruct("Outer", [("inner", dict[str, inner])], **own)

    seen = []
    decoder = msgspec.json.Decoder
    monkeypatch.setattr(msgspec.json, "Decoder", lambda kind: seen.append(kind) or decoder(kind))
    assert read_record_types() == 2
    assert set(seen) == {inner, outer}
    read = msgspec.json.decode(b'{"inner": {"a": {"size": 3}}}', type=outer)
    assert read.inner["a"].size == 3
