"""Logs: whole lines survive a cut at any byte; one writer at a time; a full disk loses nothing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from command_line import python_path

from timetrial.engine.events import WORKER_LOG, Progress
from timetrial.errors import DiskError, FormatError, RunLockedError, StoreError
from timetrial.rundir import LogWriter, RunDir, create_run_dir, disk_errors, write_atomically
from timetrial.testing import fakes, runs

HOLD = """
import sys
from pathlib import Path
from timetrial.rundir import LogWriter
with LogWriter(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
MAKE = """
import sys
from pathlib import Path
from timetrial.rundir import create_run_dir
for _ in range(200):
    print(create_run_dir(Path(sys.argv[1]), "run").path)
"""


@pytest.fixture(scope="module")
def real_log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The log of a real worker."""
    folder = tmp_path_factory.mktemp("log")
    fakes.write_plugin(folder / "plugin")
    run, _ = runs.place(folder, runs.fake_plan())
    environment = {**os.environ, "PYTHONPATH": python_path(folder / "plugin")}
    command = [sys.executable, "-m", "timetrial.worker", str(run.path)]
    subprocess.run(command, check=True, env=environment)
    return run.events(0).read_bytes()


def line(step: int) -> bytes:
    return msgspec.json.encode(Progress(t_ns=step, step=step)) + b"\n"


def test_a_log_cut_at_any_byte_reads_as_its_whole_lines(real_log: bytes, tmp_path: Path):
    path = tmp_path / "events.0.jsonl"
    path.write_bytes(real_log)
    events = WORKER_LOG.read(path)
    assert len(events) == real_log.count(b"\n") > 20
    some = range(3000, len(real_log), 97)  # the rest is more of the same lines
    for length in [*range(3000), *some, len(real_log)]:
        path.write_bytes(real_log[:length])
        assert WORKER_LOG.read(path) == events[: real_log[:length].count(b"\n")], length


def test_a_log_cut_at_any_byte_is_repaired_by_its_next_writer(real_log: bytes, tmp_path: Path):
    path = tmp_path / "events.0.jsonl"
    lines = real_log.splitlines(keepends=True)
    begin = len(b"".join(lines[:3]))
    every = range(begin, begin + len(lines[3]) + 1)  # every byte of a line, and some of the rest
    for length in {0, 1, *every, *random.Random(1).sample(range(len(real_log)), 200)}:
        path.write_bytes(real_log[:length])
        with LogWriter(path) as log:
            log.write(Progress(t_ns=7, step=7))
        whole = real_log[: real_log[:length].rfind(b"\n") + 1]
        assert path.read_bytes() == whole + line(7)


def test_a_damaged_whole_line_is_an_error_that_names_file_and_line(tmp_path: Path):
    path = tmp_path / "events.0.jsonl"
    for damage in (b"{}\n", b"\n", b"\x00\x00\n", b"\xff\xfe\n", b'{"event":"unheard of"}\n'):
        path.write_bytes(line(1) + damage + line(2))
        with pytest.raises(FormatError, match=r"events\.0\.jsonl, line 2"):
            WORKER_LOG.read(path)


def test_any_flipped_byte_of_a_log_reads_or_is_a_format_error(real_log: bytes, tmp_path: Path):
    path = tmp_path / "events.0.jsonl"
    rng = random.Random(2)
    refused = []
    for _ in range(400):
        place = rng.randrange(len(real_log))
        flipped = bytearray(real_log)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            WORKER_LOG.read(path)
        except FormatError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(path.name in message for message in refused)


def test_reading_goes_on_where_it_stopped(tmp_path: Path):
    path = tmp_path / "events.0.jsonl"
    path.write_bytes(line(1) + line(2)[:5])
    first, offset = WORKER_LOG.read_from(path, 0)
    assert [event.step for event in first] == [1]
    path.write_bytes(line(1) + line(2) + line(3))
    later, offset = WORKER_LOG.read_from(path, offset)
    assert [event.step for event in later] == [2, 3]
    assert WORKER_LOG.read_from(path, offset) == ([], offset)


def test_no_log_reads_as_no_events(tmp_path: Path):
    assert WORKER_LOG.read(tmp_path / "none") == []


def test_a_second_process_is_refused_and_nothing_is_lost(tmp_path: Path):
    path = tmp_path / "events.0.jsonl"
    path.write_bytes(line(1) + b"torn")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        before = path.read_bytes()
        with pytest.raises(RunLockedError, match=r"Another process is working on .*Wait"):
            LogWriter(path).__enter__()
        assert path.read_bytes() == before == line(1)
    assert holder.wait() == 0
    with LogWriter(path) as log:
        log.write(Progress(t_ns=2, step=2))
    assert path.read_bytes() == line(1) + line(2)


def test_a_killed_writer_leaves_no_lock_behind(tmp_path: Path):
    path = tmp_path / "events.0.jsonl"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        holder.stdout.readline()
        holder.kill()
        holder.wait()
    with LogWriter(path) as log:
        log.write(Progress(t_ns=1, step=1))
    assert path.read_bytes() == line(1)


def test_two_processes_on_one_store_get_distinct_directories(tmp_path: Path):
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    made = [path for maker in makers for path in maker.communicate()[0].split()]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert len(made) == len(set(made)) == 400
    assert len(list((tmp_path / "store").iterdir())) == 400


# --- a disk that refuses -------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(log: LogWriter, step: int, *, sync: bool = False) -> int:
    """Write until the disk is full; return the first step that was not written."""
    while True:
        try:
            log.write(Progress(t_ns=step, step=step), sync=sync)
        except DiskError:
            return step
        step += 1


@pytest.mark.parametrize("sync", [False, True])
def test_a_full_disk_is_an_error_and_the_log_ends_in_a_whole_line(small_disk: Path, sync: bool):
    path = small_disk / "events.0.jsonl"
    with LogWriter(path) as log:
        written = fill(log, 0, sync=sync)
        with pytest.raises(DiskError, match=r"No space left.*timetrial run --resume"):
            log.write(Progress(t_ns=written, step=written))
    assert written > 1000
    content = path.read_bytes()
    assert content.endswith(b"\n")
    assert [event.step for event in WORKER_LOG.read(path)] == list(range(written))


def test_once_space_is_free_the_same_writer_goes_on(small_disk: Path):
    path, filler = small_disk / "events.0.jsonl", small_disk / "filler"
    with LogWriter(path) as log:
        log.write(Progress(t_ns=0, step=0))
        with pytest.raises(DiskError), disk_errors(filler):
            filler.write_bytes(bytes(2**20))
        written = fill(log, 1)  # the page of the first line has room left
        filler.unlink()
        log.write(Progress(t_ns=written, step=written))
    assert [event.step for event in WORKER_LOG.read(path)] == list(range(written + 1))


def test_a_full_disk_leaves_the_old_file_whole(small_disk: Path):
    path = small_disk / "plan.json"
    write_atomically(path, b"old")
    with pytest.raises(DiskError, match=r"plan\.json"):
        write_atomically(path, bytes(2**20))
    assert path.read_bytes() == b"old"
    assert [left.name for left in small_disk.iterdir()] == ["plan.json"]


def test_a_read_only_disk_is_a_disk_error(small_disk: Path):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DiskError, match="Read-only"):
        create_run_dir(small_disk / "store", "run")


def test_a_store_that_is_a_file_is_an_error_that_names_it(tmp_path: Path):
    place = tmp_path / "store"
    place.write_text("not a folder")
    with pytest.raises(StoreError, match=r"store.*--store DIR"):
        create_run_dir(place, "run")


def test_a_missing_folder_of_a_log_is_a_store_error(tmp_path: Path):
    with pytest.raises(StoreError, match="nowhere"):
        LogWriter(tmp_path / "nowhere" / "events.0.jsonl").__enter__()


# --- names ---------------------------------------------------------------------------------------


def test_file_names_hold_no_separator_whatever_the_host_is_called(tmp_path: Path):
    run = RunDir(tmp_path)
    for host in ("../../etc", "a b/c", "node-1.example.org", ""):
        assert run.machine(host).parent == run.meter(host, 0).parent == tmp_path


def test_meter_logs_are_in_order_of_attempt(tmp_path: Path):
    run = RunDir(tmp_path)
    made = [run.meter("vm", attempt) for attempt in range(12)]
    for path in reversed(made):
        path.touch()
    assert run.meters() == made


def test_files_lists_all_but_folders_and_the_closing_record(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "a").touch()
    (tmp_path / "done.json").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "linked").symlink_to(tmp_path.parent)
    os.mkfifo(tmp_path / "pipe")
    assert RunDir(tmp_path).files() == ["checkpoints/a", "dangling", "linked", "pipe"]
