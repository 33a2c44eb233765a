"""The far end of a connection, as a real process on this machine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from elsewhere_runs import wait_until

from timetrial.errors import LaunchError
from timetrial.launch.remote.link import PIECE_BYTES, FarEnd, LostError
from timetrial.launch.remote.pipe import ChildWires, PipeLink, far_command

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarEnd]:
    link = PipeLink(
        "there",
        ChildWires(far_command(sys.executable), lambda said: f"there: {said}"),
        greeting_s=60,
    )
    link.open()
    end = FarEnd(link)
    end.hello({"TIMETRIAL_CACHE": str(tmp_path / "cache")})
    yield end
    link.abandon()
    link.close()


def my_far_end() -> psutil.Process:
    [process] = [
        child
        for child in psutil.Process().children()
        if any("bytes.fromhex" in word for word in child.cmdline())
    ]
    return process


def test_it_says_what_its_machine_is(far: FarEnd, tmp_path: Path):
    machine = far.hello({})
    assert machine.executable == sys.executable
    assert machine.python == sys.version.split()[0]
    assert machine.cache == str(tmp_path / "cache")


def test_files_of_any_size_arrive_whole(far: FarEnd):
    run = Path(far.open("a-run"))
    contents = {
        "empty": b"",
        "small": b"1",
        "checkpoints/piece": os.urandom(PIECE_BYTES),
        "checkpoints/more": os.urandom(3 * PIECE_BYTES + 1),
    }
    for name, content in contents.items():
        far.put(name, content)
    assert {name: (run / name).read_bytes() for name in contents} == contents
    assert set(far.hashes()) == set(contents)


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", ""])
def test_no_file_is_written_outside_the_run_directory(far: FarEnd, name: str):
    far.open("a-run")
    with pytest.raises(LaunchError, match="not a name inside"):
        far.put(name, b"content")


def test_a_look_gives_the_bytes_from_an_offset_on(far: FarEnd):
    run = Path(far.open("a-run"))
    (run / "log").write_bytes(b"0123456789")
    seen, load = far.look({"log": 4, "absent": 0}, wait_s=0, most_bytes=3)
    assert (seen.pieces, load) == ((("log", 4, 3),), b"456")
    assert seen.files["log"][0] == 10
    assert seen.code is None


def test_a_program_is_run_without_a_shell(far: FarEnd):
    words = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "$HOME; 'x' \"y\" `z` *"]
    assert far.execute(words, timeout_s=60) == (0, str([words[-1]]))


def test_a_program_that_takes_too_long_is_killed(far: FarEnd):
    with pytest.raises(LaunchError, match=r"took longer than 0\.5 s"):
        far.execute(SLEEP, timeout_s=0.5)
    assert my_far_end().children() == []


def test_what_is_asked_for_and_unknown_is_refused(far: FarEnd):
    with pytest.raises(LaunchError, match="there could not dance"):
        far._ask(type(far.hello({})), "dance")


def test_a_frozen_agent_and_what_it_started_are_killed(far: FarEnd):
    far.open("a-run")
    code = f"import subprocess; subprocess.run({SLEEP!r})"
    pid = far.start([sys.executable, "-c", code], {})
    agent = psutil.Process(pid)
    wait_until(agent.children)
    [worker] = agent.children()
    worker.suspend()
    agent.suspend()
    far.signal("kill")
    wait_until(lambda: far.look({}, wait_s=0.2, most_bytes=0)[0].code is not None)
    assert not worker.is_running()
    assert far.look({}, wait_s=0, most_bytes=0)[0].code == -signal.SIGKILL


def test_a_process_that_left_its_parents_is_killed_at_the_end(far: FarEnd, tmp_path: Path):
    run = Path(far.open("a-run"))
    daemon = f"import subprocess as s; print(s.Popen({SLEEP!r}, start_new_session=True).pid)"
    far.start([sys.executable, "-c", daemon], {})
    wait_until(lambda: far.look({}, wait_s=0.2, most_bytes=0)[0].code == 0)
    left = psutil.Process(int((run.parent / "agent.log").read_text()))
    assert left.is_running()
    far.hashes()
    assert not left.is_running()
    assert list(run.iterdir()) == []


@pytest.mark.parametrize("how", ["abandon", "end", "kill"])
def test_when_the_connection_ends_nothing_is_left(far: FarEnd, tmp_path: Path, how: str):
    far.open("a-run")
    agent = psutil.Process(far.start(SLEEP, {}))
    if how == "kill":
        my_far_end().kill()  # nobody clears up: the kernel ends the agent
    elif how == "abandon":
        far.link.abandon()
    else:
        far.link.close()
    wait_until(lambda: not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE)
    if how != "end":
        with pytest.raises(LostError):
            far.look({}, wait_s=0, most_bytes=0)
    if how == "end":
        assert list((tmp_path / "cache" / "runs").iterdir()) == []


def test_what_a_killed_one_left_the_next_one_removes(far: FarEnd, tmp_path: Path):
    far.open("a-run")
    my_far_end().kill()
    wait_until(lambda: not [c for c in psutil.Process().children() if c.status() == "running"])
    wires = ChildWires(far_command(sys.executable), str)
    link = PipeLink("next", wires, greeting_s=60)
    link.open()
    following = FarEnd(link)
    following.hello({"TIMETRIAL_CACHE": str(tmp_path / "cache")})
    kept = Path(following.open("b-run")).parent
    assert [path for path in (tmp_path / "cache" / "runs").iterdir() if path.is_dir()] == [kept]
    link.close()


def test_two_far_ends_never_get_the_same_core(far: FarEnd, tmp_path: Path):
    allowed = set(os.sched_getaffinity(0))
    mine = far.cores(1)
    assert mine is not None
    assert set(mine) <= allowed
    link = PipeLink("next", ChildWires(far_command(sys.executable), str), greeting_s=60)
    link.open()
    following = FarEnd(link)
    following.hello({"TIMETRIAL_CACHE": str(tmp_path / "cache")})
    assert following.cores(len(allowed)) is None
    far.link.close()
    assert following.cores(len(allowed)) == tuple(sorted(allowed))
    link.close()


def test_what_a_login_shell_prints_first_is_passed_over(tmp_path: Path):
    text = "import sys; sys.stdout.write('Welcome!\\n\\0'); sys.stdout.flush(); "
    words = far_command(sys.executable)
    link = PipeLink("there", ChildWires([*words[:-1], text + words[-1]], str), greeting_s=60)
    link.open()
    assert FarEnd(link).hello({}).executable == sys.executable
    link.close()


def test_a_child_that_says_no_is_quoted():
    words = [sys.executable, "-c", "import sys; sys.exit('no such far end')"]
    link = PipeLink("there", ChildWires(words, lambda said: f"told: {said}"), greeting_s=60)
    with pytest.raises(LaunchError, match="told: no such far end"):
        link.open()
    link.close()


def test_a_far_end_that_is_silent_is_lost(far: FarEnd, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("timetrial.launch.remote.pipe.LOST_S", 1.0)
    process = my_far_end()
    process.suspend()
    try:
        with pytest.raises(LostError, match="has not answered for 1 s"):
            far.hello({})
    finally:
        process.resume()
