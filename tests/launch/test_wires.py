"""Real networks between real processes, where this machine allows them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil
import pytest

from timetrial.errors import LaunchError
from timetrial.launch.network import netns
from timetrial.launch.network.wires import INTERFACE, Wires, address, hardware_address
from timetrial.spec.network import parse_network
from timetrial.testing.talk import Talk

NO_RIGHTS: Final = ("setpriv", "--bounding-set=-sys_admin,-net_admin", "--inh-caps=-all")


@pytest.fixture
def _allowed() -> None:
    """Skip where namespaces may not be made, and say why."""
    try:
        netns.check_system()
        namespace = netns.new_namespace()
    except LaunchError as error:
        pytest.skip(str(error))
    os.close(namespace)


@contextlib.contextmanager
def wired(text: str, folder: Path, workers: int = 2) -> Iterator[Wires]:
    with Wires(parse_network(text), workers, seed=1, folder=folder) as wires:
        yield wires


def said(wires: Wires, rank: int, *command: str) -> str:
    """What a command prints in the network of one worker."""
    words = [*wires.prefix(rank), *command]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def talked(wires: Wires, seconds: float, ranks: tuple[int, int] = (0, 1)) -> list[Talk]:
    """What two workers saw of each other, while they sent as much as they could."""
    command = [sys.executable, "-m", "timetrial.testing.talk"]
    talkers = [
        subprocess.Popen(
            [*wires.prefix(rank), *command, str(place), address(ranks[0]), str(seconds)],
            stdout=subprocess.PIPE,
        )
        for place, rank in enumerate(ranks)
    ]
    lines = [talker.communicate(timeout=120)[0] for talker in talkers]
    return [msgspec.json.decode(line, type=Talk) for line in lines]


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize("text", ["rate=20mbit,delay=10ms", "delay=10ms", "rate=20mbit"])
def test_a_round_trip_takes_twice_the_delay_and_both_ways_have_the_rate(
    text: str, tmp_path: Path
) -> None:
    network = parse_network(text)
    rate = network.rate_bit_per_s
    best: list[float] = []
    with wired(text, tmp_path) as wires:
        for _ in range(4):  # a busy machine may not send as much as the network takes
            seen = talked(wires, 3.0)
            assert all(way.intact for way in seen)
            if rate is not None:
                assert max(way.bit_per_s for way in seen) < rate
            if network.delay_s:
                assert min(seen[0].round_trips_s) == pytest.approx(2 * network.delay_s, rel=0.2)
            best.append(min(way.best_bit_per_s for way in seen))
            if rate is None or best[-1] > 0.9 * rate:
                break

    assert rate is None or max(best) > 0.9 * rate
    assert wires.account is not None
    assert wires.account.lost == wires.account.refused == 0


@pytest.mark.usefixtures("_allowed")
def test_one_workers_own_link_differs(tmp_path: Path) -> None:
    with wired("rate=100mbit/1:rate=10mbit,delay=20ms", tmp_path, workers=3) as wires:
        slow, quick = talked(wires, 2.0)[0], talked(wires, 2.0, (0, 2))[0]

    assert slow.bit_per_s < 1e7 < quick.bit_per_s
    assert min(slow.round_trips_s) == pytest.approx(0.02, rel=0.2)  # twice the mean of 0 and 20 ms
    assert min(quick.round_trips_s) < 0.01


@pytest.mark.usefixtures("_allowed")
def test_frames_are_lost_and_what_arrives_is_whole(tmp_path: Path) -> None:
    with wired("loss=0.5%", tmp_path) as wires:
        seen = talked(wires, 2.0)

    account = wires.account
    assert account is not None
    assert account.frames > 5 * account.trains  # long trains lose single frames
    assert account.lost == pytest.approx(0.005 * account.frames, rel=0.5)
    assert all(way.intact for way in seen)


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize("text", ["rate=unlimited", "rate=100mbit"])
def test_a_worker_sees_its_own_network_and_name_and_no_other(text: str, tmp_path: Path) -> None:
    with wired(text, tmp_path) as wires:
        devices = said(wires, 1, "cat", "/proc/net/dev")
        name = said(wires, 1, "getent", "hosts", socket.gethostname())
        neighbours = said(wires, 1, "ip", "neigh")
        here = said(wires, 1, "pwd")

    names = [line.partition(":")[0].strip() for line in devices.splitlines()[2:]]
    assert sorted(names) == ["lo", INTERFACE]
    assert name.split()[0] == address(1) == "10.77.0.2"
    assert neighbours.split()[0] == address(0)
    assert hardware_address(0) in neighbours
    assert here.strip() == str(Path.cwd())


@pytest.mark.usefixtures("_allowed")
def test_workers_that_nothing_is_emulated_for_need_no_switch(tmp_path: Path) -> None:
    with wired("rate=unlimited", tmp_path, workers=3) as wires:
        wires.check()
        assert all(way.intact for way in talked(wires, 0.2, (1, 2)))

    assert wires.account is None


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize("text", ["rate=unlimited", "rate=10mbit,delay=1ms"])
def test_nothing_is_left_behind(text: str, tmp_path: Path) -> None:
    def there() -> tuple[list[str], list[str], set[int]]:
        children = {child.pid for child in psutil.Process().children(recursive=True)}
        return descriptors(), sorted(psutil.net_if_addrs()), children

    before = there()
    with wired(text, tmp_path) as wires:
        said(wires, 0, "true")
        assert there() != before

    assert there() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_allowed")
def test_a_network_that_cannot_be_made_leaves_nothing_behind_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in netns.PROGRAMS:
        (programs / program).symlink_to(str(shutil.which(program)))
    (programs / "tc").unlink()
    (programs / "tc").write_text("#!/bin/sh\necho no such discipline >&2\nexit 2\n")
    (programs / "tc").chmod(0o755)
    folder = tmp_path / "hosts"
    folder.mkdir()
    before = descriptors()
    monkeypatch.setenv("PATH", str(programs))
    with (
        pytest.raises(LaunchError, match=r"tbf rate 10000000bit .* with 2: no such discipline"),
        wired("rate=10mbit", folder),
    ):
        pass

    assert descriptors() == before
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("_allowed")
def test_a_switch_that_died_is_noticed(tmp_path: Path) -> None:
    with wired("delay=1ms", tmp_path) as wires:
        wires.check()
        [switch] = [
            child
            for child in psutil.Process().children()
            if "timetrial.launch.network.delayline" in child.cmdline()
        ]
        switch.kill()
        while switch.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        with pytest.raises(LaunchError, match="ended with -9"):
            wires.check()

    assert wires.account is None


@pytest.mark.usefixtures("_allowed")
def test_a_launcher_killed_at_once_leaves_no_switch(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, psutil, time\n"
        "from timetrial.launch.network.wires import Wires\n"
        "from timetrial.spec.network import parse_network\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "with Wires(parse_network('delay=1ms'), 2, seed=1, folder=folder):\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    switch = psutil.Process(int(launcher.stdout.readline()))
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()

    gone, _ = psutil.wait_procs([switch], timeout=30)
    assert gone == [switch]


PROGRAM: Final = (
    "import pathlib\n"
    "from timetrial.launch.network.wires import Wires\n"
    "from timetrial.spec.network import parse_network\n"
    "with Wires(parse_network('delay=1ms'), 2, seed=1, folder=pathlib.Path('.')):\n"
    "    print('made')\n"
)


@pytest.mark.usefixtures("_allowed")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_without_rights_the_error_names_them_and_a_way_out(tmp_path: Path) -> None:
    command = [*NO_RIGHTS, sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("timetrial.errors.LaunchError: A network namespace could not be made")
    assert "CAP_SYS_ADMIN and CAP_NET_ADMIN" in last
    assert "unshare --user --map-root-user timetrial run" in last

    way_out = [*NO_RIGHTS, "unshare", "--user", "--map-root-user", sys.executable, "-c", PROGRAM]
    done = subprocess.run(way_out, capture_output=True, text=True, check=False, cwd=tmp_path)
    if "unshare" in done.stderr:
        pytest.skip(f"user namespaces are not allowed here: {done.stderr}")
    assert done.stdout == "made\n", done.stderr


def test_a_program_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(LaunchError, match=r"needs the program ip, .* apt install iproute2"),
        wired("delay=1ms", tmp_path),
    ):
        pass


def test_workers_have_addresses_of_their_own_beyond_one_byte() -> None:
    assert [address(rank) for rank in (0, 253, 254, 255, 999)] == [
        "10.77.0.1",
        "10.77.0.254",
        "10.77.0.255",
        "10.77.1.0",
        "10.77.3.232",
    ]
    assert len({hardware_address(rank) for rank in range(1000)}) == 1000
