"""The small readers: counters as they are, None with a reason where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from timetrial.meter.cpu import TreeCpu, busy_s, load_1min, steal_s
from timetrial.meter.energy import Rapl
from timetrial.meter.gpu import Gpus
from timetrial.meter.memory import TreeMemory
from timetrial.meter.network import Network
from timetrial.meter.tree import ProcessTree

NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:    700       1    0    0    0     0          0         0      700       1    0    0
  eth0:   1000       2    0    0    0     0          0         0       50       1    0    0
  ib0:5 2 0 0 0 0 0 0 6 1 0 0
"""


def rapl_zone(root: Path, name: str, *, label: str, energy_uj: int, most_uj: int = 1000) -> Path:
    zone = root / name
    zone.mkdir()
    (zone / "name").write_text(label + "\n")
    (zone / "energy_uj").write_text(f"{energy_uj}\n")
    (zone / "max_energy_range_uj").write_text(f"{most_uj}\n")
    return zone


def test_energy_is_the_difference_of_all_packages_and_survives_a_wrap(tmp_path: Path):
    first = rapl_zone(tmp_path, "intel-rapl:0", label="package-0", energy_uj=100)
    second = rapl_zone(tmp_path, "intel-rapl:1", label="package-1", energy_uj=900)
    rapl_zone(tmp_path, "intel-rapl:0:0", label="core", energy_uj=5)  # part of its package
    rapl = Rapl(tmp_path)
    (first / "energy_uj").write_text("300")
    assert rapl.read_j() == pytest.approx(200e-6)
    (second / "energy_uj").write_text("50")  # over 1000 and on to 50
    assert rapl.read_j() == pytest.approx(350e-6)


def test_without_a_counter_energy_is_none_with_the_reason(tmp_path: Path):
    rapl = Rapl(tmp_path)
    assert rapl.read_j() is None
    assert rapl.method.method is None
    assert "no RAPL counter" in (rapl.method.reason or "")


def test_a_counter_that_cannot_be_read_gives_none_with_the_reason(tmp_path: Path):
    zone = rapl_zone(tmp_path, "intel-rapl:0", label="package-0", energy_uj=1)
    (zone / "energy_uj").unlink()
    rapl = Rapl(tmp_path)
    assert rapl.read_j() is None
    assert "cannot be read" in (rapl.method.reason or "")


def test_network_bytes_are_added_over_interfaces_with_loopback_apart(tmp_path: Path):
    folder = tmp_path / "42" / "net"
    folder.mkdir(parents=True)
    (folder / "dev").write_text(NET_DEV)
    with Network(42, proc=tmp_path) as network:
        assert network.read() == (1005, 56, 700, 700)
        assert "namespace of the worker" in (network.method.method or "")


def test_a_system_without_counters_of_the_network_gives_none(tmp_path: Path):
    with Network(42, proc=tmp_path) as network:
        assert network.read() == (None, None, None, None)
        assert network.method.reason is not None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_network_counters_can_be_read_after_the_end_of_the_worker():
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with Network(child.pid) as network:
        before = network.read()
        child.communicate(b"\n")
        after = network.read()
    assert after.loopback_rx_bytes is not None
    assert before.loopback_rx_bytes is not None
    assert after.loopback_rx_bytes >= before.loopback_rx_bytes


def test_without_a_gpu_there_are_no_readings_and_a_reason():
    with Gpus() as gpus:
        if gpus.reason is None:
            pytest.skip("this machine has a GPU")
        assert gpus.sample() == ()
        assert gpus.facts() == ()
        methods = gpus.methods()
    assert all(method.method is None and method.reason for method in methods.values())
    assert "gpu_busy_any_kernel" in methods


def test_with_a_gpu_its_memory_and_name_are_read():
    with Gpus() as gpus:
        if gpus.reason is not None:
            pytest.skip(gpus.reason)
        facts, samples = gpus.facts(), gpus.sample()
    assert facts[0].name
    assert facts[0].memory_bytes is not None
    assert samples[0].memory_bytes is not None
    assert 0 < samples[0].memory_bytes <= facts[0].memory_bytes


def test_stolen_time_is_the_eighth_number_in_seconds(tmp_path: Path):
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    assert steal_s(tmp_path / "stat") == 250 / os.sysconf("SC_CLK_TCK")
    assert steal_s(tmp_path / "absent") is None


def test_busy_time_leaves_out_idling_waiting_and_what_was_stolen(tmp_path: Path):
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 500 6 7 250 9 10\n")
    assert busy_s(tmp_path / "stat") == (100 + 20 + 30 + 6 + 7) / os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  100 20 30\n")  # a system that counts less
    assert busy_s(tmp_path / "stat") is None
    assert busy_s(tmp_path / "absent") is None


def test_the_load_is_a_number_or_none():
    load = load_1min()
    assert load is None or load >= 0


def test_a_tree_holds_the_root_and_its_grandchildren_and_is_empty_after_the_end():
    sleep = "import time; print(flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {sleep!r}])"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {code!r}])"
    with subprocess.Popen([sys.executable, "-S", "-c", outer], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        tree = ProcessTree(child.pid)
        processes = tree.processes()
        cpu_s, memory_bytes = TreeCpu(tree).read_s(), TreeMemory(tree).read_bytes()
        for process in processes:
            process.kill()
    assert len(processes) == 3
    assert processes[0].pid == child.pid
    assert cpu_s is not None
    assert cpu_s > 0
    assert memory_bytes is not None
    assert memory_bytes > 3 * 2**20
    assert tree.processes() == []
    assert TreeCpu(tree).read_s() is None
    assert TreeMemory(tree).read_bytes() is None
