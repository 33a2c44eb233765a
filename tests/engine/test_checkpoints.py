"""States on disk: packed without pickle, damaged ones refused, the last two kept."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest

from timetrial.engine import checkpoint
from timetrial.engine.events import Checkpointed
from timetrial.errors import FormatError
from timetrial.rundir import RunDir

ARRAYS = {"w": np.arange(6.0).reshape(2, 3), "step": np.array(7)}


def saved(run: RunDir, step: int, state: bytes = b"state") -> Checkpointed:
    name, size, digest = checkpoint.save(run, step, state)
    return Checkpointed(t_ns=step, step=step, file=name, bytes=size, sha256=digest)


def test_arrays_come_back_bit_for_bit():
    arrays = {**ARRAYS, "odd": np.array([np.nan, -0.0, np.inf, 5e-324])}
    back = checkpoint.unpack(checkpoint.pack(arrays), arrays)
    assert list(back) == list(arrays)
    for name, value in arrays.items():
        assert back[name].dtype == value.dtype
        assert back[name].tobytes() == value.tobytes()


@pytest.mark.parametrize(
    "like",
    [
        {"w": ARRAYS["w"]},
        {**ARRAYS, "more": np.array(1)},
        {**ARRAYS, "w": np.zeros((3, 2))},
        {**ARRAYS, "w": np.zeros((2, 3), dtype=np.float32)},
    ],
    ids=["a name too many", "a name too few", "another shape", "another type"],
)
def test_a_state_of_something_else_is_refused(like: dict[str, np.ndarray]):
    with pytest.raises(FormatError, match="another task or version"):
        checkpoint.unpack(checkpoint.pack(ARRAYS), like)


def test_pickled_objects_are_refused():
    buffer = io.BytesIO()
    np.savez(buffer, w=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError, match="not a state"):
        checkpoint.unpack(buffer.getvalue(), {"w": np.zeros(1)})


def test_any_damage_is_refused_or_leaves_the_values_as_they_were():
    state = checkpoint.pack(ARRAYS)
    rng = random.Random(1)
    damaged = [state[: rng.randrange(len(state))] for _ in range(100)]
    for place in range(len(state)):
        flipped = bytearray(state)
        flipped[place] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    refused = 0
    for each in damaged:
        try:
            back = checkpoint.unpack(each, ARRAYS)
        except FormatError:
            refused += 1
        else:  # such as a time stamp inside the archive
            assert all(np.array_equal(back[name], value) for name, value in ARRAYS.items())
    assert refused > len(damaged) / 2


def test_the_last_two_states_are_kept(tmp_path: Path):
    run = RunDir(tmp_path)
    for step in (5, 10, 999, 10_000):
        saved(run, step)
        checkpoint.prune(run)
    names = sorted(path.name for path in run.checkpoints.iterdir())
    assert names == ["step-000000999.npz", "step-000010000.npz"]


def test_the_newest_whole_state_that_the_log_names_is_taken(tmp_path: Path):
    run = RunDir(tmp_path)
    assert checkpoint.usable(run, []) == {}
    events = [saved(run, step, b"%d" % step) for step in (5, 10, 15)]
    saved(run, 20)  # on disk, but killed before the log said so
    assert next(iter(checkpoint.usable(run, events).values())) == events[2]
    (run.checkpoints / events[2].file).write_bytes(b"damaged")
    assert next(iter(checkpoint.usable(run, events).values())) == events[1]
    (run.checkpoints / events[1].file).unlink()
    assert next(iter(checkpoint.usable(run, events).values())) == events[0]


def test_a_log_cannot_name_a_file_outside_of_the_directory(tmp_path: Path):
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    event = saved(run, 5)
    outside = tmp_path / "outside.npz"
    outside.write_bytes(b"state")
    for name in (str(outside), "../../outside.npz"):
        forged = Checkpointed(t_ns=1, step=5, file=name, bytes=5, sha256=event.sha256)
        assert checkpoint.usable(run, [forged]) == {}


def test_what_a_killed_attempt_left_is_tidied_away(tmp_path: Path):
    run = RunDir(tmp_path)
    checkpoint.tidy(run, 0)  # without a folder there is nothing to do
    for step in (5, 10, 15):
        saved(run, step)
    (run.checkpoints / ".step-000000020.npz.123.part").write_bytes(b"half")
    checkpoint.tidy(run, 10)
    names = sorted(path.name for path in run.checkpoints.iterdir())
    assert names == ["step-000000005.npz", "step-000000010.npz"]
