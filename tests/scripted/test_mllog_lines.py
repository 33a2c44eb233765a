"""Lines out of bytes: the same however they are cut, bounded whatever they hold."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial.scripted.mllog import LINE_MAX, QUOTED, Line, LineReader, Malformed, quote

GOOD = b'[0] :::MLLOG {"key": "a", "value": 1, "metadata": {"step": 2}, "time_ms": 5}\n'


def read(*pieces: bytes) -> list[Line | Malformed]:
    reader = LineReader()
    return [line for piece in pieces for line in reader.feed(piece)] + [*reader.close()]


@given(st.lists(st.sampled_from([GOOD, b":::MLLOG {\n", b"x\n", b"\xff\x00", b"\n"])), st.data())
def test_it_does_not_matter_where_the_stream_is_cut(parts: list[bytes], data: st.DataObject):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == read(stream)


@given(st.binary(max_size=300))
def test_no_bytes_are_an_exception(content: bytes):
    read(b":::MLLOG " + content + b"\n")
    quote(content)


def test_what_stands_before_the_token_is_passed_over():
    [line] = read(b'\r 99% :::MLLOG {"key": "b"} :::MLLOG {"key": "a", "extra": 1}\r\n')
    assert isinstance(line, Line)
    assert (line.key, line.value, line.metadata) == ("a", None, None)


def test_a_line_that_is_too_long_is_malformed_and_is_not_held():
    reader = LineReader()
    for _ in range(100):
        assert list(reader.feed(b":::MLLOG " + b"y" * 10_000)) == []
    assert len(reader._held) <= LINE_MAX
    [line] = reader.feed(b"\n")
    assert isinstance(line, Malformed)
    assert "longer than" in line.why
    assert len(line.quoted) <= QUOTED + 1


@pytest.mark.parametrize("text", ["[]", "{}", '{"key": 5}', '{"key": "a", "metadata": 3}', "NaN"])
def test_other_json_is_malformed(text: str):
    [line] = read(f":::MLLOG {text}\n".encode())
    assert isinstance(line, Malformed)


def test_lines_of_mlperfs_own_logger_are_read():
    mllog = pytest.importorskip("mlperf_logging.mllog", reason="pip install mlperf-logging")
    stream = io.StringIO()
    logger = logging.Logger("of this test")
    logger.addHandler(logging.StreamHandler(stream))
    writer = mllog.mllog.MLLogger(logger=logger)
    writer.start(key="run_start")
    writer.event(key="eval_accuracy", value=0.75, metadata={"epoch_num": 4})
    writer.end(key="run_stop", metadata={"status": "success"})
    lines = read(stream.getvalue().encode())
    assert all(isinstance(line, Line) for line in lines)
    start, seen, stop = (line for line in lines if isinstance(line, Line))
    assert (start.key, seen.value, stop.key) == ("run_start", 0.75, "run_stop")
    assert seen.metadata is not None
    assert seen.metadata["epoch_num"] == 4
